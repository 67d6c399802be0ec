"""Requests to the embedded mesh of another process: their encoding, and the server that receives them.

A request is one ``POST`` of JSON over HTTP. The answer is lines of JSON: ``{"progress": text}`` for each progress
message as it is written, and at the end ``{"returned": value}``, or ``{"raised": class name, "message": text}``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import threading
import uuid
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import msgspec

from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.mesh.progress import reporting_to

PATH = "/llm-streaming"
"""The HTTP path of requests."""

METRICS_PATH = f"{PATH}/metrics"
"""On a shared mesh, the path under which ``/<server>/metrics`` shows the metrics of a server."""

_MAX_BYTES = 1_000_000  # of a request; a manifest has hundreds


def user_id() -> str:
    """Identify the user of this process, without revealing anything about the machine.

    All commands of a terminal are one user, and so is each notebook's kernel: they share a session of the operating
    system.
    """
    session = f"{platform.node()}/{uuid.getnode()}/{os.getsid(0)}"
    return hashlib.sha256(session.encode()).hexdigest()[:16]


class Request(msgspec.Struct, kw_only=True):
    """A method of the mesh to call.

    Args:
        method: the method's name.
        arguments: its positional arguments.
        options: its keyword arguments.
        user: the user who sends the request, as `user_id` identifies them.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    user: str = msgspec.field(default_factory=user_id)


class RequestServer(ThreadingUnixStreamServer, ABC):
    """Receives requests on a unix socket and sends the answers back. Use as a context manager.

    Attributes:
        path: the path of the socket.

    Raises:
        MeshError: there can be no socket at this path.
    """

    daemon_threads = True
    block_on_close = False  # do not wait for requests that wait for a model

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            super().__init__(str(path), _Handler)
        except OSError as error:
            raise MeshError(
                f"the mesh cannot listen for other processes at {path} ({error}): set TMPDIR to a folder with a "
                "short path on this machine, such as /tmp"
            ) from None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @abstractmethod
    def answer(self, request: Request) -> Any:  # noqa: ANN401 - each method returns a type of its own
        """Carry out a request, in a thread of its own. What this returns or raises is sent back."""

    def __exit__(self, *exception: object) -> None:
        """Accept no more requests, and remove the socket. Running requests end with the mesh."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)  # a mesh that has lost a server has removed it already


class _Handler(BaseHTTPRequestHandler):
    server: RequestServer
    timeout = 30  # seconds for a client to send its request, and to take each line of the answer

    def do_POST(self) -> None:
        """Answer one request and close the connection."""
        # This content type is one that a page in a browser cannot send to another site without asking it.
        if self.path != PATH or self.headers.get_content_type() != "application/json":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "application/x-ndjson")
        self.end_headers()
        with reporting_to(lambda text: self._send(progress=text)):
            try:
                self._send(returned=self.server.answer(self._read()))
            except LLMStreamingError as error:
                self._send(raised=type(error).__name__, message=str(error))

    def log_message(self, *_: object) -> None:
        """Log nothing, so that the output of ``llm-streaming up`` stays readable."""

    def _read(self) -> Request:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _MAX_BYTES:
            raise MeshError(f"a request needs a Content-Length of at most {_MAX_BYTES:,} bytes")
        try:
            return msgspec.json.decode(self.rfile.read(int(length)), type=Request)
        except msgspec.MsgspecError as error:
            raise not_understood(str(error)) from None

    def _send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # the client has left; its request is carried out all the same
            self.wfile.write(msgspec.json.encode(message, enc_hook=str) + b"\n")


def not_understood(reason: str) -> MeshError:
    """Say that a request has another form than this version of the package expects."""
    return MeshError(
        f"the mesh does not understand the request ({reason}): use the version of llm-streaming that opened it"
    )
