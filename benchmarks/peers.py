"""LiteLLM's proxy, the relay that people use today, on loopback and before the same provider."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.load import HOST
from llm_streaming.mesh.processes.ports import free_ports, wait_until

_VENV = ROOT / ".venv-litellm"  # `make bench-full` makes it
_START_TIMEOUT = 120.0  # seconds


@contextmanager
def litellm(provider: int) -> Iterator[tuple[int, str]]:
    """Run the proxy, with one worker as its own default is; yields its port and the key it wants.

    Raises:
        RuntimeError: it is not installed, or does not start.
    """
    command = _VENV / "bin" / "litellm"
    if not command.exists():
        raise RuntimeError(f"{command} is not there: `make bench-full` installs it")
    (port,) = free_ports(1)
    key = f"sk-{secrets.token_hex()}"
    settings = {"model": "openai/benchmark", "api_base": f"http://{HOST}:{provider}/v1", "api_key": "not-needed"}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"  # JSON is YAML
        config.write_text(json.dumps({"model_list": [{"model_name": "benchmark", "litellm_params": settings}]}))
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [command, "--config", str(config), "--host", HOST, "--port", str(port), "--telemetry", "False"],
                env={
                    **os.environ,
                    "LITELLM_MASTER_KEY": key,
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_LOG": "ERROR",
                },
                cwd=folder,
                stdout=log,
                stderr=log,
            )
            try:
                wait_until(lambda: _is_up(port) or process.poll() is not None, timeout=_START_TIMEOUT, interval=0.5)
                if not _is_up(port):
                    raise RuntimeError(f"LiteLLM's proxy is not up:\n{(Path(folder) / 'log').read_text()[-2000:]}")
                yield port, key
            finally:
                process.terminate()
                process.wait()


def version() -> str | None:
    """The installed version, where there is one."""
    found = next(_VENV.glob("lib/python*/site-packages/litellm-*.dist-info"), None)
    return found.name.split("-")[1].removesuffix(".dist") if found else None


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health/liveliness", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
