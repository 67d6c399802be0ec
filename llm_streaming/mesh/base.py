"""The interface of all meshes, and a check that the packages for a mesh are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Protocol, Self

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Manifest


class Mesh(Protocol):
    """A place where models are deployed and called. Its progress messages are worded like kubectl's."""

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

    @property
    def token(self) -> str | None:
        """The secret token that requests must have, or None. This package's clients send it by themselves."""
        return None

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers or gRPC metadata for requests of other clients, with the mesh's token if there is one."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}

    def metrics_address(self, server: str) -> str:
        """Return the ``host:port`` where a server serves its ``/metrics``; reading them requires no token.

        Raises:
            MeshError: the mesh has no server of this name.
        """

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Models in a manifest, without waiting until they are ready.

        Raises:
            ManifestError: the manifest or a model's folder cannot be used.
            MeshError: no server can run a model, or the mesh is closed.
        """

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until the named models are ready, by default all models, for at most `timeout` seconds.

        Raises:
            MeshError: a model is not deployed, failed to load (it stays deployed), or is still loading.
        """

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models in a manifest, and wait until they are gone.

        Raises:
            ManifestError: the manifest cannot be read.
            MeshError: a model is not deployed, or the mesh is closed.
        """

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Return the resources of a kind, ``Model`` or ``Server``: their manifests, each with its status."""

    def logs(self, model: str) -> str:
        """Return the log of the server on which a model runs.

        Raises:
            MeshError: the model is not deployed.
        """

    def close(self) -> None:
        """Close the mesh, and stop the processes that it started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def check_installed(mesh: str, packages: Mapping[str, str]) -> None:
    """Check that the packages for a mesh are installed.

    Args:
        mesh: the mesh that needs the packages; the extra that installs them has the same name.
        packages: the name of each package; the keys are the names of the modules.

    Raises:
        MeshError: a package is not installed.
    """
    for module, package in packages.items():
        if importlib.util.find_spec(module) is None:
            raise MeshError(
                f"the {mesh} mesh needs the package {package}, which is not installed: run `make setup`, or "
                f"`pip install 'llm-streaming[{mesh}]'`"
            )
