"""Manifests as text: YAML files read, and written as people write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.fields import mapping
from llm_streaming.manifests.schema import check
from llm_streaming.paths import in_project


def read_manifests(source: str | Path | Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the manifests in a YAML file (several, if ``---`` divides them), or the one given as a mapping.

    Raises:
        ManifestError: the file is missing, is not YAML, or holds no manifest, or one holds what SC2's custom resources
            do not.
    """
    if isinstance(source, Mapping):
        check(source)
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
        manifest = mapping(str(source), document)
        check(manifest)
        yield manifest


def to_yaml(manifest: Mapping[str, Any], *, comment: str = "") -> str:
    """Write a manifest as people write them: keys in order, lists not indented, `comment` above it."""
    lines = [f"# {line}\n" for line in comment.splitlines()]
    return "".join(lines) + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=1000)


class _Dumper(yaml.SafeDumper):
    """Strings that are addresses, or that YAML would read as something else, stand in double quotes."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - its own signature
        """Write a value that stands in two places twice, and not as an anchor and its alias."""
        return True


def _represent_string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quoted = ":" in text or _read_back(text) != text
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


def _read_back(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


_Dumper.add_representer(str, _represent_string)
