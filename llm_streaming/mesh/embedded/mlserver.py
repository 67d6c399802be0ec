"""One MLServer process of the embedded mesh, and its model repository API, on unix sockets.

Other accounts of the machine cannot open the sockets, because only this account can open the mesh's folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.protocol.limits import LARGEST_REQUEST

_MAX_SOCKET_PATH = 103  # bytes, on macOS; Linux allows 107
_GRACE = 0.5  # seconds; the supervisor kills the process 2 s after SIGTERM


@dataclass(frozen=True)
class MLServer:
    """The MLServer process of one `Server`.

    Args:
        manifest: the Server, with its capabilities and environment.
        sockets: the start of the paths of the process's sockets.
        metrics_port: the loopback port on which Envoy serves the process's metrics.
        repository: the folder of the process's private model repository.

    Raises:
        MeshError: the paths of the sockets are too long.
    """

    manifest: Server
    sockets: Path
    metrics_port: int
    repository: Path

    def __post_init__(self) -> None:
        if len(os.fsencode(self.socket("metrics"))) > _MAX_SOCKET_PATH:
            raise MeshError(
                f"the mesh cannot create its sockets in {self.sockets.parent}, because this path is too long: set "
                "TMPDIR to a folder with a short path on this machine, such as /tmp"
            )

    @property
    def name(self) -> str:
        """The name of the Server and of its process."""
        return self.manifest.name

    @cached_property
    def _http(self) -> httpx.Client:
        """A client for MLServer's HTTP API. The host in the URL has no effect."""
        transport = httpx.HTTPTransport(uds=str(self.socket("http")))
        return httpx.Client(base_url="http://mlserver", transport=transport, trust_env=False)

    def socket(self, kind: str) -> Path:
        """Return the path of a socket: ``http``, ``grpc:0`` (gRPC adds the zero, a port) or ``metrics``."""
        return self.sockets.with_name(f"{self.sockets.name}.{kind}")

    def process(self, environment: Mapping[str, str]) -> Process:
        """Create the model repository, and return the process to start.

        Variables in the manifest override those in `environment`, which override the caller's environment.
        """
        placed = {
            "MLSERVER_GRPC_MAX_MESSAGE_LENGTH": str(LARGEST_REQUEST),
            "MLSERVER_LOAD_MODELS_AT_STARTUP": "false",
            "LLM_STREAMING_GRACE": str(_GRACE),
        }
        self.repository.mkdir(parents=True)
        launcher = ["-m", "llm_streaming.runtimes", "--sockets", str(self.sockets), str(self.repository)]
        argv = [sys.executable, *launcher]
        return Process(self.name, argv, {**inherited(), **environment, **self.manifest.env, **placed})

    def is_live(self) -> bool:
        """Return whether the process answers requests."""
        try:
            return self._http.get("/v2/health/live").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections to the process."""
        self._http.close()

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
        response = self._http.post(f"/v2/repository/models/{model}/{action}", timeout=None)
        if response.is_error and response.status_code not in accepted:
            try:
                message = str(response.json()["error"])
            except (ValueError, KeyError, TypeError):
                message = ""
            raise MeshError(message)
