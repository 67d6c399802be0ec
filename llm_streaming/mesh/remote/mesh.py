"""The embedded mesh of another process: the one that ``llm-streaming up`` keeps open, here or elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Manifest, load_documents
from llm_streaming.mesh.remote import requests
from llm_streaming.sharing.invitation import Invitation
from llm_streaming.sharing.tunnel import Tunnel

VARIABLE = "LLM_STREAMING_MESH"
"""The environment variable that leads other processes to the mesh: the path of its control socket, or an invitation."""


class AttachedMesh:
    """A mesh that another process keeps open, used from here. It stays open when this is closed.

    Args:
        named: the path of its control socket (see `remote.service`), or an `Invitation` to a shared one.

    Raises:
        MeshError: nobody keeps a mesh open there, or whoever does is stopped, or does not let this process in.
    """

    def __init__(self, named: str) -> None:
        from llm_streaming.mesh.remote.client import CallClient  # not before: it brings an HTTP client

        self._closed = False
        self._control = Path(named)
        self._tunnel: Tunnel | None = None
        self._keeper = "`llm-streaming up`"
        if Invitation.is_meant(named):
            invitation = Invitation.read(named)
            self._tunnel = Tunnel(invitation)
            self._keeper += f" at {invitation.address}"
            self._client = CallClient(self._tunnel.address)
        else:
            self._client = CallClient(self._control)
        try:
            address: str = self._call(requests.Address(holder=requests.holder()))
        except BaseException:  # Ctrl-C too: the tunnel is there already
            self.close()
            raise
        self._address = self._tunnel.address if self._tunnel else address

    def __str__(self) -> str:
        """Where it is, and who keeps it."""
        return f"{self._address}, kept by {self._keeper}"

    @property
    def closed(self) -> bool:
        """Whether it can be used no more; when the process that keeps it ends, its socket goes too."""
        if self._closed:
            return True
        return self._tunnel.ended if self._tunnel else not self._control.exists()

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return self._address

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same, as on SC2."""
        return self._address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``; raises as `EmbeddedMesh.metrics_address` does.

        Of a shared mesh it has a path too: its servers' own ports are on the presenter's loopback.
        """
        address = str(self._call(requests.MetricsAddress(holder=requests.holder(), server=server)))
        return f"{self._address}{requests.METRICS_PATH}/{server}" if self._tunnel else address

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest, a file of this process's; raises as `EmbeddedMesh.apply` does."""
        for document in load_documents(manifest):
            self._call(requests.Apply(holder=requests.holder(), manifest=document))

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default; raises as `EmbeddedMesh.wait` does."""
        self._call(requests.Wait(holder=requests.holder(), names=list(names), timeout=timeout))

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest; raises as `EmbeddedMesh.delete` does."""
        for document in load_documents(manifest):
            self._call(requests.Delete(holder=requests.holder(), manifest=document))

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The Models or Servers there are; raises as `EmbeddedMesh.resources` does."""
        found: list[dict[str, Any]] = self._call(requests.Resources(holder=requests.holder(), kind=kind))
        return found

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged; raises as `EmbeddedMesh.logs` does."""
        return str(self._call(requests.Logs(holder=requests.holder(), model=model)))

    def reset(self) -> None:
        """Remove every model, whoever has applied it.

        Raises:
            MeshError: the mesh is another's, who alone can.
        """
        self._call(requests.Reset(holder=requests.holder()))

    def close(self) -> None:
        """Let go of the mesh, which stays open. May be called again."""
        self._closed = True
        self._client.close()
        if self._tunnel:
            self._tunnel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, call: requests.AnyCall) -> Any:  # noqa: ANN401 - of many types
        if self._closed:
            raise MeshError("the mesh is closed: connect again")
        from llm_streaming.mesh.remote.client import NotReachedError

        try:
            return self._client.make(call)
        except NotReachedError:
            self.close()  # so that `connect` may be tried again
            raise


def named_in_environment() -> str | None:
    """What leads to a mesh that another process keeps; None where the environment has nothing."""
    return os.environ.get(VARIABLE) or None
