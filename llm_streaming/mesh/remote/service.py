"""Serves an embedded mesh to other processes, and counts the users of each model.

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

Check = Callable[[Model], None]
"""Raises an error if a user may not apply a Model."""


class MeshService(RequestServer):
    """Lets this user's other processes use an embedded mesh, through a socket that only this user can open.

    It counts the users who have applied each model. A user who leaves without `delete` still counts. Their models stay,
    which does no harm, until `reset`.

    Args:
        mesh: the mesh. From now on only this service may change its models.

    Raises:
        MeshError: the mesh's folder can hold no socket.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changing = threading.Lock()
        super().__init__(mesh.home / "control.sock")

    def answer(self, request: Request, user: str = "presenter", check: Check = lambda _: None) -> Any:  # noqa: ANN401
        """Carry out a request. It returns and raises what the method does; the types of its arguments are checked.

        Args:
            request: the request.
            user: the user who sends it; by default the person who keeps the mesh open, from any process.
            check: the check of a Model to apply; by default the user may apply any.
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
            "logs": mesh.logs,
            "reset": self._reset,
        }
        if request.method not in methods:
            raise not_understood(f"there is no method {request.method}")
        try:
            return validate_call(methods[request.method])(*request.arguments, **request.options)
        except ValidationError as error:
            raise not_understood(str(error.errors()[0]["msg"])) from None

    def _apply(self, user: str, check: Check, manifest: dict[str, Any]) -> None:
        """Deploy a manifest and count the user, unless others use a different model of this name."""
        (resource,) = read_manifests(manifest)
        if isinstance(resource, Server):
            self._mesh.apply(resource)  # which refuses to change it
            return
        check(resource)
        with self._changing:
            users = self._users_of(resource.name)
            others = users - {user}
            if others and self._mesh.would_change(resource):
                raise MeshError(
                    f"model '{resource.name}' is in use with another manifest ({_count(others)}): give your model "
                    "another name, or wait until they have deleted theirs"
                )
            self._mesh.apply(resource)
            users.add(user)

    def _delete(self, user: str, manifest: dict[str, Any]) -> None:
        """Stop counting the user of a Model, and remove the Model if it has no other users."""
        model = Model.from_dict(manifest)
        with self._changing:
            users = self._users_of(model.name)
            if users and user not in users:
                raise MeshError(f"model '{model.name}' was applied by {_count(users)}, not by you: it stays for them")
            users.discard(user)
            if users:
                report(f'model.mlops.seldon.io "{model.name}" deleted')
            else:
                self._mesh.delete(model)

    def _reset(self) -> None:
        """Remove all models of all users."""
        with self._changing:
            self._users.clear()
            for resource in self._mesh.resources("Model"):
                self._mesh.delete({key: value for key, value in resource.items() if key != "status"})

    def _users_of(self, name: str) -> set[str]:
        """Return the users of a model. A model that is gone, because it failed to load, has no users."""
        if not any(model["metadata"]["name"] == name for model in self._mesh.resources("Model")):
            self._users[name] = set()
        return self._users[name]


def _count(users: set[str]) -> str:
    return "1 participant" if len(users) == 1 else f"{len(users)} participants"
