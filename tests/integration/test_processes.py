"""Processes end with their group, at whatever moment it is stopped."""

import os
import sys

import psutil

from llm_streaming.mesh.processes import Process, ProcessGroup, wait_until

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
