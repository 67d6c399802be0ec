"""The command `llm-streaming`: run in this process, as a program, and kept running as `llm-streaming up`."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_streaming.cli import main
from llm_streaming.connection import MESH_VARIABLE
from tests.support.processes import PipedProcess

COMMAND = Path(sys.executable).with_name("llm-streaming")

Run = Callable[..., tuple[int, str, str]]
"""Runs a command; returns its exit status, its standard output and its standard error."""


def runner(capfd: pytest.CaptureFixture[str], *options: str) -> Run:
    """Return a function that runs commands in this process, each with the options at its end."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main([*arguments, *options])
        return (status, *capfd.readouterr())

    return run


def checks_in(text: str) -> dict[str, str]:
    """Return the state and the text of each check that `doctor` or a notebook has printed, by the check's name."""
    pattern = r"^(ok|wrong|-) +(\S+(?: file)?) +(.+)$"
    found: list[tuple[str, str, str]] = re.findall(pattern, text, re.MULTILINE)
    assert len(found) == len(text.splitlines())
    return {name: f"{state}: {words}" for state, name, words in found}


class Up:
    """`llm-streaming up` in a process of its own.

    Args:
        options: options of the command.

    Attributes:
        process: the process.
        control: the path of the mesh's socket.
        progress: the two messages on standard error.
        address: the ``host:port`` of the mesh.
        home: the mesh's private folder.
        invitation: the invitation for participants, or an empty text without ``--share``.
    """

    def __init__(self, *options: str) -> None:
        self.process = PipedProcess(COMMAND, "up", *options, stderr=subprocess.PIPE)
        self.control = self._exported()
        self.progress = [self.process.stderr.readline().rstrip("\n") for _ in range(2)]
        [self.address] = re.findall(r"127\.0\.0\.1:\d+", self.progress[1])
        self.home = Path(self.control).parent
        self.invitation = self._exported() if "--share" in options else ""

    def _exported(self) -> str:
        """Return the value that the next line on standard output exports."""
        line = self.process.stdout.readline()
        assert line.startswith(f"export {MESH_VARIABLE}="), self.process.stderr.read()
        return line.removeprefix(f"export {MESH_VARIABLE}=").rstrip("\n").strip("'")

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Send the process a signal; return its exit status and what it printed since it was open."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err
