"""What every mesh can do, wherever it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from llm_streaming.manifests import API_VERSION

Manifest = str | Path | Mapping[str, Any]


class Mesh(Protocol):
    """A place where models are deployed and reached. It tells what kubectl prints."""

    @property
    def closed(self) -> bool:
        """Whether it can be used no more."""

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint."""

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``."""

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest (a YAML file's path, or a mapping); returns before it is ready."""

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most."""

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest."""

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a kind, ``Model`` or ``Server``: each manifest, with its status."""

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged."""

    def close(self) -> None:
        """Let go of the mesh; what was opened for it ends."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def qualified(kind: str) -> str:
    """A kind as kubectl names it: ``model.mlops.seldon.io``."""
    return f"{kind.lower()}.{API_VERSION.partition('/')[0]}"
