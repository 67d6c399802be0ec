"""The manifests that ``-f`` names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.paths import in_project

_STDIN = Path("/dev/stdin")


def manifests_in(names: Iterable[str]) -> list[Model | Server]:
    """Read every manifest in files, in folders (not in folders of those), and on standard input, which is ``-``.

    Raises:
        ManifestError: one cannot be read, or has no name (as from a variable that is not set), or a folder holds none.
    """
    return [manifest for name in names for manifest in _read(name)]


def _read(name: str) -> Iterator[Model | Server]:
    if not name:
        raise ManifestError("-f takes a file, a folder or -, but got nothing: is a variable not set?")
    path = _STDIN if name == "-" else _find(name)
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        raise ManifestError(f"{name} holds no .yaml file")
    for file in files:
        yield from read_manifests(file)


def _find(name: str) -> Path:
    """Find a file from here, as kubectl does, or else from the project's root, as notebooks do."""
    here = Path(name).expanduser().absolute()
    if here.exists():
        return here
    try:
        return in_project(name)
    except ManifestError:
        return here
