"""A process that keeps others for as long as its caller lives, and ends them with it.

Run as a script of its own by `ProcessGroup`. It reads one line of JSON on standard input, ``{"home":
folder, "processes": [{"name", "argv", "env"}]}``, starts them with `home` as their working directory, and waits for
the end of its input. That comes when the caller closes the pipe and also when the caller is killed, from whichever
thread it had opened the pipe: the kernel's parent-death signal, the usual means, fires when the creating *thread* ends
and does not reach grandchildren. Then it ends every process with all that it started, and removes `home`.

Beside each process's output, ``<name>.log``, stands ``<name>.exit`` with its exit status once it has ended.
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

# Seconds the processes have to end by themselves.
GRACE = 2.0


def main() -> None:
    """Keep the processes until standard input ends or the supervisor is asked to stop."""
    spec = json.loads(sys.stdin.readline())
    home = Path(spec["home"])
    asked, ask = os.pipe()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # Noted and not raised: an exception could come in the middle of starting a process, or of ending them.
        signal.signal(number, lambda *_: os.write(ask, b"."))
    kept: list[Kept] = []
    try:
        kept.extend(Kept(home, **process) for process in spec["processes"])
        select.select([sys.stdin, asked], [], [])
    finally:
        stop(kept)
        remove(home)


class Kept:
    """A process in a group of its own, so that what it starts can be ended with it."""

    def __init__(self, home: Path, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.exit_file = home / f"{name}.exit"
        with (home / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.note = threading.Thread(target=self.note_exit, daemon=True)
        self.note.start()

    def note_exit(self) -> None:
        """Wait for the process's end, end what it left behind, and write its status where the caller looks for it."""
        status = self.process.wait()
        self.signal(signal.SIGKILL)  # vLLM's engine outlives a server that was killed
        self.exit_file.write_text(str(status))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that it started, also when it has ended itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(self.process.pid, number)


def stop(kept: list[Kept]) -> None:
    """End every process: first by asking, then by force, so that nothing is left behind."""
    for one in kept:
        one.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for one in kept:
        one.note.join(max(0.0, deadline - time.monotonic()))
        one.signal(signal.SIGKILL)
    for one in kept:
        one.note.join()


def remove(folder: Path) -> None:
    """Remove a folder, again where what a process left behind has written into it while it died."""
    deadline = time.monotonic() + GRACE
    shutil.rmtree(folder, ignore_errors=True)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
