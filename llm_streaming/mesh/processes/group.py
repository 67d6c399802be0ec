"""The caller's side of the supervisor: server processes that live no longer than this one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes import supervisor


@dataclass(frozen=True)
class Process:
    """A server process to keep: its name (that of its log), its command line and its whole environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


class ProcessGroup:
    """Processes that end with this one, whatever ends it, and a private folder that goes with them."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="llm-streaming-"))
        self._owner = os.getpid()
        self._supervisor: subprocess.Popen[str] | None = None
        self._names: list[str] = []

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
        os.register_at_fork(after_in_child=self._let_go)
        self._names = [process.name for process in processes]
        spec = {"home": str(self.home), "processes": [asdict(process) for process in processes]}
        assert self._supervisor.stdin is not None  # noqa: S101 - it was asked for
        self._supervisor.stdin.write(json.dumps(spec) + "\n")
        self._supervisor.stdin.flush()

    def ended(self) -> MeshError | None:
        """Say which process has ended by itself, with its exit status and its last lines; None if all are running."""
        for name in self._names:
            exit_file = self.home / f"{name}.exit"
            if exit_file.exists():
                status, said = exit_file.read_text(), self.log(name, lines=10)
                return MeshError(f"{name} ended with status {status}; its last lines were:\n{said}")
        if self._supervisor is None or self._supervisor.poll() is not None:
            return MeshError("the mesh's supervisor has ended, and its servers with it: connect again")
        return None

    def log(self, name: str, *, lines: int | None = None) -> str:
        """What a process has printed: the last `lines` of it, or all."""
        try:
            printed = (self.home / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(printed[-lines:] if lines else printed)

    def _let_go(self) -> None:
        """Close a fork's copy of the pipe, which would keep the servers alive after the caller's end."""
        if self._supervisor is not None and self._supervisor.stdin is not None:
            self._supervisor.stdin.close()

    def stop(self) -> None:
        """End every process and remove the folder; returns when they are gone. May be called again."""
        if self._owner != os.getpid():
            return  # a fork of the caller: the processes are not its own to end
        if self._supervisor is not None and self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
            self._supervisor.terminate()  # a fork that was made without Python's knowing may hold the pipe too
            self._supervisor.wait()
        shutil.rmtree(self.home, ignore_errors=True)
