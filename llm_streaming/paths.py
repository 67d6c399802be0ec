"""Finds the project's files from any folder inside it."""

from __future__ import annotations

import os
from pathlib import Path

from llm_streaming.errors import ManifestError


def project_root() -> Path:
    """Return the nearest folder, from the working directory upwards, that contains both ``models`` and ``manifests``.

    Paths such as ``manifests/x.yaml`` thus work both in notebooks, which run in ``notebooks/``, and in the root.

    Raises:
        ManifestError: no such folder contains both.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if (folder / "models").is_dir() and (folder / "manifests").is_dir():
            return folder
    raise ManifestError(
        f"neither {here} nor a folder above it contains both models/ and manifests/: change to the project's folder"
    )


def in_project(path: str | Path) -> Path:
    """Resolve a relative path against the project's root; an absolute path stays as it is.

    Raises:
        ManifestError: the path is relative and the working directory is not inside a project.
    """
    path = Path(path)
    return path if path.is_absolute() else project_root() / path


def stays_inside(folder: Path, path: str | Path) -> bool:
    """Check whether a path lies inside a folder. A relative path starts at that folder.

    Symbolic links are not followed: a model's folder may link to large files elsewhere.
    """
    resolved = Path(os.path.normpath(folder / path))
    return Path(os.path.normpath(folder)) in resolved.parents
