"""One MLServer process of the embedded mesh, and its model repository API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server
from llm_streaming.mesh.embedded.environment import inherited
from llm_streaming.mesh.processes.group import Process
from llm_streaming.mesh.processes.ports import LOOPBACK


@dataclass(frozen=True)
class MLServer:
    """An MLServer that stands for one `Server` manifest.

    Args:
        manifest: the Server whose capabilities and environment it has.
        ports: HTTP, gRPC and metrics port, on loopback.
        repository: its private model repository, a folder.
        http: what it is called through.
    """

    manifest: Server
    ports: tuple[int, int, int]
    repository: Path
    http: httpx.Client

    @property
    def name(self) -> str:
        """The Server's name, and its process's."""
        return self.manifest.name

    def process(self, environment: Mapping[str, str]) -> Process:
        """How to start it: in the caller's environment, under the manifest's, under what places it on this machine."""
        http, grpc, metrics = self.ports
        placed = {
            "MLSERVER_HOST": LOOPBACK,
            "MLSERVER_HTTP_PORT": str(http),
            "MLSERVER_GRPC_PORT": str(grpc),
            "MLSERVER_METRICS_PORT": str(metrics),
            "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": str(1024**3),  # bytes; as on SC2 no limit that a chat could reach
            "MLSERVER_LOAD_MODELS_AT_STARTUP": "false",
            "MLSERVER_DEBUG": "false",  # its access log would bury what a model says
        }
        self.repository.mkdir(parents=True)
        return Process(
            self.name,
            [sys.executable, "-c", "from mlserver.cli import main; main()", "start", str(self.repository)],
            {**inherited(), **environment, **self.manifest.env, **placed},
        )

    def is_live(self) -> bool:
        """Whether it answers."""
        try:
            return self._call("GET", "/v2/health/live").is_success
        except httpx.TransportError:
            return False

    def load(self, model: str) -> None:
        """Load, or reload, a model that is in the repository; returns when it is ready.

        Raises:
            MeshError: the model failed to load; the message is its own.
            httpx.TransportError: the server is gone.
        """
        response = self._call("POST", f"/v2/repository/models/{model}/load", timeout=None)
        if response.is_error:
            raise MeshError(_words(response))

    def unload(self, model: str) -> None:
        """Unload a model; one that is not loaded is none of its business.

        Raises:
            MeshError: the model failed to unload.
            httpx.TransportError: the server is gone.
        """
        response = self._call("POST", f"/v2/repository/models/{model}/unload", timeout=None)
        if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
            raise MeshError(_words(response))

    def _call(self, method: str, path: str, *, timeout: float | None = 5) -> httpx.Response:
        return self.http.request(method, f"http://{LOOPBACK}:{self.ports[0]}{path}", timeout=timeout)


def _words(response: httpx.Response) -> str:
    """What the server said of a failure; ``""`` where it was no more than that there is one."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""
