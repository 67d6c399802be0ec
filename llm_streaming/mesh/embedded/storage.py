"""Finds the folder for a Model's ``storageUri`` and prepares it for MLServer, as SC2's agent does (contract §4)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model
from llm_streaming.paths import stays_inside

SETTINGS_FILE = "model-settings.json"

# The agent rewrites a model's settings: it keeps these keys and drops all others.
_KEPT = ("platform", "versions", "inputs", "outputs", "implementation", "parallel_workers")
_KEPT_PARAMETERS = ("uri", "format", "content_type", "environment_tarball")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://[^/]+/(?:.*/)?models/(?P<name>[^/]+)/?")


def resolve(storage_uri: str, models: Path) -> Path:
    """Find the folder on this machine for a Model's ``storageUri``.

    A remote address, such as ``gs://bucket/models/<name>``, points to the folder ``<name>`` in `models`. A path is
    relative to the parent folder of `models`.

    Raises:
        ManifestError: the folder is not inside `models`, or contains no ``model-settings.json``.
    """
    remote = _REMOTE.fullmatch(storage_uri)
    if "://" in storage_uri and not remote:
        raise ManifestError(
            f"storageUri {storage_uri}: nothing is downloaded on this machine: a remote address must end in "
            f"models/<name>, and the folder of that name in {models} is used"
        )
    folder = (models / remote["name"] if remote else models.parent / storage_uri).resolve()
    if not stays_inside(models.resolve(), folder):
        raise ManifestError(f"storageUri {storage_uri} points outside the models folder, {models}")
    if not (folder / SETTINGS_FILE).is_file():
        raise ManifestError(f"storageUri {storage_uri}: there is no file {folder / SETTINGS_FILE}")
    return folder


def settings(model: Model, folder: Path) -> dict[str, Any]:
    """Read a folder's ``model-settings.json`` and rewrite it for one Model.

    The Model's name replaces the file's. The Model's ``spec.parameters`` are added to ``parameters.extra``, as strings.

    Raises:
        ManifestError: the file is not a JSON object, or names no implementation.
    """
    where = f"{folder.name}/{SETTINGS_FILE}"
    try:
        found = json.loads((folder / SETTINGS_FILE).read_text())
    except (OSError, ValueError) as error:
        raise ManifestError(f"{where} is not JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("implementation"), str):
        raise ManifestError(f"{where} must be an object with an 'implementation', the runtime's import path")
    parameters = found.get("parameters") or {}
    if not isinstance(parameters, dict) or not isinstance(parameters.get("extra") or {}, dict):
        raise ManifestError(f"{where}: parameters and parameters.extra must be objects")
    extra = {**(parameters.get("extra") or {}), **model.parameters}
    kept = {key: found[key] for key in _KEPT if key in found}
    kept_parameters = {key: parameters[key] for key in _KEPT_PARAMETERS if key in parameters}
    return {"name": model.name, **kept, "parameters": {"version": "1", **kept_parameters, "extra": extra}}


def prepare(rewritten: Mapping[str, Any], folder: Path, target: Path) -> None:
    """Create a model's folder for a server: write its settings, and link to its other files.

    Raises:
        MeshError: the folder cannot be written.
    """
    remove(target)
    with writing_to(target):
        target.mkdir(parents=True)
        for entry in folder.iterdir():
            if entry.name != SETTINGS_FILE:
                (target / entry.name).symlink_to(entry)
        (target / SETTINGS_FILE).write_text(json.dumps(rewritten, indent=2))


def remove(target: Path) -> None:
    """Remove a model's folder."""
    shutil.rmtree(target, ignore_errors=True)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Report a failure to write in the ``with`` block, most often because of a full disk, as `MeshError`."""
    try:
        yield
    except OSError as error:
        raise MeshError(
            f"the mesh cannot write to {path} ({error.strerror}): free some disk space, and try again"
        ) from None
