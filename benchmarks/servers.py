"""Runs the server processes that benchmarks need, each until a ``with`` block ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.provider import HOST
from llm_streaming.mesh.processes.ports import wait_until


@contextmanager
def run_module(module: str) -> Iterator[int]:
    """Run a module that starts a server and prints its port, and yield the port."""
    process = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


@contextmanager
def run_server(
    command: Sequence[str],
    port: int,
    health_path: str,
    *,
    timeout: float,
    folder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run an HTTP server; the ``with`` block begins once the server is healthy.

    Args:
        command: the program and its arguments.
        port: the port that the server listens on.
        health_path: the path that answers with a status below 400 once the server is ready.
        timeout: seconds that the start may take.
        folder: the working directory; by default that of this process.
        env: the whole environment; by default that of this process.

    Raises:
        RuntimeError: the server ended, or was not healthy in time. The message contains the end of its output.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
        try:
            in_time = wait_until(lambda: process.poll() is not None or _is_healthy(port, health_path), timeout=timeout)
            if not in_time or process.poll() is not None:
                output.seek(0)
                text = output.read().decode(errors="replace")[-2000:]
                raise RuntimeError(f"The server did not start: {' '.join(command[:3])}\n{text}")
            yield
        finally:
            process.terminate()
            process.wait()


def _is_healthy(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5):
            return True
    except OSError:
        return False
