"""The supervisor as a process of its own: what it restarts and reports, and what its guard stops if it is killed."""

import fcntl
import json
import os
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from llm_streaming.mesh.processes.ports import wait_until
from tests.support.processes import PipedProcess, processes_in, python

RUN = "from llm_streaming.mesh.processes import supervisor; {}supervisor.main()"

WAITS = "echo $$ has started; read status < go; exit $status"
"""A shell script that exits with the status that is written to the pipe ``go``."""

LASTS = "sleep 1000 & wait"
"""A shell script with a child that outlives it."""


class Supervisor:
    """A supervisor, its folder, and the pipe that lets the script `WAITS` exit."""

    def __init__(self, home: Path, process: PipedProcess) -> None:
        self.home = home
        self.process = process
        os.mkfifo(home / "go")

    def start(self, **scripts: str) -> None:
        """Start shell scripts, by the names of their processes."""
        processes = [{"name": name, "argv": ["/bin/sh", "-c", text], "env": {}} for name, text in scripts.items()]
        self.write(json.dumps({"home": str(self.home), "processes": processes}))

    def write(self, line: str) -> None:
        """Write a line, and wait until the supervisor has read it."""
        print(line, file=self.process.stdin, flush=True)
        assert wait_until(lambda: unread(self.process.stdin) == 0, timeout=60)

    def ends(self, status: int) -> dict[str, Any]:
        """Let the script `WAITS` exit, and return what the supervisor reports."""
        (self.home / "go").write_text(f"{status}\n")
        return self.report()

    def report(self) -> dict[str, Any]:
        """Return the next report."""
        reported: dict[str, Any] = json.loads(self.process.stdout.readline())
        return reported

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()


def unread(pipe: IO[str]) -> int:
    """Return how many bytes of a pipe its reader has not read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def supervisor(home: Path) -> Iterator[Supervisor]:
    with python(RUN.format("")) as process:
        yield Supervisor(home, process)
        process.kill()


def test_a_process_that_exits_before_restarts_are_asked_for_stays_away(supervisor: Supervisor) -> None:
    supervisor.start(early="echo one; echo two; exit 3", other=WAITS)
    assert supervisor.report() == {"name": "early", "status": 3, "last_lines": "one\ntwo", "restarted": False}
    supervisor.write("restart")
    assert supervisor.ends(0)["restarted"]
    assert supervisor.log("early") == "one\ntwo\n"


def test_a_process_is_started_again_until_the_third_exit(supervisor: Supervisor) -> None:
    supervisor.start(server=WAITS)
    supervisor.write("restart")
    reports = [supervisor.ends(status) for status in (1, 0, 3)]
    first, _, second, _, third = lines = supervisor.log("server").splitlines()
    assert reports == [
        {"name": "server", "status": 1, "last_lines": first, "restarted": True},
        {"name": "server", "status": 0, "last_lines": second, "restarted": True},
        {"name": "server", "status": 3, "last_lines": third, "restarted": False},
    ]
    assert lines[1::2] == [
        "--- server exited with status 1 and is started again ---",
        "--- server exited with status 0 and is started again ---",
    ]


def test_exits_that_are_long_ago_do_not_count(home: Path) -> None:
    with python(RUN.format("supervisor.PERIOD = 0; ")) as process:
        supervisor = Supervisor(home, process)
        supervisor.start(server=WAITS)
        supervisor.write("restart")
        assert [supervisor.ends(1)["restarted"] for _ in range(5)] == [True] * 5
        process.stdin.close()
        assert process.wait(60) == 0
    assert not home.exists()


def test_a_process_that_cannot_be_started_again_is_reported(supervisor: Supervisor) -> None:
    shell = supervisor.home / "shell"
    shell.symlink_to("/bin/sh")
    process = {"name": "server", "argv": [str(shell), "-c", WAITS], "env": {}}
    supervisor.write(json.dumps({"home": str(supervisor.home), "processes": [process]}))
    supervisor.write("restart")
    go = (supervisor.home / "go").open("w")  # returns when the script reads
    shell.unlink()
    print(1, file=go, flush=True)
    report = supervisor.report()
    assert report["last_lines"].splitlines()[1:] == [
        f"it cannot be started again: [Errno 2] No such file or directory: '{shell}'"
    ]
    assert not report["restarted"]


@pytest.mark.parametrize("restarts", [False, True])
def test_nothing_is_left_if_the_supervisor_is_killed(supervisor: Supervisor, *, restarts: bool) -> None:
    supervisor.start(server=WAITS, parent=LASTS, early="exit 1")
    assert not supervisor.report()["restarted"]  # the guard knows all processes before an exit is reported
    if restarts:
        supervisor.write("restart")
        assert supervisor.ends(2)["restarted"]
    # The guard, the server, the parent and its child.
    assert wait_until(lambda: len(processes_in(supervisor.home)) == 4, timeout=60)
    running = processes_in(supervisor.home)
    supervisor.process.kill()
    assert psutil.wait_procs(running, timeout=60)[1] == []
    assert wait_until(lambda: not supervisor.home.exists(), timeout=60)
