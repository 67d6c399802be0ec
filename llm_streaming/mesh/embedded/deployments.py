"""The Models on an embedded mesh: deployed, loaded in threads of their own, and withdrawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded import storage
from llm_streaming.mesh.embedded.deployment import Deployment
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.placement import place
from llm_streaming.mesh.embedded.servers import Stack
from llm_streaming.mesh.progress import report


class Deployments:
    """Every Model of a mesh, by name; several threads may use it.

    Args:
        stack: the servers.
        models: the folder that holds the models' folders.
        check: raises if the mesh cannot be used, and closes it where a server has ended.
        closed: says why the mesh was closed; None while it is not.
    """

    def __init__(
        self, stack: Stack, models: Path, *, check: Callable[[], None], closed: Callable[[], MeshError | None]
    ) -> None:
        self._stack = stack
        self._models = models
        self._check = check
        self._closed = closed
        self._standing: dict[str, Deployment] = {}
        self._last_servers: dict[str, MLServer] = {}  # of models that have gone, too
        self.changing = threading.RLock()
        """Held by whoever changes what is deployed."""

    def names(self) -> list[str]:
        """The models there are, in the order in which they came."""
        return list(self._standing)

    def deployed(self, name: str) -> Deployment:
        """Find a model.

        Raises:
            MeshError: it is not deployed.
        """
        if name not in self._standing:
            raise MeshError(f"model '{name}' is not deployed on this mesh: apply its manifest first")
        return self._standing[name]

    def resources(self) -> list[dict[str, Any]]:
        """The Models as a cluster shows them: each manifest, with a status."""
        return [deployment.resource() for deployment in list(self._standing.values())]

    def last_server(self, name: str) -> MLServer:
        """Find the server that holds a model, or held it until it failed or was deleted.

        Raises:
            MeshError: no such model has been deployed.
        """
        if name not in self._last_servers:
            raise MeshError(f"model '{name}' has not been deployed on this mesh: apply its manifest first")
        return self._last_servers[name]

    def plan(self, model: Model) -> Deployment:
        """Find where a Model goes, and what it is there, without touching anything.

        Raises:
            ManifestError: the model's folder cannot be used.
            MeshError: no server can hold the model.
        """
        server = place(model, self._stack.mlservers)
        folder = storage.resolve(model.storage_uri, self._models)
        return Deployment(model.name, storage.settings(model, folder), folder, server, model.document)

    def would_change(self, wanted: Deployment) -> bool:
        """Whether a model of that name stands, has not failed, and is another."""
        current = self._standing.get(wanted.name)
        return current is not None and not current.failed and current != wanted

    def settle(self, wanted: Deployment) -> None:
        """Make a deployment what is wanted, and tell what that took."""
        current = self._standing.get(wanted.name)
        if current and current == wanted and not current.failed:
            report(f"model.mlops.seldon.io/{wanted.name} unchanged")
            return
        if current:
            self.withdraw(current)
        self._deploy(wanted)
        report(f"model.mlops.seldon.io/{wanted.name} {'configured' if current else 'created'}")

    def withdraw(self, deployment: Deployment) -> None:
        """Undo a deployment, also one that failed; returns when nothing of it is left."""
        deployment.loaded.exception()  # a model that is being loaded can be unloaded only after that
        with self.changing:
            if self._standing.get(deployment.name) is not deployment:
                return  # another has done it
            self._stack.remove_route(deployment.name)
            try:
                deployment.server.unload(deployment.name)
            except httpx.TransportError:
                self._stack.loss()
                self._check()  # a server that has ended is named here
            finally:
                storage.remove(deployment.target)
                del self._standing[deployment.name]

    def _deploy(self, deployment: Deployment) -> None:
        storage.install(deployment.settings, deployment.folder, deployment.target)
        self._standing[deployment.name] = deployment
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
        if closed := self._closed():
            return closed
        loss = self._stack.loss() if isinstance(error, httpx.TransportError) else None
        words = "" if isinstance(error, httpx.TransportError) else str(error)
        words = words or self._stack.last_exception(deployment.server.name, after=logged)
        return loss or MeshError(f"model '{deployment.name}' failed to load: {words}")
