"""A service that lets other processes use an embedded mesh, and records the users of each model.

Nobody can change or remove a model that somebody else uses.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import ValidationError, validate_call

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.progress import report
from llm_streaming.mesh.remote.requests import Request, RequestServer, not_understood

_MAX_LOG = 1_000_000  # characters

Check = Callable[[Model], None]
"""A function that raises an error if a user may not apply a Model."""


class MeshService(RequestServer):
    """Lets other processes use an embedded mesh, through a socket that only this account can open.

    The service records the users who applied each model. A user who leaves without `delete` stays recorded, so their
    models stay deployed until `reset`.

    Args:
        mesh: the mesh. Only this service may change the mesh's models from now on.

    Raises:
        MeshError: the socket cannot be created in the mesh's folder.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changing = threading.Lock()
        self._reading = threading.Lock()
        super().__init__(mesh.home / "control.sock")

    def answer(self, request: Request, user: str = "presenter", check: Check = lambda _: None) -> Any:  # noqa: ANN401
        """Check the types of a request's arguments and call the mesh method; returns and raises what the method does.

        Args:
            request: the request.
            user: the user who sends the request; by default the user who keeps the mesh open.
            check: called with each Model before it is applied; by default every Model is allowed.
        """
        mesh = self._mesh
        mesh.check()
        methods: dict[str, Callable[..., Any]] = {
            "address": lambda: mesh.address,
            "metrics_address": mesh.metrics_address,
            "apply": partial(self._apply, user, check),
            "wait": mesh.wait,
            "delete": partial(self._delete, user),
            "resources": mesh.resources,
            "logs": self._logs,
            "reset": self._reset,
        }
        if request.method not in methods:
            raise not_understood(f"there is no method {request.method}")
        try:
            return validate_call(methods[request.method])(*request.arguments, **request.options)
        except ValidationError as error:
            raise not_understood(str(error.errors()[0]["msg"])) from None

    def _apply(self, user: str, check: Check, manifest: dict[str, Any]) -> None:
        """Deploy a Model and record its user, unless others use a different model with the same name."""
        (resource,) = read_manifests(manifest)
        if isinstance(resource, Server):
            self._mesh.apply(resource)  # raises an error if the Server differs
            return
        if self._mesh.would_change(resource):
            self._mesh.wait_while_loading(resource.name)  # outside the lock, so that nobody else waits for the model
        with self._changing:
            check(resource)
            users = self._users_of(resource.name)
            others = users - {user}
            if others and self._mesh.would_change(resource):
                raise MeshError(
                    f"model '{resource.name}' was deployed by {_count(others)} with a different manifest: use another "
                    "name, or wait until they delete the model"
                )
            self._mesh.apply(resource)
            users.add(user)

    def _delete(self, user: str, manifest: dict[str, Any]) -> None:
        """Remove the user from a Model's users, and delete the Model if no users are left."""
        model = Model.from_dict(manifest)
        self._mesh.wait_while_loading(model.name)  # outside the lock, so that nobody else waits for the model
        with self._changing:
            users = self._users_of(model.name)
            if users and user not in users:
                raise MeshError(f"model '{model.name}' was deployed by {_count(users)}: only they can delete it")
            if users - {user}:
                report(f'model.mlops.seldon.io "{model.name}" deleted')
            else:
                self._mesh.delete(model)
            users.discard(user)

    def _logs(self, model: str) -> str:
        """Return the end of a model's log. Logs are read one at a time, because a log can be as large as the memory."""
        with self._reading:
            return self._mesh.logs(model)[-_MAX_LOG:]

    def _reset(self) -> None:
        """Remove all models of all users."""
        with self._changing:
            for resource in self._mesh.resources("Model"):
                self._mesh.delete({key: value for key, value in resource.items() if key != "status"})
            self._users.clear()

    def _users_of(self, name: str) -> set[str]:
        """Return the users of a model. A model that is not on the mesh has no users."""
        if not any(model["metadata"]["name"] == name for model in self._mesh.resources("Model")):
            self._users[name] = set()
        return self._users[name]


def _count(users: set[str]) -> str:
    return "1 participant" if len(users) == 1 else f"{len(users)} participants"
