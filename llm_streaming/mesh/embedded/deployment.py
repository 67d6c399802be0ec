"""Deployments on the embedded mesh: choose a server for a Model, load the model in a thread, and remove it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded import storage
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.servers import Servers


@dataclass
class Deployment:
    """A Model on a server. Two deployments are equal if their server, folder and settings are equal.

    Args:
        model: the Model.
        server: the server on which the model runs.
        folder: the model's folder.
        settings: the content of its ``model-settings.json``, rewritten for this Model.
        loaded: a future, which is done once the model is ready or has failed to load; then it contains the error.
    """

    model: Model = field(compare=False)
    server: MLServer
    folder: Path
    settings: dict[str, Any]
    loaded: Future[None] = field(default_factory=Future, compare=False)

    @classmethod
    def plan(cls, model: Model, servers: Mapping[str, MLServer], models: Path) -> Self:
        """Choose a Model's server, folder and settings, without changing anything on the mesh.

        Raises:
            ManifestError: the model's folder cannot be used.
            MeshError: no server can run the model.
        """
        server = _place(model, servers)
        folder = storage.resolve(model.storage_uri, models)
        return cls(model, server, folder, storage.settings(model, folder))

    @property
    def failure(self) -> BaseException | None:
        """The error if the model failed to load, otherwise None."""
        return self.loaded.exception() if self.loaded.done() else None

    def resource(self) -> dict[str, Any]:
        """Return the Model as a cluster would show it: its manifest, with SC2's conditions."""
        if self.failure:
            condition = {"status": "False", "message": "ModelFailed", "reason": str(self.failure)}
        elif self.loaded.done():
            condition = {"status": "True"}
        else:
            condition = {"status": "Unknown", "message": "ModelProgressing"}
        conditions = [{"type": kind, **condition} for kind in ("ModelReady", "Ready")]
        return {**self.model.document, "status": {"conditions": conditions}}

    def start(self, servers: Servers) -> None:
        """Start a thread that loads the model and adds its route. Loading a large model takes minutes."""
        storage.install(self.settings, self.folder, self._target)
        threading.Thread(target=self._load, args=(servers,), daemon=True).start()

    def remove(self, servers: Servers) -> None:
        """Remove the route, unload the model, and remove its folder on the server. Call this only after loading.

        Raises:
            MeshError: the model failed to unload, or a server has stopped.
        """
        servers.remove_route(self.model.name)
        try:
            self.server.unload(self.model.name)
        except httpx.TransportError:
            servers.check(broken_off=True)
        finally:
            storage.remove(self._target)

    @property
    def _target(self) -> Path:
        return self.server.repository / self.model.name

    def _load(self, servers: Servers) -> None:
        logged = len(servers.log(self.server.name))
        try:
            self.server.load(self.model.name)
            servers.add_route(self.model.name, self.server)
        except Exception as error:  # noqa: BLE001 - the thread that waits for the model must get every error
            self.loaded.set_exception(self._explain(error, servers, logged))
        else:
            self.loaded.set_result(None)

    def _explain(self, error: Exception, servers: Servers, logged: int) -> MeshError:
        """Return the error to raise: if a server has stopped, the error about it, otherwise the model's own message."""
        broken_off = isinstance(error, httpx.TransportError)
        try:
            servers.check(broken_off=broken_off)
        except MeshError as closed:
            return closed
        words = "" if broken_off else str(error)
        words = words or servers.last_exception(self.server.name, after=logged)
        return MeshError(f"model '{self.model.name}' failed to load: {words}")


def _place(model: Model, servers: Mapping[str, MLServer]) -> MLServer:
    """Find a server with all capabilities that a Model requires. If the Model names a server, accept only that one."""
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
