"""Serves an embedded mesh to other processes, over HTTP on unix sockets."""

from __future__ import annotations

import contextlib
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import msgspec

from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.progress import reporting_to
from llm_streaming.mesh.remote import requests
from llm_streaming.mesh.remote.model_users import ModelUsers

_DECODER: msgspec.json.Decoder[requests.AnyRequest] = msgspec.json.Decoder(requests.AnyRequest)
_MAX_BYTES = 1_000_000  # of a request; a manifest has hundreds


class RequestServer(ThreadingUnixStreamServer, ABC):
    """Receives requests on a unix socket and sends the answers back, until it is closed. Use as a context manager.

    Args:
        path: the path at which the socket is made.

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
    def answer(self, request: requests.AnyRequest) -> Any:  # noqa: ANN401 - each request returns a type of its own
        """Carry out a request, in a thread of its own. What this returns or raises is sent back."""

    def close(self) -> None:
        """Accept no more requests, and remove the socket. Running requests end with the mesh."""
        self.shutdown()
        self.server_close()
        self.path.unlink(missing_ok=True)  # a mesh that has lost a server has removed it already

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    server: RequestServer
    timeout = 30  # seconds for a client to send its request, and to take each line of the answer

    def do_POST(self) -> None:
        """Answer one request and close the connection."""
        # This content type is one that a page in a browser cannot send to another site without asking it.
        if self.path != requests.PATH or self.headers.get_content_type() != "application/json":
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

    def _read(self) -> requests.AnyRequest:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _MAX_BYTES:
            raise MeshError(f"a request needs a Content-Length of at most {_MAX_BYTES:,} bytes")
        try:
            return _DECODER.decode(self.rfile.read(int(length)))
        except msgspec.MsgspecError as error:
            raise MeshError(
                f"the mesh does not understand the request ({error}): use the version of llm-streaming that opened it"
            ) from None

    def _send(self, **message: object) -> None:
        with contextlib.suppress(OSError):  # the client has left; its request is carried out all the same
            self.wfile.write(json.dumps(message, default=str).encode() + b"\n")


class MeshService(RequestServer):
    """Lets this user's other processes use an embedded mesh, through a socket that only this user can open.

    Args:
        mesh: the mesh. From now on only this service may change its models.

    Attributes:
        path: the path of the socket, in the mesh's private folder.

    Raises:
        MeshError: the mesh's folder can hold no socket.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._users = ModelUsers(mesh)
        super().__init__(mesh.home / "control.sock")

    def answer(
        self,
        request: requests.AnyRequest,
        user: str = "presenter",
        check: Callable[[Model | Server], None] = lambda _: None,
    ) -> Any:  # noqa: ANN401 - each request returns a type of its own
        """Carry out a request. It returns and raises what the method of the mesh does.

        Args:
            request: the request.
            user: the user who sends it; by default the person who keeps the mesh open, from whichever process.
            check: raises an error if the user may not apply a manifest; by default they may apply any.
        """
        self._mesh.check()
        match request:
            case requests.Address():
                return self._mesh.address
            case requests.MetricsAddress():
                return self._mesh.metrics_address(request.server)
            case requests.Apply():
                (manifest,) = read_manifests(request.manifest)
                check(manifest)
                return self._users.apply(user, manifest)
            case requests.Wait():
                return self._mesh.wait(*request.names, timeout=request.timeout)
            case requests.Delete():
                return self._users.delete(user, Model.from_dict(request.manifest))
            case requests.Resources():
                return self._mesh.resources(request.kind)
            case requests.Logs():
                return self._mesh.logs(request.model)
            case requests.Reset():
                return self._users.reset()
