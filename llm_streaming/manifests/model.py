"""The resource `Model`, a model to deploy (contract §5)."""

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
        name: the name with which clients call the model; it has lower-case letters, digits and ``-``.
        storage_uri: the model's folder: a storage URI such as ``gs://…`` on a cluster, or a folder inside ``models/``.
        requirements: the capabilities that a server must have to load the model.
        server: the name of the server to place the model on; None allows any server with the required capabilities.
        parameters: settings that SC2 passes to the runtime in ``parameters.extra``, as strings.
        memory: the model's memory in bytes, a quantity such as ``2Gi``. SC2 loads the model on a server that has this
            much of its requested memory left. Use whole numbers: SC2 accepts ``1536Mi``, but never places ``1.5Gi``.
        replicas: the number of server replicas that load the model; by default `min_replicas`, or else 1.
        min_replicas: the fewest replicas that autoscaling may use.
        max_replicas: the most replicas that autoscaling may use.
        secret_name: the Secret with the rclone configuration for `storage_uri`.
        artifact_version: the version to load, if the model's folder contains several.

    Raises:
        ManifestError: a field has a value that the API server or SC2 would refuse.

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
