"""One MLServer process of the embedded mesh, and its model repository API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK


@dataclass(frozen=True)
class MLServer:
    """The MLServer process of one `Server`.

    Args:
        manifest: the Server, with its capabilities and environment.
        ports: the HTTP, gRPC and metrics ports on loopback.
        repository: the folder of the process's private model repository.
        http: the client for MLServer's HTTP API.
    """

    manifest: Server
    ports: tuple[int, int, int]
    repository: Path
    http: httpx.Client

    @property
    def name(self) -> str:
        """The name of the Server and of its process."""
        return self.manifest.name

    @property
    def origin(self) -> str:
        """The URL of MLServer's HTTP API, without a path."""
        return f"http://{LOOPBACK}:{self.ports[0]}"

    @property
    def health(self) -> str:
        """The URL that answers with status 200 once the server is live."""
        return f"{self.origin}/v2/health/live"

    def process(self, environment: Mapping[str, str]) -> Process:
        """Create the model repository, and return the process to start.

        Variables in the manifest override those in `environment`, which override the caller's environment.
        """
        http, grpc, metrics = self.ports
        placed = {
            "MLSERVER_HOST": LOOPBACK,
            "MLSERVER_HTTP_PORT": str(http),
            "MLSERVER_GRPC_PORT": str(grpc),
            "MLSERVER_METRICS_PORT": str(metrics),
            "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": str(1024**3),  # bytes; as on SC2, more than any chat needs
            "MLSERVER_LOAD_MODELS_AT_STARTUP": "false",
            "MLSERVER_DEBUG": "false",  # MLServer's access log would bury the models' messages
        }
        self.repository.mkdir(parents=True)
        argv = [sys.executable, "-c", "from mlserver.cli import main; main()", "start", str(self.repository)]
        return Process(self.name, argv, {**inherited(), **environment, **self.manifest.env, **placed})

    def load(self, model: str) -> None:
        """Load or reload a model from the repository, and wait until the model is ready.

        Raises:
            MeshError: the model failed to load; the message is the model's error message, or empty.
            httpx.TransportError: the server has stopped.
        """
        self._change(model, "load")

    def unload(self, model: str) -> None:
        """Unload a model, if it is loaded.

        Raises:
            MeshError: the model failed to unload.
            httpx.TransportError: the server has stopped.
        """
        self._change(model, "unload", httpx.codes.NOT_FOUND)

    def _change(self, model: str, action: str, *accepted: int) -> None:
        response = self.http.post(f"{self.origin}/v2/repository/models/{model}/{action}", timeout=None)
        if response.is_error and response.status_code not in accepted:
            try:
                message = str(response.json()["error"])
            except (ValueError, KeyError, TypeError):
                message = ""
            raise MeshError(message)
