"""The Model: a model to deploy (contract §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.fields import (
    check_count,
    check_named,
    check_scaling,
    check_strings,
    envelope,
    named_values,
    open_envelope,
    strings,
    without_absent,
)
from llm_streaming.manifests.names import check_label, check_subdomain
from llm_streaming.manifests.quantity import check_quantity


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model to deploy.

    The embedded mesh acts on the first five; the others are a cluster's.

    Args:
        name: the name it is reached under, lower-case letters, digits and ``-``.
        storage_uri: where its folder is: ``gs://…`` and the like on a cluster, or a folder inside ``models/``.
        requirements: what a server must be capable of to hold it.
        server: the one server to place it on, or None for any that is capable.
        parameters: settings that reach the runtime in ``parameters.extra``, as strings.
        memory: bytes it takes, a quantity such as ``2Gi``: SC2 places it where that much is left of what the server
            requests. Whole numbers: SC2 takes ``1536Mi``, and never places ``1.5Gi``.
        replicas: on how many of the server's replicas it is loaded, by default `min_replicas`, or 1.
        min_replicas: as few as autoscaling may leave.
        max_replicas: as many as autoscaling may make.
        secret_name: the Secret with the rclone configuration that reads `storage_uri`.
        artifact_version: the version folder to load, of several.

    Raises:
        ManifestError: a field holds what the API server or SC2 would refuse.

    Example:
        >>> Model(name="m", storage_uri="models/m", requirements=("llm-local",), memory="2Gi").as_dict()["spec"]
        {'storageUri': 'models/m', 'requirements': ['llm-local'], 'memory': '2Gi'}
    """

    name: str
    storage_uri: str
    requirements: tuple[str, ...] = ()
    server: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    memory: str | int | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    secret_name: str | None = None
    artifact_version: int | None = None

    def __post_init__(self) -> None:
        check_label("Model: metadata.name", self.name)
        spec = f"Model '{self.name}': spec"
        if not isinstance(self.storage_uri, str) or not self.storage_uri:
            raise ManifestError(f"{spec}.storageUri must be a non-empty string")
        check_strings(f"{spec}.requirements", self.requirements)
        for name, value in self.parameters.items():
            check_named(f"{spec}.parameters", {"name": name, "value": value})
        check_scaling(spec, self.replicas, self.min_replicas, self.max_replicas)
        if self.server is not None:
            check_label(f"{spec}.server", self.server)
        if self.memory is not None:
            check_quantity(f"{spec}.memory", self.memory)
        if self.secret_name is not None:
            check_subdomain(f"{spec}.secretName", self.secret_name)
        if self.artifact_version is not None:
            check_count(f"{spec}.artifactVersion", self.artifact_version)

    def as_dict(self) -> dict[str, Any]:
        """The manifest; absent fields are left out."""
        spec = without_absent(
            storageUri=self.storage_uri,
            requirements=list(self.requirements),
            server=self.server,
            memory=self.memory,
            replicas=self.replicas,
            minReplicas=self.min_replicas,
            maxReplicas=self.max_replicas,
            secretName=self.secret_name,
            artifactVersion=self.artifact_version,
            parameters=[{"name": name, "value": value} for name, value in self.parameters.items()],
        )
        return envelope("Model", self.name, spec)

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Model:
        """Read a manifest; fields that are not here (payload logging and the like) are passed over.

        Raises:
            ManifestError: it is not a Model's manifest, or a field is malformed.
        """
        name, spec = open_envelope(manifest, "Model")
        if "storageUri" not in spec:
            raise ManifestError(f"Model '{name}': spec.storageUri is missing: it says where the model's folder is")
        return cls(
            name=name,
            storage_uri=spec["storageUri"],
            requirements=strings(f"Model '{name}': spec.requirements", spec.get("requirements")),
            server=spec.get("server"),
            parameters=named_values(f"Model '{name}': spec.parameters", spec.get("parameters")),
            memory=spec.get("memory"),
            replicas=spec.get("replicas"),
            min_replicas=spec.get("minReplicas"),
            max_replicas=spec.get("maxReplicas"),
            secret_name=spec.get("secretName"),
            artifact_version=spec.get("artifactVersion"),
        )
