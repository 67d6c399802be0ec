"""All processes of a group end with it, at any moment of their start."""

import os
import sys

import psutil

from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import wait_until
from tests.support.processes import processes_in

SLEEPER = [sys.executable, "-c", "import threading; threading.Event().wait()"]


def test_stopping_at_once_leaves_nothing() -> None:
    """The supervisor may not run yet, may be starting the processes, or may be waiting for them."""
    for started in range(4):
        group = ProcessGroup()
        group.start([Process(f"sleeper-{number}", SLEEPER, dict(os.environ)) for number in range(3)])
        home = group.home
        assert wait_until(lambda: len(list(home.glob("sleeper-*.log"))) >= started, timeout=60)  # noqa: B023
        group.stop()
        assert (home.exists(), processes_in(home)) == (False, [])


def test_the_children_of_a_killed_process_end_too() -> None:
    parent = f"import subprocess, sys; subprocess.Popen({SLEEPER!r}); {SLEEPER[-1]}"
    group = ProcessGroup()
    group.start([Process("parent", [sys.executable, "-c", parent], dict(os.environ))])

    def parents() -> list[psutil.Process]:
        return [one for one in processes_in(group.home) if one.info["cmdline"][-1] == parent]

    assert wait_until(lambda: any(one.children() for one in parents()), timeout=60)
    [killed] = parents()
    children = killed.children()
    killed.kill()
    survivors = psutil.wait_procs(children, timeout=60)[1]
    group.stop()
    assert (len(children), survivors) == (1, [])
