"""A script that runs processes until its caller ends, and then stops them.

`ProcessGroup` starts the script. The script reads one line of JSON from standard input, ``{"home": folder, "processes":
[{"name", "argv", "env"}]}``, starts the processes with `home` as their working directory, and waits for the end of its
input. The input ends when the caller closes the pipe or is killed. Then the script stops every process and its
descendants, and removes `home`. The usual method, the kernel's parent-death signal, does not work here: the kernel
sends this signal when the creating *thread* ends, and sends it only to child processes, not to their descendants.

In `home`, ``<name>.log`` contains the output of a process, and ``<name>.exit`` its exit status once it has exited.
"""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GRACE = 2.0  # seconds in which the processes may stop by themselves
OPEN_FILES = 10_240  # that each process may have, connections included; many systems' default is 1,024 or 256


def main() -> None:
    """Run the processes until standard input ends or a signal asks the supervisor to stop."""
    spec = json.loads(sys.stdin.readline())
    home = Path(spec["home"])
    asked, ask = os.pipe()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # The handler raises no exception, because that could interrupt starting or stopping a process.
        signal.signal(number, lambda *_: os.write(ask, b"."))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most_open_files()), hard))
    children: list[Child] = []
    try:
        children.extend(Child(home, **process) for process in spec["processes"])
        select.select([sys.stdin, asked], [], [])
    finally:
        stop(children)
        remove(home)


def most_open_files() -> int:
    """Return the number of files that each process may have open: `OPEN_FILES`, if the system allows so many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)


class Child:
    """A process in its own process group, so that its descendants can be stopped with it."""

    def __init__(self, home: Path, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.exit_file = home / f"{name}.exit"
        with (home / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.note = threading.Thread(target=self.note_exit, daemon=True)
        self.note.start()

    def note_exit(self) -> None:
        """Wait until the process exits, kill its descendants, and write its exit status for the caller."""
        status = self.process.wait()
        self.signal(signal.SIGKILL)  # vLLM's engine would outlive a server that was killed
        self.exit_file.write_text(str(status))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its descendants, even if the process itself has exited."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
            os.killpg(self.process.pid, number)


def stop(children: list[Child]) -> None:
    """Stop every process and its descendants, first with SIGTERM, then with SIGKILL."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for child in children:
        child.note.join(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
    for child in children:
        child.note.join()


def remove(folder: Path) -> None:
    """Remove a folder. Retry, because a process that is being killed may still write into the folder."""
    deadline = time.monotonic() + GRACE
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
