"""The embedded mesh of another process: the one that ``llm-streaming up`` keeps open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Manifest, load_documents
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.progress import report
from llm_streaming.mesh.remote import requests

_CONNECT_TIMEOUT = 30.0  # seconds until the mesh has said that it is there; milliseconds are usual
_ERRORS = {error.__name__: error for error in (ManifestError, MeshError)}


class NotReachedError(MeshError):
    """The mesh of another process cannot be reached."""


class RequestClient:
    """Sends requests to the process that keeps a mesh open, and repeats its progress messages here.

    Args:
        origin: the URL to send the requests to.
        absent: the error message if nothing answers there.
        socket: the unix socket to connect to, instead of the host that `origin` names.
    """

    def __init__(self, origin: str, *, absent: str, socket: Path | None = None) -> None:
        self._absent = absent
        self._socket = socket
        transport = httpx.HTTPTransport(uds=str(socket) if socket else None)
        self._http = httpx.Client(base_url=origin, transport=transport, trust_env=False)

    def send(self, request: requests.AnyRequest) -> Any:  # noqa: ANN401 - each request returns a type of its own
        """Send a request and return what the mesh returned.

        Raises:
            NotReachedError: no mesh can be reached.
            ManifestError: raised by the mesh.
            MeshError: raised by the mesh, or the mesh does not answer.
        """
        # Most requests may take any time, but whether a mesh is there is answered at once.
        read = _CONNECT_TIMEOUT if isinstance(request, requests.Address) else None
        timeout = httpx.Timeout(read, connect=_CONNECT_TIMEOUT)
        headers = {"content-type": "application/json"}
        content = msgspec.json.encode(request)
        try:
            with self._http.stream("POST", requests.PATH, content=content, headers=headers, timeout=timeout) as answer:
                if answer.is_error:  # an Envoy on the way to a shared mesh says why
                    raise NotReachedError(answer.read().decode(errors="replace"))
                for line in answer.iter_lines():
                    message = json.loads(line)
                    if "progress" not in message:
                        return _returned(message)
                    report(message["progress"])
        except httpx.ConnectError:
            raise NotReachedError(self._absent) from None
        except httpx.TimeoutException:
            raise MeshError(
                f"the mesh does not answer within {_CONNECT_TIMEOUT:g} s: if `llm-streaming up` was stopped by "
                "Ctrl-Z, run `fg` in its shell"
            ) from None
        except httpx.TransportError:
            pass  # the connection ended before the answer did
        raise MeshError("the mesh was closed before it answered: `llm-streaming up` printed the reason")

    @property
    def lost(self) -> bool:
        """Whether the socket is gone. It goes when the process that keeps the mesh ends."""
        return self._socket is not None and not self._socket.exists()

    def close(self) -> None:
        """Close the connections. May be called again."""
        self._http.close()


def _returned(message: dict[str, Any]) -> Any:  # noqa: ANN401 - each request returns a type of its own
    if "raised" in message:
        raise _ERRORS.get(message["raised"], MeshError)(message["message"])
    return message["returned"]


class RemoteMesh(Mesh):
    """The embedded mesh of another process. Closing it here leaves it open there.

    Args:
        client: sends the requests.
        command: the command that keeps the mesh open, and the machine where it runs.

    Raises:
        MeshError: no mesh is open there, or the process that keeps it does not answer.
    """

    def __init__(self, client: RequestClient, *, command: str = "`llm-streaming up`") -> None:
        self._client = client
        self._command = command
        self._closed = False
        try:
            self._address: str = self._ask(requests.Address())
        except BaseException:  # also Ctrl-C: a shared mesh has opened its tunnel already
            self.close()
            raise

    @staticmethod
    def at(socket: str | Path) -> RemoteMesh:
        """Use the mesh whose control socket is at this path (see `MeshService`); raises as the class does."""
        absent = (
            f"LLM_STREAMING_MESH names {socket}, where no mesh is open any more: run `llm-streaming up` again and the "
            "line that it prints, or unset the variable"
        )
        return RemoteMesh(RequestClient("http://mesh", absent=absent, socket=Path(socket)))

    def __str__(self) -> str:
        """The address and the command that keeps the mesh open."""
        return f"{self.address}, kept by {self._command}"

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed here or there."""
        return self._closed or self._client.lost

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return self._address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``; raises as `EmbeddedMesh.metrics_address` does."""
        return str(self._ask(requests.MetricsAddress(server=server)))

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Models in a manifest; raises as `EmbeddedMesh.apply` does."""
        for document in load_documents(manifest):
            self._ask(requests.Apply(manifest=document))

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default; raises as `EmbeddedMesh.wait` does."""
        self._ask(requests.Wait(names=list(names), timeout=timeout))

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models in a manifest; raises as `EmbeddedMesh.delete` does."""
        for document in load_documents(manifest):
            self._ask(requests.Delete(manifest=document))

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Return the Models or Servers of the mesh; raises as `EmbeddedMesh.resources` does."""
        found: list[dict[str, Any]] = self._ask(requests.Resources(kind=kind))
        return found

    def logs(self, model: str) -> str:
        """Return the log of the server that holds a model; raises as `EmbeddedMesh.logs` does."""
        return str(self._ask(requests.Logs(model=model)))

    def reset(self) -> None:
        """Remove all models of all users.

        Raises:
            MeshError: the mesh is shared by another machine; only its presenter can reset it.
        """
        self._ask(requests.Reset())

    def close(self) -> None:
        """Stop using the mesh, which stays open. May be called again."""
        self._closed = True
        self._client.close()

    def _ask(self, request: requests.AnyRequest) -> Any:  # noqa: ANN401 - see `send`
        if self._closed:
            raise MeshError("the mesh is closed: connect again")
        try:
            return self._client.send(request)
        except NotReachedError:
            self.close()  # so that `connect` tries again
            raise
