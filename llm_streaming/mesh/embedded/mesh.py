"""The mesh on one machine: Models are deployed on a real MLServer, and reached through a real Envoy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Manifest, Model, Server, load_documents, read_manifests
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.embedded.deployments import Deployments
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.offline_provider import NOTICE
from llm_streaming.mesh.embedded.servers import Servers
from llm_streaming.mesh.processes.group import retry_if_port_taken
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.mesh.progress import report
from llm_streaming.paths import in_project


class EmbeddedMesh(Mesh):
    """Envoy and MLServer on this machine, on loopback, until this process ends.

    Args:
        servers: the folder of `Server` manifests. Each Server gets an MLServer process of its own.
        models: the folder that holds the models' folders.
        port: the port where the mesh listens; by default a free port.

    Attributes:
        models: the folder that holds the models' folders.

    Raises:
        ManifestError: a Server's manifest cannot be read.
        MeshError: a package is not installed, the port is taken, or a process did not start.
    """

    def __init__(
        self, *, servers: str | Path = "manifests/servers", models: str | Path = "models", port: int | None = None
    ) -> None:
        self.models = in_project(models)
        manifests = _read_servers(in_project(servers))
        self._servers = retry_if_port_taken(lambda: Servers(manifests, port))
        self._deployments = Deployments(self._servers, self.models)
        if self._servers.provider:
            report(NOTICE)

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used: it was closed, or a server has ended."""
        return self._servers.closed

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{LOOPBACK}:{self._servers.port}"

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``.

        Raises:
            MeshError: there is no server of that name.
        """
        return f"{LOOPBACK}:{self.mlserver(server).ports[2]}"

    def mlserver(self, name: str) -> MLServer:
        """The MLServer that runs for a Server, with its ports and its folder.

        Raises:
            MeshError: there is no server of that name.
        """
        known = self._servers.mlservers
        if name not in known:
            raise MeshError(
                f"there is no server '{name}' on this mesh, only {', '.join(known)}: to add one, put its manifest into "
                "the folder of the servers' manifests and open the mesh again"
            )
        return known[name]

    @property
    def home(self) -> Path:
        """The mesh's private folder, which is removed when the mesh is closed."""
        return self._servers.home

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Models in a manifest; returns before they are ready.

        A Server in it has to be one that the mesh was opened with, unchanged.

        Raises:
            ManifestError: the manifest or a model's folder cannot be used.
            MeshError: no server can hold a model, a server has ended, or a Server is unknown or changed.
        """
        self.check()
        resources = read_manifests(manifest)
        for resource in resources:
            if isinstance(resource, Server):
                if self.mlserver(resource.name).manifest != resource:
                    raise MeshError(
                        f"server '{resource.name}' was started from another manifest: open the mesh again to change it"
                    )
                report(f"server.mlops.seldon.io/{resource.name} unchanged")
        self._deployments.apply(resource for resource in resources if isinstance(resource, Model))

    def would_change(self, manifest: Manifest) -> bool:
        """Whether `apply` would replace a model that is deployed by a different one; raises as `apply` does."""
        self.check()
        return any(map(self._deployments.would_change, _read_models(manifest)))

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, failed to load (then it is removed), or is still loading.
        """
        self.check()
        self._deployments.wait(names, timeout)

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models in a manifest; returns when they are gone.

        Raises:
            ManifestError: the manifest cannot be read.
            MeshError: a model is not deployed, or a server has ended.
        """
        self.check()
        self._deployments.delete(_read_models(manifest))

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The Models or Servers on the mesh, as a cluster shows them: each manifest, with a status.

        Raises:
            MeshError: a server has ended.
        """
        self.check()
        if kind == "Model":
            return self._deployments.resources()
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return [server.manifest.as_dict() | ready for server in self._servers.mlservers.values()]

    def logs(self, model: str) -> str:
        """The log of the server that holds a model, or held it until it failed or was deleted.

        Raises:
            MeshError: no such model has been deployed.
        """
        return self._servers.log(self._deployments.last_server(model).name)

    def check(self) -> None:
        """Check that the mesh can be used; a mesh that has lost a server is closed.

        Raises:
            MeshError: the mesh is closed. If a server has ended, every call names it, with its last lines.
        """
        self._servers.check()

    def close(self) -> None:
        """End every server; returns when they and their files are gone. May be called again."""
        self._servers.close()

    def __str__(self) -> str:
        return self.address


def _read_servers(folder: Path) -> list[Server]:
    paths = sorted(folder.glob("*.yaml"))
    servers = [Server.from_dict(document) for path in paths for document in load_documents(path)]
    if not servers:
        raise ManifestError(f"{folder} holds no Server manifest: the mesh has nothing to start")
    if len({server.name for server in servers}) < len(servers):
        raise ManifestError(f"{folder} holds two Servers of the same name")
    return servers


def _read_models(manifest: Manifest) -> list[Model]:
    if isinstance(manifest, Model):
        return [manifest]
    return [Model.from_dict(document) for document in load_documents(manifest)]
