"""The environment that the servers of an embedded mesh inherit from the caller."""

from __future__ import annotations

import os
from pathlib import Path

from llm_streaming.engines.small_model import MODEL_VARIABLE
from llm_streaming.mesh.processes import LOOPBACK


def bypass_proxies() -> None:
    """Keep calls on this machine away from a proxy that the environment names, those of the caller's clients too."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*known, LOOPBACK, "localhost"]))


def inherited() -> dict[str, str]:
    """The caller's environment; a relative path of a model is made absolute, because servers work elsewhere."""
    environment = dict(os.environ)
    if model := environment.get(MODEL_VARIABLE):
        environment[MODEL_VARIABLE] = str(Path(model).expanduser().absolute())
    return environment
