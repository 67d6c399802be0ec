"""Starts server processes, which end with this process: the caller's side of the supervisor."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from llm_streaming.engines.llamacpp.model_file import MODEL_VARIABLE
from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes import supervisor
from llm_streaming.mesh.processes.ports import LOOPBACK, wait_until

T = TypeVar("T")

_PORT_TAKEN = re.compile("address already in use|failed to bind|couldn't bind", re.IGNORECASE)
_TRIES = 3


class PortTakenError(MeshError):
    """A server process ended because another process had taken its port."""


def retry_if_port_taken(start: Callable[[], T]) -> T:
    """Call `start`, which starts servers on free ports, again if another process has taken one in the meantime.

    Raises:
        PortTakenError: a port was taken at every try.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(PortTakenError):
            return start()
    return start()


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


class Process(NamedTuple):
    """A server process to start: its name, also of its log, its command line and its whole environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class ProcessGroup:
    """Processes that end with this process, however it ends, and a private folder that is removed with them.

    Attributes:
        home: the folder.
    """

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="llm-streaming-"))
        self._owner = os.getpid()
        self._supervisor: subprocess.Popen[str] | None = None
        self._pipe: IO[str] | None = None  # the supervisor ends the processes when it is closed
        self._names: list[str] = []
        atexit.register(self.stop)

    def start(self, processes: Sequence[Process]) -> None:
        """Start the processes; returns before they are ready."""
        # A session of its own: interrupting a notebook's cell signals the kernel's whole process group.
        with (self.home / "supervisor.log").open("wb") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", str(Path(supervisor.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
                text=True,
            )
        self._pipe = self._supervisor.stdin
        os.register_at_fork(after_in_child=self._close_pipe)
        self._names = [process.name for process in processes]
        spec = {"home": str(self.home), "processes": [process._asdict() for process in processes]}
        print(json.dumps(spec), file=self._pipe, flush=True)

    def wait_until_ready(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Poll until the processes are ready, for `timeout` seconds at most.

        Raises:
            MeshError: a process has ended, or they are not ready in time; the message has their last lines.
        """
        is_ready = wait_until(lambda: self.ended() is not None or ready(), timeout=timeout)
        if ended := self.ended():
            raise ended
        if not is_ready:
            logs = "\n".join(f"{name}: {self.log(name, lines=3)}" for name in self._names)
            raise MeshError(f"the mesh is not up after {timeout:g} s; its servers' last lines were:\n{logs}")

    def ended(self) -> MeshError | None:
        """The error to raise if a process has ended: its name, exit status and last lines. None if all are running.

        It is a `PortTakenError` if the process could not listen on its port.
        """
        for name in self._names:
            exit_file = self.home / f"{name}.exit"
            if exit_file.exists():
                status, lines = exit_file.read_text(), self.log(name, lines=10)
                kind = PortTakenError if _PORT_TAKEN.search(self.log(name)) else MeshError
                return kind(f"{name} ended with status {status}; its last lines were:\n{lines}")
        if self._supervisor is None or self._supervisor.poll() is not None:
            return MeshError("the mesh's supervisor has ended, and its servers with it: connect again")
        return None

    def log(self, name: str, *, lines: int | None = None) -> str:
        """The output of a process: the last `lines` of it, or all."""
        try:
            printed = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(printed[-lines:] if lines else printed)

    def stop(self) -> None:
        """End every process and remove the folder; returns when they are gone. May be called again."""
        if self._owner != os.getpid():
            return  # this is a fork of the caller, to which the processes do not belong
        self._close_pipe()
        if self._supervisor is not None:
            self._supervisor.terminate()  # a fork that Python does not know of may hold the pipe open
            self._supervisor.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.stop)

    def _close_pipe(self) -> None:
        """Close the pipe. A fork closes its copy at once, which would keep the servers alive after the caller's end."""
        if self._pipe is not None:
            self._pipe.close()
