"""Processes end with their group, at whatever moment it is stopped."""

import os
import sys

import psutil

from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import wait_until

SLEEPER = [sys.executable, "-c", "import threading; threading.Event().wait()"]


def test_stopping_at_once_leaves_nothing() -> None:
    """The supervisor may be starting them, waiting for them, or not be there yet."""
    for started in range(4):
        group = ProcessGroup()
        group.start([Process(f"sleeper-{number}", SLEEPER, dict(os.environ)) for number in range(3)])
        home = group.home
        assert wait_until(lambda: len(list(home.glob("sleeper-*.log"))) >= started, timeout=10)  # noqa: B023
        group.stop()
        alive = [one for one in psutil.process_iter(["cwd"]) if str(home) in (one.info["cwd"] or "")]
        assert (home.exists(), alive) == (False, [])


def test_what_a_killed_process_leaves_behind_ends_too() -> None:
    parent = f"import subprocess, sys; subprocess.Popen({SLEEPER!r}); {SLEEPER[-1]}"
    group = ProcessGroup()
    group.start([Process("parent", [sys.executable, "-c", parent], dict(os.environ))])

    def kept() -> list[psutil.Process]:
        return [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(group.home)]

    assert wait_until(lambda: any(one.children() for one in kept() if one.cmdline()[-1] == parent), timeout=20)
    killed = next(one for one in kept() if one.cmdline()[-1] == parent)
    children = killed.children()
    killed.kill()
    survivors = psutil.wait_procs(children, timeout=20)[1]
    group.stop()
    assert (len(children), survivors) == (1, [])
