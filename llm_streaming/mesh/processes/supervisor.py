"""A script that runs processes until its caller ends, and then stops them.

`ProcessGroup` starts the script. The script reads one line of JSON from standard input, ``{"home": folder, "processes":
[{"name", "argv", "env"}]}``, starts the processes with `home` as their working directory, and waits for the end of its
input. The input ends when the caller closes the pipe or is killed. Then the script stops every process and its
descendants, and removes `home`. The usual method, the kernel's parent-death signal, does not work here: the kernel
sends this signal when the creating *thread* ends, and sends it only to child processes, not to their descendants.

Any further line of input asks the script to start each process again that exits from now on, until processes have
exited `MAX_EXITS` times within `PERIOD` seconds. For each exit the script writes a line of JSON to standard output,
``{"name", "status", "last_lines", "restarted"}``. In `home`, ``<name>.log`` contains the output of a process.

If the script itself is killed, its guard stops the processes and removes `home`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

GRACE = 2.0  # seconds in which the processes may stop by themselves
MAX_EXITS, PERIOD = 3, 60.0  # after so many exits within so many seconds, no process is started again
OPEN_FILES = 10_240  # that each process may have, connections included; many systems' default is 1,024 or 256
_REMOVAL_TIMEOUT = 60.0  # seconds; milliseconds are usual

Events = queue.SimpleQueue["str | Child"]
_STOP, _RESTART = "stop", "restart"  # the other events are children that have exited
_MAX_QUOTED = 10_000  # bytes of the log in which the last lines are looked for


def main() -> None:
    """Run the processes until standard input ends or a signal asks the supervisor to stop."""
    # Without a buffer: it could keep the next line from `read_input`, which would lock it when the script ends.
    with open(0, "rb", buffering=0, closefd=False) as unbuffered:
        spec = json.loads(unbuffered.readline())
    home = Path(spec["home"])
    events: Events = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        # The handler raises no exception, because that could interrupt starting or stopping a process.
        signal.signal(number, lambda *_: events.put(_STOP))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most_open_files()), hard))
    threading.Thread(target=read_input, args=(events,), daemon=True).start()
    children: dict[str, Child] = {}
    guard = Guard(home)
    try:
        for process in spec["processes"]:
            children[process["name"]] = Child(home, events, **process)
            guard.watch(children.values())
        run(children, events, guard)
    finally:
        stop(children.values())
        remove(home)
        guard.dismiss()


def run(children: dict[str, Child], events: Events, guard: Guard) -> None:
    """Report each exit and, once restarts were asked for, start the process again, until the script has to stop."""
    restarts = False
    exits: deque[float] = deque(maxlen=MAX_EXITS)
    while (event := events.get()) != _STOP:
        if isinstance(event, str):
            restarts = True
            continue
        exits.append(time.monotonic())
        too_many = len(exits) == MAX_EXITS and exits[-1] - exits[0] < PERIOD
        exited = children.pop(event.name)
        last_lines, restarted = exited.last_lines(), restarts and not too_many
        if restarted:
            try:
                children[exited.name] = exited.start_again()
            except OSError as error:
                last_lines, restarted = f"{last_lines}\nit cannot be started again: {error}", False
        guard.watch(children.values())
        report(name=exited.name, status=exited.process.returncode, last_lines=last_lines, restarted=restarted)


def read_input(events: Events) -> None:
    """Pass on the caller's request for restarts, and the end of the input."""
    while os.read(0, 1024):
        events.put(_RESTART)
    events.put(_STOP)


def report(**event: object) -> None:
    """Write an event for the caller."""
    with contextlib.suppress(BrokenPipeError):  # the caller was killed, and the input ends too
        os.write(1, json.dumps(event).encode() + b"\n")


def most_open_files() -> int:
    """Return the number of files that each process may have open: `OPEN_FILES`, if the system allows so many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)


class Child:
    """A process in its own process group, so that its descendants can be stopped with it.

    When the process has exited, the child is put into `events`.
    """

    def __init__(self, home: Path, events: Events, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.name = name
        self._home, self._events, self._argv, self._env = home, events, argv, env
        self._log = home / f"{name}.log"
        with self._log.open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self.process = subprocess.Popen(
                argv, env=env, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.waiting = threading.Thread(target=self._wait, daemon=True)
        self.waiting.start()

    def start_again(self) -> Child:
        """Start the process again. It continues the log of this one, after a line that says that this one exited."""
        note = f"--- {self.name} exited with status {self.process.returncode} and is started again ---\n"
        with contextlib.suppress(OSError), self._log.open("ab") as log:  # a full disk must not prevent the start
            log.write(note.encode())
        return Child(self._home, self._events, self.name, self._argv, self._env)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its descendants, even if the process itself has exited."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
            os.killpg(self.process.pid, number)

    def last_lines(self) -> str:
        """Return the last ten lines that the process and its descendants have printed."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _MAX_QUOTED))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-10:])

    def _wait(self) -> None:
        self.process.wait()
        self.signal(signal.SIGKILL)  # vLLM's engine would outlive a server that was killed
        self._events.put(self)


class Guard:
    """A shell that stops the processes and removes `home` if the supervisor is killed.

    Only the supervisor has the other end of the shell's input, so the input ends with the supervisor. Each line is the
    list of process groups to kill, or ``done``.
    """

    # `kill -KILL -- -1234` is an error in dash, `kill -s KILL` is not.
    _SCRIPT = """
        while read -r line; do groups=$line; done
        if [ "$groups" != done ]; then [ -z "$groups" ] || kill -s KILL -- $groups; rm -rf -- "$0"; fi
    """

    def __init__(self, home: Path) -> None:
        shells_end, self._input = os.pipe()
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", self._SCRIPT, str(home)],
            stdin=shells_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
            cwd="/",
            start_new_session=True,
        )
        os.close(shells_end)

    def watch(self, children: Iterable[Child]) -> None:
        """Tell the shell which processes to stop."""
        self._write(" ".join(f"-{child.process.pid}" for child in children))

    def dismiss(self) -> None:
        """End the shell, because nothing is left to stop."""
        self._write("done")
        os.close(self._input)
        self._shell.wait()

    def _write(self, line: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the shell was killed
            os.write(self._input, f"{line}\n".encode())


def stop(children: Iterable[Child]) -> None:
    """Stop every process and its descendants, first with SIGTERM, then with SIGKILL."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for child in children:
        child.waiting.join(max(0.0, deadline - time.monotonic()))
        child.signal(signal.SIGKILL)
    for child in children:
        child.waiting.join()


def remove(folder: Path) -> None:
    """Remove a folder. Retry, because a process that is being killed may still write into the folder."""
    deadline = time.monotonic() + _REMOVAL_TIMEOUT
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
