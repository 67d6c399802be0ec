"""How other processes use an embedded mesh: a socket in its private folder, which only its user can open.

A client connects once for each call and sends one line of JSON, ``{"call", "arguments", "options"}``. Back come lines
of JSON: ``{"told": line}`` for each that the mesh tells, as it tells it, and at the end ``{"returned": value}`` or
``{"raised": name of the exception, "message"}``.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from typing import Any, Self

from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.mesh.embedded import EmbeddedMesh
from llm_streaming.mesh.telling import telling

CALLS = ("apply", "delete", "logs", "metrics_address", "resources", "wait")


class Control:
    """Serves an embedded mesh to other processes of this user, until it is closed. Use as a context manager.

    Args:
        mesh: what they use.

    Attributes:
        path: the socket.

    Raises:
        MeshError: the mesh's folder can hold no socket.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self.path = mesh.home / "control.sock"
        try:
            self._server = _Server(mesh, self.path)
        except OSError as error:
            raise MeshError(
                f"other processes cannot be let into the mesh at {self.path} ({error}): name a folder on this machine "
                "with a short path in TMPDIR, such as /tmp"
            ) from None
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more calls; those that run are cut with the mesh."""
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)  # gone already where the mesh has lost a server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False  # one who waits for a model does not hold the mesh open

    def __init__(self, mesh: EmbeddedMesh, path: Path) -> None:
        self.mesh = mesh
        super().__init__(str(path), _Call)


class _Call(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answer one call."""
        line = self.rfile.readline()
        if not line:
            return  # the caller has left
        with telling(lambda told: self._send(told=told)):
            try:
                self._send(returned=self._answer(json.loads(line)))
            except LLMStreamingError as error:
                self._send(raised=type(error).__name__, message=str(error))

    def _answer(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - what the mesh returns
        mesh, call = self.server.mesh, request["call"]
        mesh.check()
        if call == "address":
            return mesh.address
        if call not in CALLS:
            raise MeshError(f"the mesh takes no call '{call}': it was opened by another version of llm-streaming")
        return getattr(mesh, call)(*request["arguments"], **request["options"])

    def _send(self, **message: object) -> None:
        with contextlib.suppress(ConnectionError):  # the caller has left; what it asked for is done all the same
            self.wfile.write(json.dumps(message, default=str).encode() + b"\n")
