"""Processes that tests start or look for."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.paths import project_root

COMMAND = Path(sys.executable).with_name("llm-streaming")


class Up:
    """`llm-streaming up` in a process of its own, its progress messages, and the lines that it prints for others."""

    def __init__(self, *options: str) -> None:
        argv = [COMMAND, "up", *options]
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project_root()
        )
        self.control = self.exported()
        self.progress = [self.process.stderr.readline().rstrip("\n") for _ in range(2)]
        self.address = re.search(r"127\.0\.0\.1:\d+", self.progress[1])[0]
        self.home = Path(self.control).parent
        self.invitation = self.exported() if "--share" in options else None

    def exported(self) -> str:
        """Return the value that the next line on standard output exports."""
        line = self.process.stdout.readline()
        assert line.startswith(f"export {MESH_VARIABLE}="), self.process.stderr.read()
        return line.removeprefix(f"export {MESH_VARIABLE}=").rstrip("\n").strip("'")

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def processes_in(home: Path) -> list[psutil.Process]:
    """Return the processes with a mesh's private folder as their working directory or in their command line."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        places = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if any(str(home) in place for place in places):
            found.append(process)
    return found
