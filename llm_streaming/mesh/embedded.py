"""The mesh on one machine: Models deployed on a real MLServer, and reached through a real Envoy."""

from __future__ import annotations

import atexit
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.mesh import storage
from llm_streaming.mesh.base import Manifest
from llm_streaming.mesh.deployment import Deployment
from llm_streaming.mesh.mlserver import MLServer
from llm_streaming.mesh.offline_provider import NOTICE
from llm_streaming.mesh.placement import check_standing, place, read_servers
from llm_streaming.mesh.processes import LOOPBACK
from llm_streaming.mesh.stack import start_stack
from llm_streaming.mesh.telling import tell
from llm_streaming.project import in_project


class EmbeddedMesh:
    """Envoy and MLServer on this machine, on loopback, for as long as this process lives.

    Args:
        servers: folder of `Server` manifests; each gets an MLServer process of its own.
        models: folder that holds the models' folders.
        port: where the mesh listens; by default a free port is found.

    Raises:
        ManifestError: a Server's manifest cannot be read.
        MeshError: a part is not installed, the port is taken, or a process did not start.
    """

    def __init__(
        self, *, servers: str | Path = "manifests/servers", models: str | Path = "models", port: int | None = None
    ) -> None:
        self._models = in_project(models)
        self._stack = start_stack(read_servers(in_project(servers)), port)
        self._deployments: dict[str, Deployment] = {}
        self._last_servers: dict[str, MLServer] = {}  # of models that have gone, too
        self._changing = threading.RLock()  # several may use one mesh: other threads, other processes
        self._closed = False
        self._why_closed = "the mesh is closed: connect again"
        atexit.register(self.close)
        if self._stack.provider:
            tell(NOTICE)

    @property
    def closed(self) -> bool:
        """Whether it can be used no more; a mesh that has lost a server is closed."""
        self._close_if_lost()
        return self._closed

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{LOOPBACK}:{self._stack.port}"

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same, as on SC2."""
        return self.address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``.

        Raises:
            MeshError: there is no server of that name.
        """
        mlservers = self._stack.mlservers
        if server not in mlservers:
            raise MeshError(f"there is no server '{server}' on this mesh, only {', '.join(mlservers)}")
        return f"{LOOPBACK}:{mlservers[server].ports[2]}"

    @property
    def home(self) -> Path:
        """Its private folder, which goes with it."""
        return self._stack.home

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest (a YAML file's path, or a mapping); returns before it is ready.

        Raises:
            ManifestError: the manifest or the model's folder cannot be used.
            MeshError: no server can hold the model, one has ended, or a Server is none that the mesh was opened with.
        """
        self.check()
        documents = list(read_manifests(manifest))
        for server in [Server.from_dict(document) for document in documents if document.get("kind") == "Server"]:
            check_standing(server, self._stack.mlservers)
            tell(f"server.mlops.seldon.io/{server.name} unchanged")
        with self._changing:
            for wanted in [self._plan(document) for document in documents if document.get("kind") != "Server"]:
                self._settle(wanted)

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, failed to load (then it is removed), or is still loading.
        """
        self.check()
        deadline = time.monotonic() + timeout
        for name in names or list(self._deployments):
            deployment = self._deployed(name)
            try:
                deployment.loaded.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise MeshError(
                    f"model '{name}' is still loading after {timeout:g} s: wait longer, or read mesh.logs('{name}')"
                ) from None
            except MeshError:
                self._withdraw(deployment)
                raise
            tell(f"model.mlops.seldon.io/{name} condition met")

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest; returns when it is gone.

        Raises:
            ManifestError: the manifest cannot be read.
            MeshError: the model is not deployed, or one of the servers has ended.
        """
        self.check()
        models = [Model.from_dict(document) for document in read_manifests(manifest)]
        with self._changing:
            for deployment in [self._deployed(model.name) for model in models]:
                self._withdraw(deployment)
                tell(f'model.mlops.seldon.io "{deployment.name}" deleted')

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The Models or Servers there are, as a cluster shows them: each manifest, with a status.

        Raises:
            MeshError: one of the servers has ended.
        """
        self.check()
        if kind == "Model":
            return [deployment.resource() for deployment in list(self._deployments.values())]
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return [server.manifest.as_dict() | ready for server in self._stack.mlservers.values()]

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged, or held it until it failed or was deleted.

        Raises:
            MeshError: no such model has been deployed.
        """
        if model not in self._last_servers:
            raise MeshError(f"model '{model}' has not been deployed on this mesh: apply its manifest first")
        return self._stack.log(self._last_servers[model].name)

    def check(self) -> None:
        """Check that the mesh can be used; one that has lost a server is closed.

        Raises:
            MeshError: it cannot; the message says which server ended, and its last lines, to each who asks.
        """
        self._close_if_lost()
        if self._closed:
            raise MeshError(self._why_closed)

    def close(self) -> None:
        """End every server; returns when they and their files are gone. May be called again."""
        self._closed = True
        self._stack.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _close_if_lost(self) -> None:
        if (lost := self._stack.ended()) and not self._closed:
            self._why_closed = str(lost)
            self.close()

    def _deployed(self, name: str) -> Deployment:
        if name not in self._deployments:
            raise MeshError(f"model '{name}' is not deployed on this mesh: apply its manifest first")
        return self._deployments[name]

    def _plan(self, manifest: dict[str, Any]) -> Deployment:
        """Find where a Model goes, and what it is there, without touching anything."""
        model = Model.from_dict(manifest)
        server = place(model, self._stack.mlservers)
        folder = storage.resolve(model.storage_uri, self._models)
        return Deployment(model.name, storage.settings(model, folder), folder, server, manifest)

    def _settle(self, wanted: Deployment) -> None:
        """Make a deployment what is wanted, and tell what that took."""
        current = self._deployments.get(wanted.name)
        if current and current.stands_as(wanted):
            tell(f"model.mlops.seldon.io/{wanted.name} unchanged")
            return
        if current:
            self._withdraw(current)
        self._deploy(wanted)
        tell(f"model.mlops.seldon.io/{wanted.name} {'configured' if current else 'created'}")

    def _deploy(self, deployment: Deployment) -> None:
        storage.install(deployment.settings, deployment.folder, deployment.target)
        self._deployments[deployment.name] = deployment
        self._last_servers[deployment.name] = deployment.server
        threading.Thread(target=self._load, args=(deployment,), daemon=True).start()

    def _load(self, deployment: Deployment) -> None:
        """Load a model and route to it, in a thread of its own: a large one takes minutes."""
        name, server = deployment.name, deployment.server
        logged = len(self._stack.log(server.name))
        try:
            server.load(name)
            self._stack.add_route(name, server)
        except Exception as error:  # noqa: BLE001 - whoever waits for the model has to hear of it
            deployment.loaded.set_exception(self._failure(deployment, error, logged))
        else:
            deployment.loaded.set_result(None)

    def _failure(self, deployment: Deployment, error: Exception, logged: int) -> MeshError:
        """Say why a model did not load: a server has ended, or in the model's own words."""
        if self._closed:
            return MeshError(self._why_closed)
        loss = self._stack.loss() if isinstance(error, httpx.TransportError) else None
        words = "" if isinstance(error, httpx.TransportError) else str(error)
        words = words or self._stack.last_exception(deployment.server.name, after=logged)
        return loss or MeshError(f"model '{deployment.name}' failed to load: {words}")

    def _withdraw(self, deployment: Deployment) -> None:
        """Undo a deployment, also one that failed; returns when nothing of it is left."""
        deployment.loaded.exception()  # a model that is being loaded can be unloaded only after that
        with self._changing:
            if self._deployments.get(deployment.name) is not deployment:
                return  # another has done it
            self._stack.remove_route(deployment.name)
            try:
                deployment.server.unload(deployment.name)
            except httpx.TransportError:
                self._stack.loss()
                self.check()  # a server that has ended is named here
            finally:
                storage.remove(deployment.target)
                del self._deployments[deployment.name]
