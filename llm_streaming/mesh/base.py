"""The interface that every mesh has, and the names of resources in its messages."""

from __future__ import annotations

from typing import Any, Protocol, Self

from llm_streaming.manifests import API_VERSION, Manifest


class Mesh(Protocol):
    """A place where models are deployed and reached. It reports its progress in kubectl's words."""

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used."""

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same, because Envoy serves both on one port."""
        return self.address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``."""

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest; returns before the model is ready."""

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most."""

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest."""

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a kind, ``Model`` or ``Server``: each manifest, with its status."""

    def logs(self, model: str) -> str:
        """The log of the server that holds a model."""

    def close(self) -> None:
        """Close the mesh, and end the processes that were started for it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def qualified(kind: str) -> str:
    """The name of a kind as kubectl writes it: ``model.mlops.seldon.io``."""
    return f"{kind.lower()}.{API_VERSION.partition('/')[0]}"
