"""Ends this process if llama.cpp stalls.

llama.cpp computes all answers in one thread and has no deadline. If the sampling of one answer does not end, nobody
gets an answer any more, even after the sender has left. No call of xllamacpp stops it, so only the process's end helps.
Then the embedded mesh or Kubernetes starts the server again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

_INTERVAL = 1.0  # seconds between two looks
_LATE = 5.0  # a look that is later by so many seconds shows that this process was stopped, so the count starts again
# A stalled llama.cpp uses a whole core. On a busy machine, a healthy one makes long pauses without using any.
_CPU_SHARE = 1 / 3
_WITHOUT_CPU = 10  # after this many times the timeout, a llama.cpp that uses no core is stalled too


class Moment(NamedTuple):
    """A point in time, in seconds: of the clock, and of the CPU time that this process has used."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> Moment:
        """Return the present moment."""
        return cls(time.monotonic(), time.process_time())


class Watchdog:
    """Watches all answers of one engine in a thread of its own, while there are any.

    A sign of life is the start or the end of any call of llama.cpp, and of any callback from it.

    Args:
        timeout: seconds without a sign of life after which llama.cpp is stalled, if it has used CPU time for a third of
            them.
        now: returns the present moment.
        end: ends the process; it is called with one line that says why. By default it kills the process.
    """

    def __init__(
        self,
        timeout: float,
        now: Callable[[], Moment] = Moment.now,
        end: Callable[[str], None] | None = None,
    ) -> None:
        self._timeout = timeout
        self._now = now
        self._end = end or _end_process
        self._lock = threading.Lock()
        self._working: dict[int, tuple[str, ...]] = {}  # for each thread inside llama.cpp its request's parameters
        self._last = self._looked = now()
        self._calls = 0
        self._idle = threading.Event()

    @contextmanager
    def working(self, parameters: Iterable[str]) -> Iterator[None]:
        """Watch this thread, which calls llama.cpp in the context; `parameters` are the names in its request."""
        with self._lock:
            self._sign(tuple(sorted(parameters)))
            self._calls += 1
            if self._calls == 1:
                self._looked, self._idle = self._last, threading.Event()
                threading.Thread(target=self._watch, args=(self._idle,), name="llm-watchdog", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._sign(None)
                self._calls -= 1
                if not self._calls:
                    self._idle.set()

    @contextmanager
    def called_back(self) -> Iterator[None]:
        """Do not count this thread in the context: llama.cpp has called it back, and waits for it."""
        with self._lock:
            parameters = self._sign(None)
        try:
            yield
        finally:
            with self._lock:
                self._sign(parameters)

    def look(self) -> None:
        """End the process if llama.cpp is stalled."""
        with self._lock:
            now = self._now()
            late = now.clock - self._looked.clock > _INTERVAL + _LATE
            self._looked = now
            if late or not self._working:
                self._last = now
                return
            silent, used = now.clock - self._last.clock, now.cpu - self._last.cpu
            spins = silent >= self._timeout and used >= self._timeout * _CPU_SHARE
            if not spins and silent < self._timeout * _WITHOUT_CPU:
                return
            requests = "; ".join(", ".join(names) for names in self._working.values())
        self._end(
            f"llama.cpp has stalled: it made no progress for {silent:.0f} s, with {used:.0f} s of CPU time, while it "
            f"worked on requests with these parameters: {requests}. This server ends now, so that it can be started "
            "again; if the model is only slow, raise stall_timeout in its model-settings.json."
        )

    def _sign(self, parameters: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Note a sign of life, and whether this thread is now inside llama.cpp; return what was noted before."""
        self._last = self._now()
        before = self._working.pop(threading.get_ident(), None)
        if parameters is not None:
            self._working[threading.get_ident()] = parameters
        return before

    def _watch(self, idle: threading.Event) -> None:
        while not idle.wait(_INTERVAL):
            self.look()


def _end_process(line: str) -> None:
    """Write a line to the log and end the process at once: an orderly exit would wait for llama.cpp."""
    os.write(2, f"{line}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
