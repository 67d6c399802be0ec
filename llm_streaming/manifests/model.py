"""The Model: a model to deploy (contract §5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llm_streaming.manifests.resource import Resource


@dataclass(frozen=True, kw_only=True)
class Model(Resource):
    """A model to deploy.

    The embedded mesh uses the first five fields; the others are for a cluster.

    Args:
        name: the name under which clients call it: lower-case letters, digits and ``-``.
        storage_uri: where its folder is: ``gs://…`` and the like on a cluster, or a folder inside ``models/``.
        requirements: the capabilities that a server must have to hold it.
        server: the one server to place it on, or None for any server that has the capabilities.
        parameters: settings that reach the runtime in ``parameters.extra``, as strings.
        memory: the bytes it takes, a quantity such as ``2Gi``: SC2 places it where that much is left of what the server
            requests. Use whole numbers: SC2 takes ``1536Mi``, and never places ``1.5Gi``.
        replicas: the number of the server's replicas that load it, by default `min_replicas`, or 1.
        min_replicas: the fewest replicas that autoscaling may leave.
        max_replicas: the most replicas that autoscaling may make.
        secret_name: the Secret with the rclone configuration that reads `storage_uri`.
        artifact_version: the version folder to load, if there are several.

    Raises:
        ManifestError: a field holds a value that the API server or SC2 would refuse.

    Example:
        >>> Model(name="m", storage_uri="models/m", requirements=("llm-local",), memory="2Gi").as_dict()["spec"]
        {'storageUri': 'models/m', 'requirements': ['llm-local'], 'memory': '2Gi'}
    """

    kind: ClassVar[str] = "Model"
    spec_fields: ClassVar[Mapping[str, str]] = {
        "storageUri": "storage_uri",
        "requirements": "requirements",
        "server": "server",
        "memory": "memory",
        **Resource.spec_fields,
        "secretName": "secret_name",
        "artifactVersion": "artifact_version",
    }

    storage_uri: str
    requirements: tuple[str, ...] = ()
    server: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    memory: str | int | None = None
    secret_name: str | None = None
    artifact_version: int | None = None

    @classmethod
    def _read(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        parameters = {item["name"]: item["value"] for item in spec.get("parameters", ())}
        return {**super()._read(spec), "parameters": parameters}

    def _spec(self) -> dict[str, Any]:
        parameters = [{"name": name, "value": value} for name, value in self.parameters.items()]
        return {**super()._spec(), "parameters": parameters}
