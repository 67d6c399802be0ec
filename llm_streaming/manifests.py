"""Seldon Core 2 manifests: `Model` and `Server`, generated, read and checked.

The same two classes write manifests for a cluster and read them for the embedded mesh. Field names and defaults are
those of the custom resources ``mlops.seldon.io/v1alpha1`` (contract §5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from llm_streaming.errors import ManifestError
from llm_streaming.project import in_project

API_VERSION = "mlops.seldon.io/v1alpha1"

# What streaming needs of MLServer (contract §5): with parallel workers a stream becomes one event made by `predict`,
# and compression holds events back until its buffer is full.
STREAMING_ENV: Mapping[str, str] = {"MLSERVER_PARALLEL_WORKERS": "0", "MLSERVER_GZIP_ENABLED": "false"}

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model to deploy.

    Args:
        name: the name it is reached under, lower-case letters, digits and ``-``.
        storage_uri: where its folder is: ``gs://…`` and the like on a cluster, or a folder inside ``models/``.
        requirements: what a server must be capable of to hold it.
        server: the one server to place it on, or None for any that is capable.
        parameters: settings that reach the runtime in ``parameters.extra``, as strings.

    Raises:
        ManifestError: a field holds what the API server would refuse.

    Example:
        >>> Model(name="m", storage_uri="models/m", requirements=("llm-local",)).as_dict()["spec"]
        {'storageUri': 'models/m', 'requirements': ['llm-local']}
    """

    name: str
    storage_uri: str
    requirements: tuple[str, ...] = ()
    server: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name("Model", self.name)
        if not isinstance(self.storage_uri, str) or not self.storage_uri:
            raise ManifestError(f"Model '{self.name}': spec.storageUri must be a non-empty string")
        _check_strings(f"Model '{self.name}': spec.requirements", self.requirements)

    def as_dict(self) -> dict[str, Any]:
        """The manifest; absent fields are left out."""
        spec = _without_absent(
            storageUri=self.storage_uri,
            requirements=list(self.requirements),
            server=self.server,
            parameters=[{"name": name, "value": value} for name, value in self.parameters.items()],
        )
        return _manifest("Model", self.name, spec)

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Model:
        """Read a manifest; fields that only a cluster acts on are passed over.

        Raises:
            ManifestError: it is not a Model's manifest, or a field is malformed.
        """
        name, spec = _open(manifest, "Model")
        if "storageUri" not in spec:
            raise ManifestError(f"Model '{name}': spec.storageUri is missing: it says where the model's folder is")
        return cls(
            name=name,
            storage_uri=spec["storageUri"],
            requirements=_strings(f"Model '{name}': spec.requirements", spec.get("requirements")),
            server=spec.get("server"),
            parameters=_named_values(f"Model '{name}': spec.parameters", spec.get("parameters")),
        )


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that holds models: one MLServer on the embedded mesh, replicas of one on a cluster.

    Args:
        name: the server's name.
        capabilities: what models may require of it.
        env: environment variables of its ``mlserver`` container.

    Raises:
        ManifestError: a field holds what the API server would refuse.
    """

    name: str
    capabilities: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(STREAMING_ENV))

    def __post_init__(self) -> None:
        _check_name("Server", self.name)
        _check_strings(f"Server '{self.name}': spec.capabilities", self.capabilities)

    def as_dict(self) -> dict[str, Any]:
        """The manifest; `env` is merged by SC2 into the ``mlserver`` container of the server's configuration."""
        env = [{"name": name, "value": value} for name, value in self.env.items()]
        spec = _without_absent(
            serverConfig="mlserver",
            capabilities=list(self.capabilities),
            podSpec={"containers": [{"name": "mlserver", "env": env}]} if env else None,
        )
        return _manifest("Server", self.name, spec)

    @classmethod
    def from_dict(cls, manifest: Mapping[str, Any]) -> Server:
        """Read a manifest; variables taken from a Secret (``valueFrom``) are left to the caller's environment.

        Raises:
            ManifestError: it is not a Server's manifest, or a field is malformed.
        """
        name, spec = _open(manifest, "Server")
        containers = _mapping(f"Server '{name}': spec.podSpec", spec.get("podSpec")).get("containers") or []
        if not isinstance(containers, list) or not all(isinstance(one, dict) for one in containers):
            raise ManifestError(f"Server '{name}': spec.podSpec.containers must be a list of mappings")
        env: dict[str, str] = {}
        for container in containers:
            if container.get("name") == "mlserver":
                plain = [item for item in container.get("env") or [] if "valueFrom" not in item]
                env |= _named_values(f"Server '{name}': env", plain)
        declared = [
            _strings(f"Server '{name}': spec.{key}", spec.get(key)) for key in ("capabilities", "extraCapabilities")
        ]
        return cls(name=name, capabilities=(*declared[0], *declared[1]), env=env)

    def holds(self, requirements: Sequence[str]) -> bool:
        """Whether every requirement is among the capabilities, compared as exact strings, as SC2's scheduler does."""
        return set(requirements) <= set(self.capabilities)


