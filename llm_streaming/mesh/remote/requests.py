"""Requests to the embedded mesh of another process: their encoding, and the server that receives them.

A request is one ``POST`` of JSON over HTTP. The answer consists of lines of JSON: one ``{"progress": text}`` for each
progress message, and finally ``{"returned": value}``, or ``{"raised": class name, "message": text}``.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import threading
import uuid
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Annotated, Any

import msgspec

from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.mesh.progress import reporting_to

PATH = "/llm-streaming"
"""The HTTP path of requests."""

METRICS_PATH = f"{PATH}/metrics"
"""The prefix of the paths of metrics on a shared mesh; ``/<server>/metrics`` follows the prefix."""

MAX_BYTES = 100_000
"""The size of the largest request that is accepted; a manifest has hundreds of bytes."""

ADDRESS_HEADER = "x-llm-streaming-address"
"""The header in which the gateway of a shared mesh writes the address of the machine that sent a request."""


def user_id() -> str:
    """Return an identifier of the user of this process, which reveals nothing about the machine.

    A user is a session of the operating system. So all commands in one terminal have the same user, and each
    notebook's kernel has its own.
    """
    session = f"{platform.node()}/{uuid.getnode()}/{os.getsid(0)}"
    return hashlib.sha256(session.encode()).hexdigest()[:16]


class Request(msgspec.Struct, kw_only=True):
    """A request to call a method of the mesh.

    Args:
        method: the method's name.
        arguments: the positional arguments.
        options: the keyword arguments.
        user: the identifier, from `user_id`, of the user who sends the request. The server puts the address of the
            user's machine before it, so that nobody can claim to be a user of another machine.
    """

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    user: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(default_factory=user_id)


class RequestServer(ThreadingUnixStreamServer, ABC):
    """A server for requests on a unix socket. Use as a context manager.

    Attributes:
        path: the path of the socket.

    Raises:
        MeshError: the socket cannot be created at this path.
    """

    daemon_threads = True
    request_queue_size = 1_000  # with the default, five, some of many requests at the same time would fail
    block_on_close = False  # closing does not wait for requests, because they may be waiting for a model

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
        """Carry out a request in its own thread. The server sends the returned value or raised error back."""

    def masked(self, value: Any) -> Any:  # noqa: ANN401 - text, or lists and mappings that contain text
        """Return a part of an answer, without secrets that the callers may not see; by default there are none."""
        return value

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing about a caller whose connection breaks, because the terminal belongs to the presenter."""

    def __exit__(self, *exception: object) -> None:
        """Stop accepting requests, and remove the socket. Requests in progress end when the mesh is closed."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)  # already removed if the mesh was closed because a server stopped


class _Handler(BaseHTTPRequestHandler):
    server: RequestServer
    timeout = 30  # seconds for a client to send its request, and to receive each line of the answer

    def do_POST(self) -> None:
        """Answer one request and close the connection."""
        # A web page can send this content type to another site only if that site allows it (CORS).
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
            except Exception as error:  # noqa: BLE001 - a guest may send anything, and has to get an answer
                failure = MeshError(f"the request failed ({type(error).__name__}: {error})")
                self._send(raised=MeshError.__name__, message=str(failure))

    def log_message(self, *_: object) -> None:
        """Log nothing, so that the output of ``llm-streaming up`` stays readable."""

    def _read(self) -> Request:
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,6}", length) or int(length) > MAX_BYTES:
            raise MeshError(f"a request needs a Content-Length of at most {MAX_BYTES:,} bytes")
        try:
            request = msgspec.json.decode(self.rfile.read(int(length)), type=Request)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise not_understood(str(error)) from None
        request.user = f"{self.headers.get(ADDRESS_HEADER, '')} {request.user}"
        return request

    def _send(self, **line: object) -> None:
        with contextlib.suppress(OSError):  # the client has disconnected; still carry out its request
            self.wfile.write(msgspec.json.encode(self.server.masked(line), enc_hook=str) + b"\n")


def not_understood(reason: str) -> MeshError:
    """Return the error for a request that this version of the package cannot read."""
    return MeshError(
        f"the mesh does not understand the request ({reason}): use the version of llm-streaming that opened the mesh"
    )
