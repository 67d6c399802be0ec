"""Who holds which model: several may apply the same one, and it goes when the last has let go of it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model, read_manifests
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.progress import report


class Holds:
    """The models of a mesh, and their holders.

    A holder who leaves without a word goes on holding: the model stays, which harms nobody, until all is reset.

    Args:
        mesh: the mesh, which nobody else changes.
    """

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self._mesh = mesh
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._changing = threading.Lock()

    def apply(self, holder: str, manifest: Mapping[str, Any]) -> None:
        """Deploy the Model in a manifest, unless it stands already, and hold it.

        Raises:
            ManifestError: see `EmbeddedMesh.apply`.
            MeshError: the same, or others hold a model of that name that is another.
        """
        (resource,) = read_manifests(manifest)
        with self._changing:
            if not isinstance(resource, Model):
                self._mesh.apply(resource)
                return
            name = resource.name
            others = self._held_by(name) - {holder}
            if others and self._mesh.would_change(resource):
                raise MeshError(
                    f"model '{name}' is in use here as another manifest has it ({_count(others)}): give yours another "
                    "name, or wait until they have deleted it"
                )
            self._mesh.apply(resource)
            self._holders[name].add(holder)

    def delete(self, holder: str, manifest: Mapping[str, Any]) -> None:
        """Let go of the Model in a manifest, and remove it where nobody else holds it.

        Raises:
            ManifestError: see `EmbeddedMesh.delete`.
            MeshError: the same, or only others hold it.
        """
        (resource,) = read_manifests(manifest)
        name = resource.name
        with self._changing:
            holders = self._held_by(name)
            if holders and holder not in holders:
                raise MeshError(
                    f"model '{name}' was applied by others ({_count(holders)}) and not from here: it stays for them"
                )
            holders.discard(holder)
            if holders:
                report(f'model.mlops.seldon.io "{name}" deleted')
            else:
                self._mesh.delete(resource)

    def reset(self) -> None:
        """Remove every model, whoever holds it.

        Raises:
            MeshError: one of the servers has ended.
        """
        with self._changing:
            self._holders.clear()
            for document in self._mesh.resources("Model"):
                self._mesh.delete({key: value for key, value in document.items() if key != "status"})

    def _held_by(self, name: str) -> set[str]:
        """The holders of a model; of one that has gone, as when it has failed, nobody is."""
        if not any(model["metadata"]["name"] == name for model in self._mesh.resources("Model")):
            self._holders[name] = set()
        return self._holders[name]


def _count(holders: set[str]) -> str:
    return "1 participant" if len(holders) == 1 else f"{len(holders)} participants"
