"""Passes items from a thread to an event loop, with a bounded number of items in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

_CAPACITY = 64


class ThreadStream:
    """The items of a thread, in order; the thread starts at once.

    Neither side polls: the thread waits on a semaphore for room, the loop on a queue for items. The thread is a daemon,
    so that it never delays the end of the process; its owner cancels and joins it before the interpreter exits.

    Args:
        produce: runs in the thread and hands each item to `emit`.
        on_end: called in the loop when the thread has ended, whether it succeeded, failed or was cancelled.
    """

    def __init__(self, produce: Callable[[ThreadStream], None], on_end: Callable[[ThreadStream], None]) -> None:
        self.cancelled = False
        self._produce = produce
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(_CAPACITY)
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="llm-stream", daemon=True)
        self._thread.start()

    def emit(self, item: bytes) -> bool:
        """Hand over one item, from the thread; waits while the reader is too far behind.

        Args:
            item: the item that `read` will yield.

        Returns:
            Whether to stop, because the stream has been cancelled.
        """
        if not self.cancelled:
            self._room.acquire()
        return self.cancelled or not self._in_loop(self._items.put_nowait, item)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """Yield the items.

        Raises:
            Exception: the exception of the thread, after the items that came before it.
        """
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            self._room.release()
            yield item

    def cancel(self) -> None:
        """Stop the thread at its next item; callable from any thread, any number of times."""
        self.cancelled = True
        self._room.release()

    async def wait(self) -> None:
        """Wait until the thread has ended."""
        await self._ended.wait()
        self._thread.join()  # it sets the event as its last act, so this does not block the loop

    def join(self) -> None:
        """Wait for the thread to end, where no loop runs."""
        self._thread.join()

    def _run(self) -> None:
        failure = None
        try:
            self._produce(self)
        except Exception as error:  # noqa: BLE001 - `read` raises it again
            failure = error
        self._in_loop(self._finish, failure)

    def _finish(self, failure: Exception | None) -> None:
        self._items.put_nowait(failure)
        self._ended.set()
        self._on_end(self)

    def _in_loop(self, call: Callable[..., None], *args: object) -> bool:
        """Schedule a call in the loop; False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True
