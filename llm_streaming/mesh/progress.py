"""Routes progress messages to standard output, or to another listener such as the remote caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Each thread has its own listener: several callers may use a mesh at once, and each gets the messages of its own call.
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=print)


def report(line: str) -> None:
    """Send one line, such as kubectl prints, to this thread's listener."""
    _listener.get()(line)


@contextmanager
def reporting_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Send what this thread reports in the block to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
