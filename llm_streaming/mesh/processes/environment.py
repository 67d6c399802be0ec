"""The environment of server processes: installed packages, proxies, and the variables that they inherit."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from llm_streaming.engines.llamacpp.model_file import MODEL_VARIABLE
from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.ports import LOOPBACK


def check_installed(packages: Mapping[str, str], *, mesh: str = "embedded") -> None:
    """Check that the packages of a mesh are installed.

    Args:
        packages: each package's name, by the name of its module.
        mesh: the mesh that needs them, which is the name of the extra that installs them, too.

    Raises:
        MeshError: a package is not installed.
    """
    for module, package in packages.items():
        if importlib.util.find_spec(module) is None:
            raise MeshError(
                f"the {mesh} mesh needs the package {package}, which is not installed: run `make setup`, or "
                f"`pip install 'llm-streaming[{mesh}]'`"
            )


def bypass_proxies() -> None:
    """Exclude this machine from the proxies in the environment, for the servers and for the caller's own clients."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*known, LOOPBACK, "localhost"]))


def inherited() -> dict[str, str]:
    """The caller's environment, with an absolute path to the model, because servers have another working directory."""
    environment = dict(os.environ)
    if model := environment.get(MODEL_VARIABLE):
        environment[MODEL_VARIABLE] = str(Path(model).expanduser().absolute())
    return environment
