"""From a Model's ``storageUri`` to a folder MLServer can load, as SC2's agent does it (contract §4)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_streaming.errors import ManifestError
from llm_streaming.manifests import Model

SETTINGS_FILE = "model-settings.json"

# What the agent keeps of the settings it rewrites; every other key is dropped.
_KEPT = ("platform", "versions", "inputs", "outputs", "implementation", "parallel_workers")
_KEPT_PARAMETERS = ("uri", "format", "content_type", "environment_tarball")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://[^/]+/(?:.*/)?models/(?P<name>[^/]+)/?")


def resolve(storage_uri: str, models: Path) -> Path:
    """Find the folder a Model's ``storageUri`` means on this machine.

    A remote address, such as ``gs://bucket/models/<name>``, stands for the folder of the same name in `models`. A path
    is relative to the project, which holds `models`.

    Raises:
        ManifestError: the folder is not there, is not inside `models`, or holds no ``model-settings.json``.
    """
    remote = _REMOTE.fullmatch(storage_uri)
    if "://" in storage_uri and not remote:
        raise ManifestError(
            f"storageUri {storage_uri}: on this machine an address must end in models/<name>, for the folder of that "
            f"name in {models}"
        )
    folder = (models / remote["name"] if remote else models.parent / storage_uri).resolve()
    if models.resolve() not in folder.parents:
        raise ManifestError(f"storageUri {storage_uri} points outside the models folder, {models}")
    if not folder.is_dir():
        raise ManifestError(f"storageUri {storage_uri}: there is no folder {folder}")
    if not (folder / SETTINGS_FILE).is_file():
        raise ManifestError(f"storageUri {storage_uri}: {folder} holds no {SETTINGS_FILE}")
    return folder


def settings(model: Model, folder: Path) -> dict[str, Any]:
    """Read a folder's ``model-settings.json`` and rewrite it for one Model.

    The name becomes the Model's own, whatever the file says, and the Model's ``spec.parameters`` join
    ``parameters.extra``, as strings.

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
    extra = parameters.get("extra") or {} if isinstance(parameters, dict) else None
    if not isinstance(extra, dict):
        raise ManifestError(f"{where}: parameters and parameters.extra must be objects")
    kept = {key: found[key] for key in _KEPT if key in found}
    kept_parameters = {key: parameters[key] for key in _KEPT_PARAMETERS if key in parameters}
    return {
        "name": model.name,
        **kept,
        "parameters": {"version": "1", **kept_parameters, "extra": {**extra, **model.parameters}},
    }


def install(rewritten: Mapping[str, Any], folder: Path, target: Path) -> None:
    """Put a model into a server's private repository: its settings rewritten, its other files as links."""
    remove(target)
    target.mkdir(parents=True)
    for entry in folder.iterdir():
        if entry.name != SETTINGS_FILE:
            (target / entry.name).symlink_to(entry)
    (target / SETTINGS_FILE).write_text(json.dumps(rewritten, indent=2))


def remove(target: Path) -> None:
    """Take a model out of a server's private repository."""
    shutil.rmtree(target, ignore_errors=True)
