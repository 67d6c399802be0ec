"""The mesh on one machine, which deploys Models on real MLServers, behind a real Envoy."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from llm_streaming.client import tokens
from llm_streaming.errors import MeshError
from llm_streaming.manifests import Manifest, Model, Server, load_documents, read_manifests, read_servers
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.embedded.deployment import Deployment
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.offline_provider import NOTICE
from llm_streaming.mesh.embedded.servers import Servers
from llm_streaming.mesh.processes.group import Exit, retry_if_port_taken
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.mesh.progress import report
from llm_streaming.paths import in_project


class EmbeddedMesh(Mesh):
    """Envoy and MLServer on loopback, which stop when this process ends. Several threads may use the mesh.

    Args:
        servers: the folder of `Server` manifests. The mesh starts one MLServer process for each Server.
        models: the folder that contains the models' folders.
        port: the port on which the mesh listens; by default a free port.
        token: whether requests must have a secret token, so that other accounts of this machine cannot use the models.

    Attributes:
        models: the folder that contains the models' folders.
        home: the mesh's private folder, which is removed when the mesh is closed.

    Raises:
        ManifestError: a Server's manifest cannot be read.
        MeshError: a package is not installed, the port is taken, or a process did not start.
    """

    def __init__(
        self,
        *,
        servers: str | Path = "manifests/servers",
        models: str | Path = "models",
        port: int | None = None,
        token: bool = False,
    ) -> None:
        self.models = in_project(models)
        self._deployed: dict[str, Deployment] = {}  # by the model's name
        self._last_servers: dict[str, str] = {}  # by the model's name; includes models that were deleted
        manifests = read_servers(in_project(servers))
        self._servers = retry_if_port_taken(lambda: Servers(manifests, port, token=token, on_exit=self._load_again))
        self.home = self._servers.home
        self._changing = threading.RLock()
        if self.token:
            tokens.remember(self.address, self.token)
        if self._servers.provider:
            report(NOTICE)

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed or its servers exited too often."""
        return self._servers.closed

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{LOOPBACK}:{self._servers.port}"

    @property
    def token(self) -> str | None:
        """The secret token that requests must have, or None."""
        return self._servers.token

    def metrics_address(self, server: str) -> str:
        """Return the ``host:port`` where a server serves its ``/metrics``."""
        return f"{LOOPBACK}:{self.mlserver(server).metrics_port}"

    def mlserver(self, name: str) -> MLServer:
        """Return the MLServer process of a Server, with its sockets and its folder.

        Raises:
            MeshError: the mesh has no server of this name.
        """
        known = self._servers.mlservers
        if name not in known:
            raise MeshError(
                f"there is no server '{name}' on this mesh, only {', '.join(known)}: to add one, put its manifest into "
                "the folder of Server manifests and open the mesh again"
            )
        return known[name]

    def wait_while_loading(self, name: str) -> None:
        """Return once a model is ready or has failed, or at once if there is no such model."""
        if deployment := self._deployed.get(name):
            deployment.loaded.exception()

    def apply(self, manifest: Manifest) -> None:
        """Deploy all Models in a manifest, or none. A Server in the manifest must be equal to a running one."""
        self.check()
        resources = read_manifests(manifest)
        for resource in resources:
            if isinstance(resource, Server):
                if self.mlserver(resource.name).manifest != resource:
                    raise MeshError(
                        f"server '{resource.name}' was started from another manifest: open the mesh again to change it"
                    )
                report(f"server.mlops.seldon.io/{resource.name} unchanged")
        with self._changing:
            for wanted in [self._plan(resource) for resource in resources if isinstance(resource, Model)]:
                self._deploy(wanted)

    def would_change(self, model: Model) -> bool:
        """Return whether `apply` would replace a different model that has not failed; raises the errors of `apply`."""
        self.check()
        wanted, current = self._plan(model), self._deployed.get(model.name)
        return current is not None and current.failure is None and current != wanted

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until the named models are ready, by default all models. A model that failed stays on the mesh."""
        self.check()
        deadline = time.monotonic() + timeout
        for name in names or list(self._deployed):
            deployment = self._find(name)
            try:
                deployment.loaded.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise MeshError(
                    f"model '{name}' is still loading after {timeout:g} s: wait longer, or read mesh.logs('{name}')"
                ) from None
            report(f"model.mlops.seldon.io/{name} condition met")

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models in a manifest, and wait until they are gone."""
        self.check()
        names = [Model.from_dict(document).name for document in load_documents(manifest)]
        with self._changing:
            for name, deployment in [(name, self._find(name)) for name in names]:
                self._remove(deployment)
                report(f'model.mlops.seldon.io "{name}" deleted')

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """Return the Models or Servers as a cluster would show them: their manifests, each with a status."""
        self.check()
        if kind == "Model":
            return [deployment.resource() for deployment in list(self._deployed.values())]
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return [server.manifest.as_dict() | ready for server in self._servers.mlservers.values()]

    def logs(self, model: str) -> str:
        """Return the log of the server on which a model runs, or on which a deleted model ran."""
        if model not in self._last_servers:
            raise MeshError(f"model '{model}' has not been deployed on this mesh: apply its manifest first")
        return self._servers.log(self._last_servers[model])

    def check(self) -> None:
        """Check that the mesh can be used. If its servers have exited too often, close it.

        Raises:
            MeshError: the mesh is closed. If servers exited, the message quotes the last log lines of the last one.
        """
        self._servers.check()

    def close(self) -> None:
        """Stop every server, and wait until all processes and files are gone. May be called several times."""
        self._servers.close()

    def __str__(self) -> str:
        return self.address

    def _plan(self, model: Model) -> Deployment:
        return Deployment.plan(model, self._servers.mlservers, self.models)

    def _find(self, name: str) -> Deployment:
        if name not in self._deployed:
            raise MeshError(f"model '{name}' is not deployed on this mesh: apply its manifest first")
        return self._deployed[name]

    def _deploy(self, wanted: Deployment) -> None:
        name = wanted.model.name
        current = self._deployed.get(name)
        if current and current == wanted and not current.failure:
            report(f"model.mlops.seldon.io/{name} unchanged")
            return
        wanted.prepare()
        if current:
            self._remove(current)
        wanted.start(self._servers)
        self._deployed[name] = wanted
        self._last_servers[name] = wanted.server.name
        report(f"model.mlops.seldon.io/{name} {'configured' if current else 'created'}")

    def _remove(self, deployment: Deployment) -> None:
        """Remove a deployment completely, even if its model failed to load. Nothing changes if the disk is full."""
        deployment.remove_route(self._servers)
        try:
            deployment.unload(self._servers)
        finally:
            del self._deployed[deployment.model.name]

    def _load_again(self, exited: Exit) -> None:
        """Load a server's models again after the server has exited."""
        for deployment in list(self._deployed.values()):
            if deployment.server.name == exited.name:
                deployment.load_again(self._servers, exited)
