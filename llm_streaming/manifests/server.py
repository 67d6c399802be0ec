"""The Server: what holds models (contract §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.container import SecretKey, as_container, check_environment, read_container
from llm_streaming.manifests.fields import (
    check_count,
    check_mappings,
    check_scaling,
    check_strings,
    envelope,
    mapping,
    open_envelope,
    strings,
    without_absent,
)
from llm_streaming.manifests.names import check_label
from llm_streaming.manifests.quantity import check_quantity

# What streaming needs of MLServer (contract §5): with parallel workers a stream becomes one event made by `predict`,
# and compression holds events back until its buffer is full.
STREAMING_ENV: Mapping[str, str] = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_GZIP_ENABLED": "false"}

# The two runtimes: what their Servers are capable of, and the variable from which they take a key.
RUNTIMES: Mapping[str, tuple[str, str]] = {
    "api": ("openai", "OPENAI_API_KEY"),
    "local": ("llm-local", "HF_TOKEN"),
}

# vLLM's processes, one for each GPU, share memory: more than the 64 MiB that a container gets.
_SHARED_MEMORY = "shared-memory"


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that holds models: one MLServer on the embedded mesh, replicas of one on a cluster.

    The embedded mesh acts on the first three; the others are a cluster's.

    Args:
        name: the server's name.
        capabilities: what models may require of it.
        env: environment variables of its ``mlserver`` container. A key is none of them: see `secret_env`.
        image: the container's image, by default the one of SC2's server configuration, which has no such runtimes.
        replicas: how many pods, by default `min_replicas`, or 1.
        min_replicas: as few as autoscaling may leave.
        max_replicas: as many as autoscaling may make.
        cpu: processors requested for each replica, a quantity such as ``500m``.
        memory: bytes requested for each replica, and its limit, a quantity such as ``4Gi``. What models declare as
            their ``memory`` has to fit in it.
        gpus: NVIDIA GPUs for each replica.
        tolerations: taints of nodes that it bears, as Kubernetes writes them.
        secret_env: environment variables that hold a key of a Secret of the server's namespace.

    Raises:
        ManifestError: a field holds what the API server or SC2 would refuse, or `env` holds a key.

    Example:
        >>> server = Server(name="api", capabilities=("openai",), env={}, secret_env={"A_KEY": ("openai", "key")})
        >>> server.as_dict()["spec"]["podSpec"]["containers"][0]["env"]
        [{'name': 'A_KEY', 'valueFrom': {'secretKeyRef': {'name': 'openai', 'key': 'key'}}}]
    """

    name: str
    capabilities: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(STREAMING_ENV))
    image: str | None = None
    replicas: int | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    cpu: str | int | None = None
    memory: str | int | None = None
    gpus: int = 0
    tolerations: tuple[Mapping[str, Any], ...] = ()
    secret_env: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_label("Server: metadata.name", self.name)
        server = f"Server '{self.name}'"
        check_strings(f"{server}: spec.capabilities", self.capabilities)
        check_scaling(f"{server}: spec", self.replicas, self.min_replicas, self.max_replicas)
        check_environment(server, self.env, self.secret_env)
        check_mappings(f"{server}: tolerations", self.tolerations)
        check_count(f"{server}: gpus", self.gpus)
        if self.image is not None and (not isinstance(self.image, str) or not self.image.strip()):
            raise ManifestError(f"{server}: image must be a non-empty string, but got {self.image!r}")
        for resource, amount in {"cpu": self.cpu, "memory": self.memory}.items():
            if amount is not None:
                check_quantity(f"{server}: {resource}", amount)

    @classmethod
    def of_runtime(cls, runtime: str, *, name: str, secret: str | None = None, **fields: Any) -> Self:  # noqa: ANN401
        """Make the Server for a runtime: ``api`` relays to OpenAI's API, ``local`` runs models itself.

        Args:
            runtime: ``api`` or ``local``.
            name: the server's name.
            secret: the Secret with the runtime's key, under the name of the variable that takes it
                (``OPENAI_API_KEY`` or ``HF_TOKEN``).
            fields: the other fields of a Server.

        Raises:
            ManifestError: there is no such runtime, or a field cannot be used.

        Example:
            >>> Server.of_runtime("api", name="api", secret="openai").secret_env
            {'OPENAI_API_KEY': SecretKey(secret='openai', key='OPENAI_API_KEY')}
        """
        if runtime not in RUNTIMES:
            raise ManifestError(f"there is no runtime {runtime!r}: it is one of {', '.join(RUNTIMES)}")
        capability, variable = RUNTIMES[runtime]
        key = {} if secret is None else {variable: SecretKey(secret, variable)}
        return cls(name=name, capabilities=(capability,), secret_env=key, **fields)

    def as_dict(self) -> dict[str, Any]:
        """The manifest; SC2 merges the ``mlserver`` container into that of its server configuration."""
        shared = self.gpus > 1
        container = as_container(
            image=self.image,
            env=self.env,
            secret_env=self.secret_env,
            requests=without_absent(cpu=self.cpu, memory=self.memory),
            limits=without_absent(memory=self.memory, **{"nvidia.com/gpu": self.gpus or None}),
            mounts=[{"name": _SHARED_MEMORY, "mountPath": "/dev/shm"}] if shared else [],  # noqa: S108 - not a file
        )
        pod = without_absent(
            containers=[container] if len(container) > 1 else [],
            volumes=[{"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory"}}] if shared else [],
            tolerations=[dict(toleration) for toleration in self.tolerations],
        )
        spec = without_absent(
            serverConfig="mlserver",
            capabilities=list(self.capabilities),
            replicas=self.replicas,
            minReplicas=self.min_replicas,
            maxReplicas=self.max_replicas,
            podSpec=pod,
        )
        return envelope("Server", self.name, spec)

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Server:
        """Read a manifest; fields that are not here (volumes and the like) are passed over.

        Raises:
            ManifestError: it is not a Server's manifest, or a field is malformed.
        """
        name, spec = open_envelope(manifest, "Server")
        server = f"Server '{name}'"
        pod = mapping(f"{server}: spec.podSpec", spec.get("podSpec"))
        tolerations = pod.get("tolerations") or []
        check_mappings(f"{server}: spec.podSpec.tolerations", tolerations)
        return cls(
            name=name,
            capabilities=capabilities(manifest),
            replicas=spec.get("replicas"),
            min_replicas=spec.get("minReplicas"),
            max_replicas=spec.get("maxReplicas"),
            tolerations=tuple(tolerations),
            **read_container(server, pod.get("containers")),
        )

    def holds(self, requirements: Sequence[str]) -> bool:
        """Whether every requirement is among the capabilities, compared as exact strings, as SC2's scheduler does."""
        return set(requirements) <= set(self.capabilities)


def capabilities(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Read no more of a Server than its capabilities: one that is on a cluster may hold what was never checked here.

    Raises:
        ManifestError: it is not a Server's manifest, or they are malformed.
    """
    name, spec = open_envelope(manifest, "Server")
    declared = (strings(f"Server '{name}': spec.{key}", spec.get(key)) for key in ("capabilities", "extraCapabilities"))
    return tuple(capability for several in declared for capability in several)
