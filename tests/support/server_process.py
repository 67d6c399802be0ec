"""MLServer as the image and the embedded mesh start it, with one model that relays to a scripted provider."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from llm_streaming import ChatClient, GrpcChatClient
from llm_streaming.mesh.processes.ports import free_ports, wait_until
from tests.support.doors import Door, OpenAIDoor, OurDoor

MODEL = "scripted"


class ServerProcess:
    """A process of `llm_streaming.runtimes`.

    Args:
        folder: the folder for the model repository and the log.
        options: further arguments of the command.
        environment: further environment variables.
    """

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.http_port, self.grpc_port, metrics_port = free_ports(3)
        placed = {
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(self.http_port),
            "MLSERVER_GRPC_PORT": str(self.grpc_port),
            "MLSERVER_METRICS_PORT": str(metrics_port),
            "MLSERVER_PARALLEL_WORKERS": "0",
        }
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llm_streaming.runtimes", *options, str(folder / "models")],
                env={**os.environ, **placed, **environment},
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self, http: httpx.Client) -> None:
        """Wait until the model is ready, by a client of the server's HTTP API."""

        def is_ready() -> bool:
            try:
                return http.get(f"/v2/models/{MODEL}/ready").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        assert wait_until(lambda: self.process.poll() is not None or is_ready(), timeout=120)
        assert self.process.poll() is None, self.log()

    def door(self, kind: str) -> Door:
        """Return a client that calls the server without an Envoy."""
        address = f"127.0.0.1:{self.http_port}"
        if kind == "openai":
            return OpenAIDoor(address)
        return OurDoor(ChatClient(address) if kind == "http" else GrpcChatClient(f"127.0.0.1:{self.grpc_port}"))

    def terminate(self) -> None:
        """Send SIGTERM, and return when the server has begun to stop."""
        self.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: "stopping: " in self.log(), timeout=60), self.log()

    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def server_process(
    folder: Path, base_url: str, *options: str, uds: Path | None = None, **environment: str
) -> Iterator[ServerProcess]:
    """Start the server, with a model that relays to `base_url`, and wait until the model is ready.

    `uds` is the server's socket, if it listens on one.
    """
    settings = {
        "name": MODEL,
        "implementation": "mlserver_llm_api.LLMRuntime",
        "parameters": {"extra": {"config": {"model_id": "gpt", "base_url": base_url, "max_retries": 0}}},
    }
    (folder / "models" / MODEL).mkdir(parents=True, exist_ok=True)
    (folder / "models" / MODEL / "model-settings.json").write_text(json.dumps(settings))
    server = ServerProcess(folder, *options, **environment)
    transport = httpx.HTTPTransport(uds=str(uds) if uds else None)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.http_port}", transport=transport) as http:
            server.wait_until_ready(http)
        yield server
    finally:
        server.process.kill()
        server.process.wait()