def read_manifests(source: str | Path | Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the manifests in a YAML file (several, if ``---`` divides them), or the one given as a mapping.

    Raises:
        ManifestError: the file is missing, is not YAML, or holds no manifest.
    """
    if isinstance(source, Mapping):
        yield dict(source)
        return
    if not isinstance(source, str | Path):
        raise ManifestError(f"expected a manifest, or the path of a file with one, but got {source!r}")
    path = in_project(source)
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except OSError as error:
        raise ManifestError(f"cannot read the manifest {source}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if not documents:
        raise ManifestError(f"{source} holds no manifest")
    for document in documents:
        yield _mapping(str(source), document)


def to_yaml(manifest: Mapping[str, Any], *, comment: str = "") -> str:
    """Write a manifest as people write them: keys in order, lists not indented, `comment` above it."""
    lines = [f"# {line}\n" for line in comment.splitlines()]
    return "".join(lines) + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Strings that are addresses, or that YAML would read as something else, stand in double quotes."""


def _represent_string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = ":" in text or yaml.safe_load(text) != text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_string)


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _without_absent(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a manifest holds
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def _open(manifest: Mapping[str, Any], kind: str) -> tuple[str, Mapping[str, Any]]:
    """Check a manifest's envelope and return its name and spec."""
    found = (manifest.get("apiVersion"), manifest.get("kind"))
    if found != (API_VERSION, kind):
        raise ManifestError(f"expected a manifest of {API_VERSION} {kind}, but got {found[0]} {found[1]}")
    name = _mapping(f"{kind}: metadata", manifest.get("metadata")).get("name")
    _check_name(kind, name)
    return str(name), _mapping(f"{kind} '{name}': spec", manifest.get("spec"))


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 63:
        raise ManifestError(
            f"{kind}: metadata.name must be lower-case letters, digits and '-', starting and ending with a letter or "
            f"a digit, 63 characters at most, but got {name!r}"
        )


def _check_strings(where: str, values: Sequence[object]) -> None:
    if not all(isinstance(value, str) and value for value in values):
        raise ManifestError(f"{where} must be a list of non-empty strings, but got {list(values)!r}")


def _mapping(where: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(f"{where} must be a mapping, but got {value!r}")
    return value


def _strings(where: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list | None):
        raise ManifestError(f"{where} must be a list of strings, but got {values!r}")
    return tuple(values or ())


def _named_values(where: str, items: object) -> dict[str, str]:
    """Read ``[{name, value}]``, whose values the API server takes as strings only."""
    named: dict[str, str] = {}
    if not isinstance(items, list | None):
        raise ManifestError(f"{where} must be a list of names and values, but got {items!r}")
    for item in items or ():
        name, value = (item.get("name"), item.get("value", "")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(value, str):
            raise ManifestError(f"{where}: expected name and value as strings (quote numbers), but got {item!r}")
        named[name] = value
    return named
