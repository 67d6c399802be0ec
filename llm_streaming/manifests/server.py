"""The resource `Server`, an MLServer that runs models (contract §5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.resource import Resource
from llm_streaming.manifests.schema import without_empty

# Streaming needs these settings of MLServer (contract §5). With parallel workers, a stream becomes one event with the
# result of `predict`. With compression, events are delayed until a buffer is full.
STREAMING_ENV: Mapping[str, str] = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_GZIP_ENABLED": "false"}

# The capability of each runtime's Servers, and the environment variable that contains the runtime's key.
_RUNTIMES = {"api": ("openai", "OPENAI_API_KEY"), "local": ("llm-local", "HF_TOKEN")}

_CONTAINER = "mlserver"
_GPU = "nvidia.com/gpu"

# vLLM runs one process per GPU. These processes need more shared memory than the 64 MiB that a container has.
_SHARED_MEMORY = "shared-memory"

# Variables with such names usually contain a secret.
_SECRET_NAME = re.compile(r"(^|_)((API)?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$", re.IGNORECASE)


class SecretKey(NamedTuple):
    """A reference to one key in a Kubernetes Secret: the Secret's name and the key's name."""

    secret: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Server(Resource):
    """A server that runs models: one MLServer on the embedded mesh, one or more replicas of MLServer on a cluster.

    The embedded mesh uses the first three fields; the others are for a cluster.

    Args:
        name: the server's name.
        capabilities: names that models can list in their requirements.
        env: environment variables of the ``mlserver`` container; for secret values, use `secret_env`.
        image: the container's image. The default, SC2's own image, has no LLM runtimes.
        replicas: the number of pods; by default `min_replicas`, or else 1.
        min_replicas: the fewest replicas that autoscaling may use.
        max_replicas: the most replicas that autoscaling may use.
        cpu: CPU cores requested for each replica, a quantity such as ``500m``.
        memory: the memory in bytes of each replica, a quantity such as ``4Gi``, used as request and as limit. It must
            be at least the sum of the ``memory`` of the server's models.
        gpus: the number of NVIDIA GPUs for each replica.
        tolerations: Kubernetes tolerations of the pods, for nodes with taints.
        secret_env: environment variables whose values are read from a Secret in the server's namespace.

    Raises:
        ManifestError: a field has a value that the API server or SC2 would refuse, or `env` seems to contain a secret.

    Example:
        >>> server = Server(name="api", capabilities=("openai",), env={}, secret_env={"A_KEY": ("openai", "key")})
        >>> server.as_dict()["spec"]["podSpec"]["containers"][0]["env"]
        [{'name': 'A_KEY', 'valueFrom': {'secretKeyRef': {'name': 'openai', 'key': 'key'}}}]
    """

    kind: ClassVar[str] = "Server"

    capabilities: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(STREAMING_ENV))
    image: str | None = None
    cpu: str | int | None = None
    memory: str | int | None = None
    gpus: int = 0
    tolerations: tuple[Mapping[str, Any], ...] = ()
    secret_env: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self, source: Mapping[str, Any] | None) -> None:
        server = f"Server '{self.name}'"
        for name, reference in self.secret_env.items():
            if not isinstance(reference, tuple) or len(reference) != 2:
                raise ManifestError(f"{server}: {name} must be a tuple of a Secret and a key, but got {reference!r}")
            if name in self.env:
                raise ManifestError(f"{server}: {name} is given both as a value and from a Secret: keep one of them")
        super().__post_init__(source)
        for name, value in self.env.items():
            if value and _SECRET_NAME.search(name):
                raise ManifestError(
                    f"{server}: the value of {name} is in the manifest, where everybody can read it: store it in a "
                    "Secret, and refer to the Secret with valueFrom.secretKeyRef (in Python: secret_env)"
                )

    @classmethod
    def of_runtime(cls, runtime: str, *, name: str, secret: str | None = None, **fields: Any) -> Self:  # noqa: ANN401
        """Create the Server for a runtime: ``api`` relays to OpenAI's API, ``local`` runs models itself.

        Args:
            runtime: ``api`` or ``local``.
            name: the server's name.
            secret: the name of a Secret with the runtime's key. In the Secret, the key is named like the variable that
                the runtime reads (``OPENAI_API_KEY`` or ``HF_TOKEN``).
            fields: the other fields of a Server.

        Raises:
            ManifestError: there is no such runtime, or a field is invalid.

        Example:
            >>> Server.of_runtime("api", name="api", secret="openai").secret_env
            {'OPENAI_API_KEY': SecretKey(secret='openai', key='OPENAI_API_KEY')}
        """
        if runtime not in _RUNTIMES:
            raise ManifestError(f"there is no runtime {runtime!r}: choose one of {', '.join(_RUNTIMES)}")
        capability, variable = _RUNTIMES[runtime]
        key = {} if secret is None else {variable: SecretKey(secret, variable)}
        return cls(name=name, capabilities=(capability,), secret_env=key, **fields)

    def holds(self, requirements: Sequence[str]) -> bool:
        """Return whether the capabilities include all requirements, compared as exact strings as in SC2's scheduler."""
        return set(requirements) <= set(self.capabilities)

    @classmethod
    def _read(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        pod = spec.get("podSpec", {})
        containers = {container["name"]: container for container in pod.get("containers", ())}
        container = containers.get(_CONTAINER, {})
        resources = container.get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        # Variables from other sources, such as a field of the pod, exist only on a cluster, so they are skipped.
        variables = {one["name"]: one for one in container.get("env", ())}
        references = {name: one.get("valueFrom", {}).get("secretKeyRef") for name, one in variables.items()}
        return {
            **super()._read(spec),
            "capabilities": capabilities({"spec": spec}),
            "env": {name: one.get("value", "") for name, one in variables.items() if "valueFrom" not in one},
            "secret_env": {name: SecretKey(one["name"], one["key"]) for name, one in references.items() if one},
            "image": container.get("image"),
            "cpu": requests.get("cpu"),
            "memory": requests.get("memory"),
            "gpus": int(limits.get(_GPU, 0)),
            "tolerations": tuple(pod.get("tolerations", ())),
        }

    def _spec(self) -> dict[str, Any]:
        shares_memory = self.gpus > 1
        container = self._container(shares_memory=shares_memory)
        return {
            "serverConfig": "mlserver",
            "capabilities": self.capabilities,
            **super()._spec(),
            "podSpec": {
                "containers": [{"name": _CONTAINER, **container}] if container else None,
                "volumes": [{"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory"}}] if shares_memory else None,
                "tolerations": self.tolerations,
            },
        }

    def _container(self, *, shares_memory: bool) -> dict[str, Any]:
        """Return fields of the ``mlserver`` container. SC2 merges them into that container in its ServerConfig."""
        plain = [{"name": name, "value": value} for name, value in self.env.items()]
        secret = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in self.secret_env.items()
        ]
        mount = {"name": _SHARED_MEMORY, "mountPath": "/dev/shm"}  # noqa: S108 - not a temporary file
        return without_empty(
            {
                "image": self.image,
                "env": [*plain, *secret],
                "resources": {
                    "requests": {"cpu": self.cpu, "memory": self.memory},
                    "limits": {"memory": self.memory, _GPU: self.gpus or None},
                },
                "volumeMounts": [mount] if shares_memory else None,
            }
        )


def capabilities(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the capabilities in a Server's manifest, which may be an unchecked manifest from a cluster."""
    spec = manifest["spec"]
    return (*(spec.get("capabilities") or ()), *(spec.get("extraCapabilities") or ()))
