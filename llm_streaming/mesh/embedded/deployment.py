"""Deployments on the embedded mesh: choose a server for a Model, load the model in a thread, and remove it.

If a server exits, its models that were ready are loaded again once the server is live again. A model that was loading
fails instead, because it may be the reason for the exit.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded import storage
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.servers import ServerExitedError, Servers
from llm_streaming.mesh.processes.group import Exit


@dataclass
class Deployment:
    """A Model on a server. Two deployments are equal if their server, folder and settings are equal.

    Args:
        model: the Model.
        server: the server on which the model runs.
        folder: the model's folder.
        settings: the content of its ``model-settings.json``, rewritten for this Model.
        loaded: a future, which is done once the model is ready or has failed to load; then it contains the error. If
            the server exits after that, another future replaces it.
    """

    model: Model = field(compare=False)
    server: MLServer
    folder: Path
    settings: dict[str, Any]
    loaded: Future[None] = field(default_factory=Future, compare=False)
    _exit: Exit | None = field(default=None, init=False, compare=False)  # of the server, while the model loads again
    _removed: bool = field(default=False, init=False, compare=False)
    _changing: threading.Lock = field(default_factory=threading.Lock, init=False, compare=False, repr=False)

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
        loaded = self.loaded  # an exit of the server may replace it
        return loaded.exception() if loaded.done() else None

    def resource(self) -> dict[str, Any]:
        """Return the Model as a cluster would show it: its manifest, with SC2's conditions."""
        with self._changing:
            if self.failure:
                condition = {"status": "False", "message": "ModelFailed", "reason": str(self.failure)}
            elif self.loaded.done():
                condition = {"status": "True"}
            else:
                condition = {"status": "Unknown", "message": "ModelProgressing"}
                condition |= {"reason": _reason(self._exit)} if self._exit else {}
        conditions = [{"type": kind, **condition} for kind in ("ModelReady", "Ready")]
        return {**self.model.document, "status": {"conditions": conditions}}

    def prepare(self) -> None:
        """Write the model's files beside the server's repository; raises `MeshError` if the disk is full."""
        storage.prepare(self.settings, self.folder, self._draft)

    def start(self, servers: Servers) -> None:
        """Start a thread that loads the prepared model and adds its route. Loading a large model takes minutes."""
        storage.remove(self._target)
        with storage.writing_to(self._target):
            self._draft.rename(self._target)
        self._start_loading(servers)

    def load_again(self, servers: Servers, exited: Exit) -> None:
        """Load the model again after its server has exited, if the model was ready. Until then, refuse requests."""
        with self._changing:
            if self._removed or self.failure or not (self.loaded.done() or self._exit):
                return
            self._exit = exited
            name, why = self.model.name, _reason(exited)
            sentence = f"model '{name}' is being loaded again, because {why}: try again in a few seconds"
            with contextlib.suppress(MeshError):  # a full disk; Envoy finds that the server is gone
                servers.routes.refuse(name, sentence)
            if self.loaded.done():  # otherwise the thread that loads the model goes on
                self.loaded = Future()
                self._start_loading(servers)

    def remove_route(self, servers: Servers) -> None:
        """Wait until the model is not loading, then remove its route and never load it again.

        Raises:
            MeshError: the servers are closed, or the disk is full. Then nothing was changed.
        """
        while not self._removed:
            self.loaded.exception()
            servers.check()
            with self._changing:
                if self.loaded.done():  # not if the server has just exited
                    servers.routes.remove(self.model.name)
                    self._removed = True

    def unload(self, servers: Servers) -> None:
        """Unload the model, and remove its folder on the server.

        Raises:
            MeshError: the model failed to unload, or the servers are closed.
        """
        try:
            servers.unload(self.model.name, self.server)
        finally:
            storage.remove(self._target)

    @property
    def _target(self) -> Path:
        return self.server.repository / self.model.name

    @property
    def _draft(self) -> Path:
        return self.server.repository.with_name(f".{self.server.name}") / self.model.name

    def _start_loading(self, servers: Servers) -> None:
        threading.Thread(target=self._load, args=(servers,), daemon=True).start()

    def _load(self, servers: Servers) -> None:
        logged = len(servers.log(self.server.name))
        try:
            while not self._is_loaded(servers):
                pass
        except Exception as error:  # noqa: BLE001 - the thread that waits for the model must get every error
            reason = self._explain(error, servers, logged)
            with self._changing:
                with contextlib.suppress(MeshError):  # a full disk
                    servers.routes.remove(self.model.name)
                self._exit = None
                self.loaded.set_exception(reason)

    def _is_loaded(self, servers: Servers) -> bool:
        """Load the model. Return False if the server has exited meanwhile, and the model was ready before."""
        try:
            start = servers.load(self.model.name, self.server)
        except ServerExitedError:
            if not self._exit:
                raise
            return False
        with self._changing:
            if servers.starts(self.server) > start:
                return False
            self._exit = None
            self.loaded.set_result(None)
            return True

    def _explain(self, error: Exception, servers: Servers, logged: int) -> MeshError:
        """Return the error to raise: if the mesh is closed, the error about it, otherwise the model's own message."""
        try:
            servers.check()
        except MeshError as closed:
            return closed
        words = str(error) or servers.last_exception(self.server.name, after=logged)
        return MeshError(f"model '{self.model.name}' failed to load: {words}")


def _reason(exited: Exit) -> str:
    return f"server '{exited.name}' exited with status {exited.status} and is being started again"


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
