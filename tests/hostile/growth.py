"""Measures the memory, descriptors and threads of a mesh's processes over time."""

import threading
from pathlib import Path
from typing import Self

import psutil

from tests.support.processes import processes_in

INTERVAL = 5.0
"""Seconds between two measurements under load."""

MOST = {"memory": 64.0, "descriptors": 32.0, "threads": 8.0}
"""How much more a process may have after the load than before: megabytes, and numbers."""


def measure(process: psutil.Process) -> dict[str, float]:
    """Return the resident memory in megabytes, and the numbers of open descriptors and of threads."""
    with process.oneshot():
        memory = process.memory_info().rss / 1e6
        return {"memory": memory, "descriptors": process.num_fds(), "threads": process.num_threads()}


def _name(process: psutil.Process, home: Path) -> str:
    """Name a process by the server whose models it serves; other processes by their program."""
    served = [Path(word).name for word in process.cmdline() if word.startswith(str(home / "models"))]
    return f"{(served or [process.name()])[0]} ({process.pid})"


class Growth:
    """Measures each process of a mesh at the start and the end of a ``with`` block, and often in between.

    Args:
        home: the mesh's private folder.
    """

    def __init__(self, home: Path) -> None:
        self._processes = {_name(process, home): process for process in processes_in(home)}
        self._done = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self.first = self._measure()
        self.peak = self.last = self.first
        self._watching.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._watching.join()
        self.last = self._measure()

    def table(self) -> str:
        """The first, the last and the largest measurement of each process."""
        rows = [f"{'process':28}{'':14}{'first':>9}{'last':>9}{'peak':>9}"]
        for name, first in self.first.items():
            for what, value in first.items():
                last, peak = self.last.get(name, {}).get(what, 0), self.peak[name][what]
                rows.append(f"{name:28}{what:14}{value:>9.0f}{last:>9.0f}{peak:>9.0f}")
        return "\n".join(rows)

    def problems(self) -> list[str]:
        """One phrase for each process that has ended or grown by more than `MOST`."""
        ended = [f"{name} has ended" for name in self.first if name not in self.last]
        return ended + [
            f"{name} grew from {value:.0f} to {self.last[name][what]:.0f} ({what})"
            for name, first in self.first.items()
            for what, value in first.items()
            if name in self.last and self.last[name][what] - value > MOST[what]
        ]

    def _measure(self) -> dict[str, dict[str, float]]:
        return {name: measure(process) for name, process in self._processes.items() if process.is_running()}

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            for name, now in self._measure().items():
                self.peak = {**self.peak, name: {what: max(self.peak[name][what], now[what]) for what in now}}
