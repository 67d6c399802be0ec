"""Reads manifests from YAML files, and writes them as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.model import Model
from llm_streaming.manifests.server import Server
from llm_streaming.paths import in_project

Manifest = str | Path | Mapping[str, Any] | Model | Server
"""The path of a YAML file, a mapping, or a resource that was read or generated."""


def read_manifests(source: Manifest) -> list[Model | Server]:
    """Read and check the resources in a YAML file (several, if ``---`` divides them) or a mapping.

    A `Model` or a `Server` is returned as it is.

    Raises:
        ManifestError: the file cannot be read, is not YAML or holds no manifest, or a manifest is not that of a Model
            or a Server, or has a field that cannot be used.
    """
    if isinstance(source, Model | Server):
        return [source]
    return [
        Server.from_dict(document) if document.get("kind") == Server.kind else Model.from_dict(document)
        for document in load_documents(source)
    ]


def load_documents(source: Manifest) -> list[dict[str, Any]]:
    """Read the manifests in a YAML file or a mapping as their author wrote them, of any kind and without a check.

    Raises:
        ManifestError: the file cannot be read, is not YAML, or holds no manifest.
    """
    if isinstance(source, Model | Server):
        return [dict(source.document)]
    if isinstance(source, Mapping):
        return [dict(source)]
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
        if not isinstance(document, dict):
            raise ManifestError(f"{source} must hold mappings, but got {document!r}")
    return documents


def to_yaml(manifest: Mapping[str, Any], *, comment: str = "") -> str:
    """Write a manifest as people do: keys in their order, lists not indented, and `comment` above it."""
    lines = [f"# {line}\n" for line in comment.splitlines()]
    return "".join(lines) + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000)


_STRING = "tag:yaml.org,2002:str"


class _Dumper(yaml.SafeDumper):
    """Puts addresses, and strings that YAML would read as another type, in double quotes."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - its own signature
        """Write a value twice if two fields hold it, instead of an anchor and an alias."""
        return True


def _represent_string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    read_as = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    quoted = ":" in text or read_as != _STRING
    return dumper.represent_scalar(_STRING, text, style='"' if quoted else None)


_Dumper.add_representer(str, _represent_string)
