"""A client for the embedded mesh of another process, which ``llm-streaming up`` keeps open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx
import msgspec

from llm_streaming.client import tokens
from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Manifest, load_documents
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.progress import report
from llm_streaming.mesh.remote.requests import MAX_BYTES, PATH, Request
from llm_streaming.mesh.token import read_token
from llm_streaming.protocol import decode_error

P = ParamSpec("P")
T = TypeVar("T")

_CONNECT_TIMEOUT = 30.0  # seconds until the mesh has returned its address; milliseconds are usual
_ERRORS = {error.__name__: error for error in (ManifestError, MeshError)}


class RemoteMesh(Mesh):
    """The embedded mesh of another process. The progress messages of that process are repeated in this one.

    Args:
        origin: the URL of the other process, without a path.
        absent: the error message if no server listens there.
        command: the command that keeps the mesh open and, for another machine, the machine's address.
        socket: the unix socket to connect to, instead of the host in `origin`.

    Raises:
        MeshError: no mesh is open there, or the process that keeps the mesh open does not answer.
    """

    def __init__(self, origin: str, *, absent: str, command: str, socket: Path | None = None) -> None:
        self._absent = absent
        self._command = command
        self._socket = socket
        transport = httpx.HTTPTransport(uds=str(socket) if socket else None)
        self._http = httpx.Client(base_url=origin, transport=transport, trust_env=False)
        try:
            self._address = str(self._send(Request(method="address"), timeout=_CONNECT_TIMEOUT))
            self._token = read_token(socket.parent) if socket else None  # the gateway of a shared mesh adds its own
            if self._token:
                tokens.remember(self._address, self._token)
        except BaseException:  # even on Ctrl-C, because a shared mesh has opened its tunnel already
            self.close()
            raise

    @staticmethod
    def at(socket: str | Path) -> RemoteMesh:
        """Use the mesh whose control socket is at this path (see `MeshService`); raises as `RemoteMesh` does."""
        absent = (
            f"LLM_STREAMING_MESH points to {socket}, where no mesh is open any more: run `llm-streaming up` again and "
            "the line that it prints, or unset the variable"
        )
        return RemoteMesh("http://mesh", absent=absent, command="`llm-streaming up`", socket=Path(socket))

    def __str__(self) -> str:
        return f"{self.address}, kept open by {self._command}"

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed in this process or in the other."""
        # The socket is removed when the process that keeps the mesh open exits.
        return self._http.is_closed or (self._socket is not None and not self._socket.exists())

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return self._address

    @property
    def token(self) -> str | None:
        """The secret token that requests must have, or None."""
        return self._token

    def metrics_address(self, server: str) -> str:
        """Return the ``host:port`` of a server's metrics; raises the errors of `Mesh.metrics_address`."""
        return self._call(Mesh.metrics_address, server)

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Models in a manifest; raises the errors of `Mesh.apply`."""
        for document in load_documents(manifest):
            self._call(Mesh.apply, document)

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until the named models are ready, by default all models; raises the errors of `Mesh.wait`."""
        self._call(Mesh.wait, *names, timeout=timeout)

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models in a manifest; raises the errors of `Mesh.delete`."""
        for document in load_documents(manifest):
            self._call(Mesh.delete, document)

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Return the Models or Servers of the mesh; raises the errors of `Mesh.resources`."""
        return self._call(Mesh.resources, kind)

    def logs(self, model: str) -> str:
        """Return the last million characters of the log of a model's server; raises the errors of `Mesh.logs`."""
        return self._call(Mesh.logs, model)

    def reset(self) -> None:
        """Remove all models of all users; raises `MeshError` on a shared mesh, which only its presenter can reset."""
        self._call(RemoteMesh.reset)

    def close(self) -> None:
        """Stop using the mesh, which stays open in the other process. May be called several times."""
        self._http.close()

    def _call(self, method: Callable[Concatenate[Any, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call the method of the same name on the mesh in the other process."""
        result: T = self._send(Request(method=method.__name__, arguments=arguments, options=options))
        return result

    def _send(self, request: Request, timeout: float | None = None) -> Any:  # noqa: ANN401 - it depends on the method
        """Send a request and return the method's result, without a timeout by default, as some methods take minutes."""
        if self._http.is_closed:
            raise MeshError("the mesh is closed: connect again")
        limits = httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT)
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(request)
        if len(content) > MAX_BYTES:
            raise MeshError(f"the mesh accepts requests of at most {MAX_BYTES:,} bytes: make the manifest smaller")
        try:
            with self._http.stream("POST", PATH, content=content, headers=headers, timeout=limits) as answer:
                if answer.is_error:  # from an Envoy in front of a shared mesh
                    raise self._not_reached(str(decode_error(answer.read().decode(errors="replace"))))
                for line in answer.iter_lines():
                    message = msgspec.json.decode(line)
                    if "raised" in message:
                        raise _ERRORS.get(message["raised"], MeshError)(message["message"])
                    if "returned" in message:
                        return message["returned"]
                    report(message["progress"])
        except httpx.ConnectError:
            raise self._not_reached(self._absent) from None
        except httpx.TimeoutException:
            raise MeshError(
                f"the mesh does not answer within {_CONNECT_TIMEOUT:g} s: if `llm-streaming up` was stopped by "
                "Ctrl-Z, run `fg` in its shell"
            ) from None
        except httpx.TransportError:
            pass  # the connection closed before the answer was complete
        raise MeshError("the mesh was closed before it answered: `llm-streaming up` printed the reason")

    def _not_reached(self, reason: str) -> MeshError:
        self.close()  # so that the next `connect` opens the mesh again
        return MeshError(reason)
