"""Reads manifests from YAML files, and writes them as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.model import Model
from llm_streaming.manifests.server import Server
from llm_streaming.manifests.yaml_file import read_yaml
from llm_streaming.paths import in_project

Manifest = str | Path | Mapping[str, Any] | Model | Server
"""The path of a YAML file, a manifest as a mapping, or a resource."""


def read_manifests(source: Manifest) -> list[Model | Server]:
    """Read and check the resources in a YAML file, where ``---`` separates several resources, or in a mapping.

    A `Model` or a `Server` is returned unchanged.

    Raises:
        ManifestError: the file cannot be read, is not YAML or contains no manifest, or a manifest has an invalid field
            or is neither a Model nor a Server.
    """
    if isinstance(source, Model | Server):
        return [source]
    return [
        Server.from_dict(document) if document.get("kind") == Server.kind else Model.from_dict(document)
        for document in load_documents(source)
    ]


def load_documents(source: Manifest) -> list[dict[str, Any]]:
    """Read manifests of any kind from a YAML file or a mapping, unchecked and as their author wrote them.

    Raises:
        ManifestError: the file cannot be read (see `read_yaml`), or contains no manifest.
    """
    if isinstance(source, Model | Server):
        return [dict(source.document)]
    if isinstance(source, Mapping):
        return [dict(source)]
    if not isinstance(source, str | Path):
        raise ManifestError(f"expected a manifest or the path of a manifest file, but got {source!r}")
    path = in_project(source)
    try:
        documents = read_yaml(path)
    except OSError as error:
        raise ManifestError(f"cannot read the manifest {source}: {error.strerror}") from None
    except ValueError as error:
        raise ManifestError(f"cannot read the manifest {source}: {error}") from None
    if not documents:
        raise ManifestError(f"{source} contains no manifest")
    for document in documents:
        if not isinstance(document, dict):
            raise ManifestError(f"{source} must contain mappings, but got {document!r}")
    return documents


def read_servers(folder: Path) -> list[Server]:
    """Read the Servers in the YAML files of a folder.

    Raises:
        ManifestError: a manifest cannot be used, the folder contains none, or two Servers have the same name.
    """
    paths = sorted(folder.glob("*.yaml"))
    servers = [Server.from_dict(document) for path in paths for document in load_documents(path)]
    if not servers:
        raise ManifestError(f"{folder} contains no Server manifest: the mesh has nothing to start")
    if len({server.name for server in servers}) < len(servers):
        raise ManifestError(f"{folder} contains two Servers with the same name: rename one")
    return servers


def to_yaml(manifest: Mapping[str, Any], *, comment: str = "") -> str:
    """Write a manifest in the usual style: keys in the given order, lists not indented, and `comment` above it."""
    lines = [f"# {line}\n" for line in comment.splitlines()]
    return "".join(lines) + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000)


_STRING = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """Writes strings in double quotes if they contain a colon, or if YAML would read them as another type."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Return True, so that a value used in two fields is written twice, without an anchor and an alias."""
        return True


def _represent_string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    read_as = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    quoted = ":" in text or read_as != _STRING
    return dumper.represent_scalar(_STRING, text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_string)
