"""Processes that tests start or look for."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

from llm_streaming.mesh.processes import supervisor
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.paths import project_root


class PipedProcess(subprocess.Popen[str]):
    """A process in the project's folder. Its standard input and output are pipes for text.

    Args:
        argv: the command.
        options: options of `subprocess.Popen`; with ``stderr=PIPE``, standard error is a pipe too.
    """

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]

    def __init__(self, *argv: str | Path, **options: Any) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        super().__init__(argv, text=True, cwd=project_root(), **pipes | options)


def python(script: str, **options: Any) -> PipedProcess:
    """Run a script in a new Python process."""
    return PipedProcess(sys.executable, "-c", script, **options)


def modules_imported_by(script: str) -> set[str]:
    """Return the names of all modules that a new Python process has imported after a script."""
    argv = [sys.executable, "-c", f"{script}\nimport sys; print(*sys.modules)"]
    return set(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())


def processes_in(home: Path) -> list[psutil.Process]:
    """Return the processes with a mesh's private folder as their working directory or in their command line."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        places = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if any(str(home) in place for place in places):
            found.append(process)
    return found


def process_of(home: Path, name: str, *, other_than: psutil.Process | None = None) -> psutil.Process:
    """Wait for a process of an embedded mesh, and return it.

    Args:
        home: the mesh's private folder.
        name: ``envoy``, ``provider``, ``supervisor`` or the name of a Server.
        other_than: a process that was killed, and is to be replaced.
    """
    known = {
        "envoy": str(home / "envoy" / "envoy.json"),
        "provider": "llm_streaming.mesh.embedded.offline_server",
        "supervisor": supervisor.__file__,
    }
    argument = known.get(name, str(home / "models" / name))

    def found() -> list[psutil.Process]:
        processes = [process for process in processes_in(home) if argument in (process.info["cmdline"] or ())]
        return [process for process in processes if process != other_than]

    assert wait_until(lambda: len(found()) == 1, timeout=60)
    return found()[0]


@contextmanager
def suspended(process: psutil.Process) -> Iterator[None]:
    """Suspend a process inside the ``with`` block."""
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def all_processes_of_a_mesh(home: Path) -> list[psutil.Process]:
    """Wait until all processes of the embedded mesh with the repository's Servers run, and return them."""
    # The supervisor and its guard, Envoy, two MLServers and the provider. A fork may add a process for a moment while
    # they start.
    assert wait_until(lambda: len(processes_in(home)) == 6, timeout=60)
    return processes_in(home)
