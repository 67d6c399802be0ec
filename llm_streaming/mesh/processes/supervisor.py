"""A script that runs processes until its caller ends, and then ends them.

`ProcessGroup` starts it. It reads one line of JSON from standard input, ``{"home": folder, "processes": [{"name",
"argv", "env"}]}``, starts the processes with `home` as their working directory, and waits for the end of its input. The
input ends when the caller closes the pipe, and also when the caller is killed. Then the script ends every process and
its descendants, and removes `home`. The kernel's parent-death signal, the usual means, would not do: it fires when the
creating *thread* ends, and does not reach grandchildren.

The output of each process is in ``<name>.log`` in `home`. When a process has ended, its exit status is in
``<name>.exit``.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

GRACE = 2.0  # seconds that the processes have to end by themselves


def main() -> None:
    """Run the processes until standard input ends or a signal asks the supervisor to stop."""
    spec = json.loads(sys.stdin.readline())
    home = Path(spec["home"])
    asked, ask = os.pipe()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # The handler raises nothing: an exception could interrupt the start or the end of a process.
        signal.signal(number, lambda *_: os.write(ask, b"."))
    children: list[Child] = []
    try:
        children.extend(Child(home, **process) for process in spec["processes"])
        select.select([sys.stdin, asked], [], [])
    finally:
        stop(children)
        remove(home)


class Child:
    """A process in a group of its own, so that its descendants can be ended with it."""

    def __init__(self, home: Path, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.exit_file = home / f"{name}.exit"
        with (home / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.note = threading.Thread(target=self.note_exit, daemon=True)
        self.note.start()

    def note_exit(self) -> None:
        """Wait for the process's end, end its descendants, and write its exit status for the caller."""
        status = self.process.wait()
        self.signal(signal.SIGKILL)  # vLLM's engine outlives a server that was killed
        self.exit_file.write_text(str(status))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its descendants, also after the process has ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
            os.killpg(self.process.pid, number)


def stop(children: list[Child]) -> None:
    """End every process and its descendants: first SIGTERM, then SIGKILL."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for child in children:
        child.note.join(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
    for child in children:
        child.note.join()


def remove(folder: Path) -> None:
    """Remove a folder, and again if a process that is being killed has written into it."""
    deadline = time.monotonic() + GRACE
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
