"""The Models on an embedded mesh: each is placed on a server, loaded in a thread of its own, and removed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded import storage
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.servers import Servers
from llm_streaming.mesh.progress import report


@dataclass
class Deployment:
    """A Model on a server. Two are equal if MLServer would load the same.

    Args:
        model: the Model.
        server: the server that holds it.
        folder: the model's folder.
        settings: the content of its ``model-settings.json``, rewritten for this Model.
        loaded: done when the model is ready; holds the error if it failed to load.
    """

    model: Model = field(compare=False)
    server: MLServer
    folder: Path
    settings: dict[str, Any]
    loaded: Future[None] = field(default_factory=Future, compare=False)

    @property
    def target(self) -> Path:
        """The model's folder in the server's private repository."""
        return self.server.repository / self.model.name

    @property
    def failure(self) -> BaseException | None:
        """The error, if the model failed to load."""
        return self.loaded.exception() if self.loaded.done() else None

    def resource(self) -> dict[str, Any]:
        """The Model as a cluster shows it: its manifest, and SC2's conditions."""
        if self.failure:
            condition = {"status": "False", "message": "ModelFailed", "reason": str(self.failure)}
        elif self.loaded.done():
            condition = {"status": "True"}
        else:
            condition = {"status": "Unknown", "message": "ModelProgressing"}
        conditions = [{"type": kind, **condition} for kind in ("ModelReady", "Ready")]
        return {**self.model.document, "status": {"conditions": conditions}}


class Deployments:
    """Every Model of a mesh, by name. Several threads may use it.

    Args:
        servers: the servers.
        models: the folder that holds the models' folders.
    """

    def __init__(self, servers: Servers, models: Path) -> None:
        self._servers = servers
        self._models = models
        self._deployed: dict[str, Deployment] = {}
        self._last_servers: dict[str, MLServer] = {}  # also of models that have failed or were deleted
        self._changing = threading.RLock()

    def apply(self, models: Iterable[Model]) -> None:
        """Deploy models, unless one of them cannot be placed; returns before they are ready.

        Raises:
            ManifestError: a model's folder cannot be used.
            MeshError: no server can hold a model, or a server has ended.
        """
        with self._changing:
            for wanted in [self._plan(model) for model in models]:
                self._replace(self._deployed.get(wanted.model.name), wanted)

    def would_change(self, model: Model) -> bool:
        """Whether `apply` would replace a model that has not failed; raises as `apply` does."""
        wanted = self._plan(model)
        current = self._deployed.get(model.name)
        return current is not None and current.failure is None and current != wanted

    def wait(self, names: Iterable[str], timeout: float) -> None:
        """Wait until models are ready, by default all, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, failed to load (then it is removed), or is still loading.
        """
        deadline = time.monotonic() + timeout
        for name in names or list(self._deployed):
            deployment = self._find(name)
            try:
                deployment.loaded.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise MeshError(
                    f"model '{name}' is still loading after {timeout:g} s: wait longer, or read mesh.logs('{name}')"
                ) from None
            except MeshError:
                self._withdraw(deployment)
                raise
            report(f"model.mlops.seldon.io/{name} condition met")

    def delete(self, models: Iterable[Model]) -> None:
        """Remove models; returns when they are gone.

        Raises:
            MeshError: a model is not deployed, or a server has ended.
        """
        with self._changing:
            for deployment in [self._find(model.name) for model in models]:
                self._withdraw(deployment)
                report(f'model.mlops.seldon.io "{deployment.model.name}" deleted')

    def resources(self) -> list[dict[str, Any]]:
        """The Models as a cluster shows them: each manifest, with a status."""
        return [deployment.resource() for deployment in list(self._deployed.values())]

    def last_server(self, name: str) -> MLServer:
        """The server that holds a model, or held it until it failed or was deleted.

        Raises:
            MeshError: no such model has been deployed.
        """
        if name not in self._last_servers:
            raise MeshError(f"model '{name}' has not been deployed on this mesh: apply its manifest first")
        return self._last_servers[name]

    def _find(self, name: str) -> Deployment:
        if name not in self._deployed:
            raise MeshError(f"model '{name}' is not deployed on this mesh: apply its manifest first")
        return self._deployed[name]

    def _plan(self, model: Model) -> Deployment:
        """Choose a Model's server, folder and settings, and change nothing."""
        server = _place(model, self._servers.mlservers)
        folder = storage.resolve(model.storage_uri, self._models)
        return Deployment(model, server, folder, storage.settings(model, folder))

    def _replace(self, current: Deployment | None, wanted: Deployment) -> None:
        name = wanted.model.name
        if current and current == wanted and not current.failure:
            report(f"model.mlops.seldon.io/{name} unchanged")
            return
        if current:
            self._withdraw(current)
        storage.install(wanted.settings, wanted.folder, wanted.target)
        self._deployed[name] = wanted
        self._last_servers[name] = wanted.server
        threading.Thread(target=self._load, args=(wanted,), daemon=True).start()
        report(f"model.mlops.seldon.io/{name} {'configured' if current else 'created'}")

    def _withdraw(self, deployment: Deployment) -> None:
        """Remove a deployment, also one that failed; returns when nothing of it is left."""
        name = deployment.model.name
        deployment.loaded.exception()  # waits: a model can be unloaded only after it was loaded
        with self._changing:
            if self._deployed.get(name) is not deployment:
                return  # another thread has removed it
            self._servers.check()
            self._servers.remove_route(name)
            try:
                deployment.server.unload(name)
            except httpx.TransportError:
                self._servers.check(broken_off=True)
            finally:
                storage.remove(deployment.target)
                del self._deployed[name]

    def _load(self, deployment: Deployment) -> None:
        """Load a model and route to it, in a thread of its own: a large model takes minutes."""
        name, server = deployment.model.name, deployment.server
        logged = len(self._servers.log(server.name))
        try:
            server.load(name)
            self._servers.add_route(name, server)
        except Exception as error:  # noqa: BLE001 - every error has to reach the thread that waits for the model
            deployment.loaded.set_exception(self._explain(error, deployment, logged))
        else:
            deployment.loaded.set_result(None)

    def _explain(self, error: Exception, deployment: Deployment, logged: int) -> MeshError:
        """Say why a model did not load: a server has ended, or the model's own message."""
        broken_off = isinstance(error, httpx.TransportError)
        try:
            self._servers.check(broken_off=broken_off)
        except MeshError as closed:
            return closed
        words = "" if broken_off else str(error)
        words = words or self._servers.last_exception(deployment.server.name, after=logged)
        return MeshError(f"model '{deployment.model.name}' failed to load: {words}")


def _place(model: Model, servers: Mapping[str, MLServer]) -> MLServer:
    """Find a server that has the capabilities that a Model requires, and the name, if the Model names one."""
    for server in servers.values():
        if server.manifest.holds(model.requirements) and model.server in (None, server.name):
            return server
    offers = "; ".join(
        f"{name} is capable of {', '.join(server.manifest.capabilities) or 'nothing'}"
        for name, server in servers.items()
    )
    asked = f" on server '{model.server}'" if model.server else ""
    raise MeshError(
        f"model '{model.name}' requires {', '.join(model.requirements) or 'nothing'}{asked}, and no server of this "
        f"mesh fits: {offers}"
    )
