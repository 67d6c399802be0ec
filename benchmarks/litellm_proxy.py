"""Runs LiteLLM's proxy, a widely used relay, on loopback in front of the benchmark's provider."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.provider import HOST, MODEL
from benchmarks.servers import run_server
from llm_streaming.mesh.processes.ports import free_ports

_VENV = ROOT / ".venv-litellm"  # `make bench-full` makes it
_START_TIMEOUT = 120.0  # seconds


@contextmanager
def litellm(provider: int) -> Iterator[tuple[int, str]]:
    """Run the proxy with one worker, the proxy's default, and yield its port and its key.

    Args:
        provider: the port of the provider.

    Raises:
        RuntimeError: the proxy is not installed, or did not start.
    """
    program = _VENV / "bin" / "litellm"
    if not program.exists():
        raise RuntimeError(f"{program} does not exist: `make bench-full` installs it")
    (port,) = free_ports(1)
    key = f"sk-{secrets.token_hex()}"
    settings = {"model": f"openai/{MODEL}", "api_base": f"http://{HOST}:{provider}/v1", "api_key": "not-needed"}
    variables = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"  # the proxy reads YAML, and JSON is YAML
        config.write_text(json.dumps({"model_list": [{"model_name": MODEL, "litellm_params": settings}]}))
        with run_server(
            [str(program), "--config", str(config), "--host", HOST, "--port", str(port), "--telemetry", "False"],
            port,
            "/health/liveliness",
            timeout=_START_TIMEOUT,
            folder=Path(folder),
            env={**os.environ, **variables},
        ):
            yield port, key


def version() -> str | None:
    """Return the version of the installed proxy, or None if it is not installed."""
    found = next(_VENV.glob("lib/python*/site-packages/litellm-*.dist-info"), None)
    return found.name.split("-")[1].removesuffix(".dist") if found else None
