"""How other processes use an embedded mesh: sockets in its private folder, which only its user can open.

One is for this user's own processes. The other is for guests, whom the gateway of a shared mesh lets in.
"""

from __future__ import annotations

from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.remote import requests
from llm_streaming.mesh.remote.model_users import Holds
from llm_streaming.mesh.remote.server import CallServer
from llm_streaming.sharing.guests import check_guest, masked

_KEEPER = "keeper"  # all processes of the user who keeps the mesh hold as one


class Control:
    """Serves an embedded mesh to other processes, until it is closed. Use as a context manager.

    Args:
        mesh: what they use.

    Attributes:
        path: the socket for this user's own processes.
        guests: the socket for guests.

    Raises:
        MeshError: the mesh's folder can hold no socket.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self.path = mesh.home / "control.sock"
        self.guests = mesh.home / "guests.sock"
        self._mesh = mesh
        self._holds = Holds(mesh)
        try:
            self._servers = [CallServer(self.path, self._answer), CallServer(self.guests, self._answer_guest)]
        except OSError as error:
            raise MeshError(
                f"other processes cannot be let into the mesh at {self.path} ({error}): name a folder on this machine "
                "with a short path in TMPDIR, such as /tmp"
            ) from None

    def close(self) -> None:
        """Take no more calls; those that run are cut with the mesh."""
        for server in self._servers:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _answer_guest(self, call: requests.AnyCall) -> Any:  # noqa: ANN401 - what the mesh returns
        def answer() -> Any:  # noqa: ANN401 - the same
            check_guest(call, self._mesh)
            return self._answer(call, f"guest {call.holder}")

        return masked(answer)

    def _answer(self, call: requests.AnyCall, holder: str = _KEEPER) -> Any:  # noqa: ANN401 - what the mesh returns
        self._mesh.check()
        match call:
            case requests.Address():
                return self._mesh.address
            case requests.MetricsAddress():
                return self._mesh.metrics_address(call.server)
            case requests.Apply():
                return self._holds.apply(holder, call.manifest)
            case requests.Wait():
                return self._mesh.wait(*call.names, timeout=call.timeout)
            case requests.Delete():
                return self._holds.delete(holder, call.manifest)
            case requests.Resources():
                return self._mesh.resources(call.kind)
            case requests.Logs():
                return self._mesh.logs(call.model)
            case requests.Reset():
                return self._holds.reset()
