"""The mesh that another machine shares, reached through a tunnel."""

from __future__ import annotations

from llm_streaming.mesh.remote.mesh import RemoteMesh, RequestClient
from llm_streaming.mesh.remote.requests import METRICS_PATH
from llm_streaming.sharing.invitation import Invitation
from llm_streaming.sharing.tunnel import Tunnel


class SharedMesh(RemoteMesh):
    """The mesh that an invitation leads to. Closing it here closes the tunnel and leaves the mesh open there.

    Args:
        invitation: the text of the invitation (see `Invitation`).

    Raises:
        MeshError: the invitation is incomplete, the tunnel cannot be opened, or the mesh cannot be reached.
    """

    def __init__(self, invitation: str) -> None:
        to = Invitation.read(invitation)
        self._tunnel = Tunnel(to)
        absent = "the tunnel to the shared mesh has ended: connect again"
        client = RequestClient(f"http://{self._tunnel.address}", absent=absent)
        super().__init__(client, keeper=f"`llm-streaming up` at {to.address}")

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed here or the tunnel has ended."""
        return super().closed or self._tunnel.ended

    @property
    def address(self) -> str:
        """``host:port`` of the tunnel on this machine, for HTTP and gRPC."""
        return self._tunnel.address

    def metrics_address(self, server: str) -> str:
        """``host:port/path`` where a server shows its ``/metrics``; raises as `EmbeddedMesh.metrics_address` does.

        The servers' own ports are on loopback of the presenter's machine.
        """
        super().metrics_address(server)  # raises if there is no such server
        return f"{self.address}{METRICS_PATH}/{server}"

    def close(self) -> None:
        """Close the tunnel. May be called again."""
        super().close()
        self._tunnel.close()
