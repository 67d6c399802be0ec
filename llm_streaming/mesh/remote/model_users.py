"""Counts the users of each model, so that nobody changes or removes a model that somebody else uses."""

from __future__ import annotations

import threading
from collections import defaultdict

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model, Server
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.progress import report


class ModelUsers:
    """The models of a mesh and the users who have applied them.

    A user who leaves without `delete` still counts. Their models stay, which does no harm, until `reset`.

    Args:
        mesh: the mesh. Nothing else may change its models.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changing = threading.Lock()

    def apply(self, user: str, manifest: Model | Server) -> None:
        """Deploy a manifest, and count the user of a Model.

        Raises:
            ManifestError: as `EmbeddedMesh.apply` does.
            MeshError: as `EmbeddedMesh.apply` does, or others use a different model of this name.
        """
        with self._changing:
            if isinstance(manifest, Model):
                others = self._users_of(manifest.name) - {user}
                if others and self._mesh.would_change(manifest):
                    raise MeshError(
                        f"model '{manifest.name}' is in use with another manifest ({_count(others)}): give your model "
                        "another name, or wait until they have deleted theirs"
                    )
            self._mesh.apply(manifest)
            if isinstance(manifest, Model):
                self._users[manifest.name].add(user)

    def delete(self, user: str, model: Model) -> None:
        """Stop counting the user of a Model, and remove the Model if it has no other users.

        Raises:
            MeshError: as `EmbeddedMesh.delete` does, or only others use the model.
        """
        with self._changing:
            users = self._users_of(model.name)
            if users and user not in users:
                raise MeshError(f"model '{model.name}' was applied by {_count(users)}, not by you: it stays for them")
            users.discard(user)
            if users:
                report(f'model.mlops.seldon.io "{model.name}" deleted')
            else:
                self._mesh.delete(model)

    def reset(self) -> None:
        """Remove all models of all users.

        Raises:
            MeshError: one of the servers has ended.
        """
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
