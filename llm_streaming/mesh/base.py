"""The interface that every mesh has, and the check of the packages that it needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Protocol, Self

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Manifest


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
        """``host:port`` where a server shows its ``/metrics``.

        Raises:
            MeshError: there is no such server.
        """

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest; returns before the model is ready.

        Raises:
            ManifestError: the manifest or the model's folder cannot be used.
            MeshError: the mesh cannot hold the model, or is no longer there.
        """

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, failed to load, or is still loading.
        """

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest; returns when it is gone.

        Raises:
            ManifestError: the manifest cannot be read.
            MeshError: the model is not deployed, or the mesh is no longer there.
        """

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a kind, ``Model`` or ``Server``: each manifest, with its status."""

    def logs(self, model: str) -> str:
        """The log of the server that holds a model.

        Raises:
            MeshError: the model is not deployed.
        """

    def close(self) -> None:
        """Close the mesh, and end the processes that were started for it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def check_installed(mesh: str, packages: Mapping[str, str]) -> None:
    """Check that the packages of a mesh are installed.

    Args:
        mesh: the mesh that needs them, which is also the name of the extra that installs them.
        packages: each package's name, by the name of its module.

    Raises:
        MeshError: a package is not installed.
    """
    for module, package in packages.items():
        if importlib.util.find_spec(module) is None:
            raise MeshError(
                f"the {mesh} mesh needs the package {package}, which is not installed: run `make setup`, or "
                f"`pip install 'llm-streaming[{mesh}]'`"
            )
