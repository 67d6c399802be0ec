"""The base class of `Model` and `Server`, which generates, reads and checks their manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, Self

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.schema import API_VERSION, check, without_empty


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of Seldon Core 2. Two resources are equal if all their fields except `document` are equal.

    Args:
        source: the checked manifest from which the resource was read; None for a generated resource.

    Attributes:
        document: the manifest as its author wrote it, including fields that the class does not have; for a generated
            resource, the result of `as_dict`.
    """

    kind: ClassVar[str]

    # Maps names of fields in the spec to names of the class's fields with the same value.
    spec_fields: ClassVar[Mapping[str, str]] = {
        "replicas": "replicas",
        "minReplicas": "min_replicas",
        "maxReplicas": "max_replicas",
    }

    name: str
    replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    source: InitVar[Mapping[str, Any] | None] = None
    document: Mapping[str, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self, source: Mapping[str, Any] | None) -> None:
        if source is None:
            source = self.as_dict()
            check(source, self.kind)
        object.__setattr__(self, "document", source)
        self._check_replicas()

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Self:
        """Check and read a manifest. Fields that the class does not have are kept in `document`.

        Raises:
            ManifestError: the manifest is of another kind, or has an invalid field.
        """
        checked = check(manifest, cls.kind)
        return cls(name=checked["metadata"]["name"], source=manifest, **cls._read(checked["spec"]))

    def as_dict(self) -> dict[str, Any]:
        """Generate the manifest from the fields. Fields that are None or empty are left out."""
        metadata = {"name": self.name}
        return without_empty({"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata, "spec": self._spec()})

    @classmethod
    def _read(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the class's fields from a checked spec. Absent fields are left out, and so keep their defaults."""
        found = {name: spec[key] for key, name in cls.spec_fields.items() if key in spec}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}

    def _spec(self) -> dict[str, Any]:
        """Return the spec, generated from the class's fields. A value of None means that the field is absent."""
        return {key: getattr(self, name) for key, name in self.spec_fields.items()}

    def _check_replicas(self) -> None:
        """Check the numbers of replicas as SC2's operator does (SeldonIO/seldon-core, ``operator/internal``)."""
        low, high = self.min_replicas, self.max_replicas
        wanted = next(count for count in (self.replicas, low, 1) if count is not None)
        spec = f"{self.kind} '{self.name}': spec"
        if low is not None and wanted < low:
            raise ManifestError(f"{spec}.replicas must be at least minReplicas, {low}, but got {wanted}")
        if high is not None and wanted > high:
            raise ManifestError(f"{spec}.maxReplicas must be at least the number of replicas, {wanted}, but got {high}")
