"""Whom a mesh tells what it does: whoever reads this process's output, unless a call comes from another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Of each thread its own: a mesh may be called by several at once, and each hears of its own call alone.
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=print)


def tell(line: str) -> None:
    """Tell one line, such as kubectl prints."""
    _listener.get()(line)


@contextmanager
def telling(listener: Callable[[str], None]) -> Iterator[None]:
    """Have what is told in this block, by this thread, go to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
