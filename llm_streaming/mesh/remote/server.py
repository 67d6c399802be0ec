"""Takes calls over HTTP on a unix socket (see `llm_streaming.mesh.remote.requests`)."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import msgspec

from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.mesh.progress import reporting_to
from llm_streaming.mesh.remote.requests import PATH, AnyCall

Answer = Callable[[AnyCall], Any]

_CALLS: msgspec.json.Decoder[AnyCall] = msgspec.json.Decoder(AnyCall)
_LARGEST = 1_000_000  # bytes of a call; a manifest has hundreds


class CallServer(ThreadingUnixStreamServer):
    """Serves until it is closed.

    Args:
        path: where its socket is made.
        answer: makes a call, in a thread of its own; what it returns or raises is sent back.

    Raises:
        OSError: there can be no socket at `path`.
    """

    daemon_threads = True
    block_on_close = False  # one who waits for a model does not hold the mesh open

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.answer = answer
        super().__init__(str(path), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Take no more calls, and remove the socket."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)  # gone already where the mesh has lost a server


class _Handler(BaseHTTPRequestHandler):
    server: CallServer
    timeout = 30  # seconds for a caller to send its call, and to take each line of the answer

    def do_POST(self) -> None:
        """Answer one call; the answer ends with the connection."""
        # A page in a browser cannot send this type elsewhere unasked.
        if self.path != PATH or self.headers.get_content_type() != "application/json":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "application/x-ndjson")
        self.end_headers()
        with reporting_to(lambda told: self._send(told=told)):
            try:
                self._send(returned=self.server.answer(self._read()))
            except LLMStreamingError as error:
                self._send(raised=type(error).__name__, message=str(error))

    def log_message(self, *_: object) -> None:
        """Log nothing: whoever keeps the mesh reads what the mesh tells."""

    def _read(self) -> AnyCall:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            raise MeshError(f"a call has {_LARGEST:,} bytes at most, and says beforehand how many")
        try:
            return _CALLS.decode(self.rfile.read(int(length)))
        except msgspec.MsgspecError as error:
            raise MeshError(
                f"the mesh takes no such call ({error}): it was opened by another version of llm-streaming"
            ) from None

    def _send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # the caller has left; what it asked for is done all the same
            self.wfile.write(json.dumps(message, default=str).encode() + b"\n")
