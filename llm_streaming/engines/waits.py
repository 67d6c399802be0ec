"""Ends calls that wait for an engine or for a provider, when the engine is closed."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from llm_streaming.errors import EngineError


class Waits:
    """A context manager around each ``await`` of a call, which `end` interrupts with an error.

    Closing aiohttp's client wakes none of the tasks that read a response from it, so these tasks have to be cancelled.
    Never enter this context around a ``yield``: the task that iterates a generator may then be somewhere else. A call
    that is between two waits raises the error when it enters the next one.
    """

    def __init__(self) -> None:
        self._error: EngineError | None = None
        self._waiting: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()

    def end(self, error: EngineError) -> None:
        """Make all waits raise the error, from now on. Call this in the event loop of the waits."""
        self._error = error
        for task in self._waiting - self._ended:
            self._ended.add(task)
            task.cancel()

    def __enter__(self) -> Self:
        if self._error:
            raise self._error.with_traceback(None)  # each call raises the same error
        self._waiting.add(_this_task())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task = _this_task()
        self._waiting.discard(task)
        if task in self._ended:
            self._ended.discard(task)
            others_cancel = task.uncancel() > 0  # someone else cancels the same task, which must then stay cancelled
            if self._error and exception and not others_cancel:
                raise self._error.with_traceback(None) from None


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("Waits needs a running task")
    return task
