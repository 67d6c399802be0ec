"""Starts server processes through the supervisor, which stops them when this process ends."""

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
import threading
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
_TOO_MANY_EXITS = (
    f"the mesh was closed, because its servers exited {supervisor.MAX_EXITS} times within {supervisor.PERIOD:g} s: "
    "connect again"
)


class PortTakenError(MeshError):
    """A server process exited because another process had taken its port."""


def retry_if_port_taken(start: Callable[[], T]) -> T:
    """Call `start`, which starts servers on free ports. Retry if another process takes a port in the meantime.

    Raises:
        PortTakenError: a port was taken at every attempt.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(PortTakenError):
            return start()
    return start()


def bypass_proxies() -> None:
    """Add this machine to ``NO_PROXY``, so that this process and its servers call each other without a proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host]
        os.environ[name] = ",".join(dict.fromkeys([*known, LOOPBACK, "localhost"]))


def inherited() -> dict[str, str]:
    """Return the environment with an absolute path to the model, as servers have another working directory."""
    environment = dict(os.environ)
    if model := environment.get(MODEL_VARIABLE):
        environment[MODEL_VARIABLE] = str(Path(model).expanduser().absolute())
    return environment


class Process(NamedTuple):
    """A server process to start: its name (also used for its log), its command line and its complete environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class Exit(NamedTuple):
    """The exit of a process.

    Args:
        name: the name of the process.
        status: the exit status, which is negative if a signal ended the process.
        last_lines: the last lines that the process printed.
        restarted: whether the supervisor has started the process again.
    """

    name: str
    status: int
    last_lines: str
    restarted: bool

    def __str__(self) -> str:
        return f"{self.name} exited with status {self.status}; its last log lines:\n{self.last_lines}"


class ProcessGroup:
    """Processes and their private folder, which are stopped and removed even if this process is killed.

    Attributes:
        home: the private folder.
    """

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="llm-streaming-"))
        self._owner = os.getpid()
        self._supervisor: subprocess.Popen[str] | None = None
        self._pipe: IO[str] | None = None  # when it is closed, the supervisor stops the processes
        self._names: list[str] = []
        self._exits: list[Exit] = []
        self._exited = threading.Condition()  # notified of each exit, also of the supervisor's own
        self._on_exit: Callable[[Exit | None], None] = lambda _: None
        atexit.register(self.stop)

    def start(self, processes: Sequence[Process]) -> None:
        """Start the processes, without waiting until they are ready."""
        events, supervisors_end = os.pipe()
        # The supervisor has its own session, because interrupting a notebook's cell signals the kernel's process group.
        with (self.home / "supervisor.log").open("wb") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", str(Path(supervisor.__file__))],
                stdin=subprocess.PIPE,
                stdout=supervisors_end,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
                text=True,
            )
        os.close(supervisors_end)
        threading.Thread(target=self._listen, args=(events,), daemon=True).start()
        self._pipe = self._supervisor.stdin
        os.register_at_fork(after_in_child=self._close_pipe)
        self._names = [process.name for process in processes]
        spec = {"home": str(self.home), "processes": [process._asdict() for process in processes]}
        print(json.dumps(spec), file=self._pipe, flush=True)

    def keep_running(self, on_exit: Callable[[Exit | None], None] = lambda _: None) -> None:
        """From now on, start a process again when it exits, except after the third exit within a minute.

        Args:
            on_exit: called in a thread of this group after each exit, with None if the supervisor itself has exited.
        """
        self._on_exit = on_exit
        with contextlib.suppress(BrokenPipeError):  # the supervisor was killed, which `ended` tells
            print(file=self._pipe, flush=True)

    def wait_until_ready(self, ready: Callable[[], bool], *, timeout: float) -> None:
        """Poll `ready` until it returns True, for at most `timeout` seconds.

        Raises:
            MeshError: a process has exited, or `ready` is not True in time; the message quotes the last log lines.
        """
        is_ready = wait_until(lambda: self.ended() is not None or ready(), timeout=timeout)
        if ended := self.ended():
            raise ended
        if not is_ready:
            logs = "\n".join(f"{name}: {self.log(name, lines=3)}" for name in self._names)
            raise MeshError(f"the mesh did not start within {timeout:g} s; its servers' last log lines:\n{logs}")

    def ended(self) -> MeshError | None:
        """Return the error to raise if a process has exited for good, or None if all run or are started again.

        If the process could not listen on its port, the error is a `PortTakenError`.
        """
        final = next((each for each in self._exits if not each.restarted), None)
        if final:
            kind = PortTakenError if _PORT_TAKEN.search(self.log(final.name)) else MeshError
            return kind(str(final) if final is self._exits[0] else f"{_TOO_MANY_EXITS}; {final}")
        if self._supervisor is None or self._supervisor.poll() is not None:
            return MeshError("the mesh's supervisor has stopped, and so have its servers: connect again")
        return None

    def starts(self, name: str) -> int:
        """Return how often a process was started."""
        return 1 + sum(each.name == name for each in self._exits)

    def wait_for_exit(self, name: str, start: int, *, timeout: float) -> Exit | None:
        """Wait until the process that was the `start`-th of its name has exited, and return its exit.

        Returns:
            The exit, or None if the process does not exit within `timeout` seconds, or the group has ended.
        """

        def exits() -> list[Exit]:
            return [each for each in self._exits if each.name == name][start - 1 :]

        with self._exited:
            self._exited.wait_for(lambda: exits() or self.ended(), timeout)
        return next(iter(exits()), None)

    def log(self, name: str, *, lines: int | None = None) -> str:
        """Return the output of a process: by default all of it, otherwise its last `lines` lines."""
        try:
            printed = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(printed[-lines:] if lines else printed)

    def stop(self) -> None:
        """Stop every process, remove the folder, and wait until they are gone. May be called several times."""
        if self._owner != os.getpid():
            return  # this is a fork of the process that started the group
        self._close_pipe()
        if self._supervisor is not None:
            self._supervisor.terminate()  # a fork outside Python's control may keep the pipe open
            self._supervisor.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        atexit.unregister(self.stop)

    def _listen(self, events: int) -> None:
        """Note the exits that the supervisor reports, until it exits itself."""
        # Without a buffer, whose lock would never be released in a fork of this process.
        with open(events, "rb", buffering=0) as lines:
            for line in lines:
                self._note(Exit(**json.loads(line)))
        assert self._supervisor is not None  # noqa: S101 - it has written the events
        self._supervisor.wait()
        self._note(None)

    def _note(self, event: Exit | None) -> None:
        with self._exited:
            self._exits += [event] if event else []
            self._exited.notify_all()
        self._on_exit(event)

    def _close_pipe(self) -> None:
        """Close this process's end of the pipe. Forked children do so at once: open copies keep servers alive."""
        if self._pipe is not None:
            self._pipe.close()
