"""From a thread that produces to an event loop that reads, with a bounded number of items in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable

_CAPACITY = 64


class ThreadStream:
    """A thread's items, in order; it starts at once.

    Neither side polls: the thread waits on a semaphore for room, the loop on a queue for items. The thread is a daemon,
    so that it never holds up the process; its owner cancels and joins it before the interpreter goes.

    Args:
        produce: runs in the thread and hands each item to `emit`.
        on_end: called in the loop when the thread has nothing more to do, however that came about.
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
            item: what `read` yields.

        Returns:
            Whether to stop, because nobody reads any more.
        """
        if not self.cancelled:
            self._room.acquire()
        return self.cancelled or not self._in_loop(self._items.put_nowait, item)

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The items.

        Raises:
            Exception: what the thread raised, after the items that came before.
        """
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            self._room.release()
            yield item

    def cancel(self) -> None:
        """Have the thread stop at its next item; from any thread, any number of times."""
        self.cancelled = True
        self._room.release()

    async def wait(self) -> None:
        """Wait until the thread has ended."""
        await self._ended.wait()
        self._thread.join()  # setting the event was its last act, so this never holds up the loop

    def join(self) -> None:
        """Wait for the thread itself, where no loop runs."""
        self._thread.join()

    def _run(self) -> None:
        failure = None
        try:
            self._produce(self)
        except Exception as error:  # noqa: BLE001 - it is raised again, on the reader's side
            failure = error
        self._in_loop(self._finish, failure)

    def _finish(self, failure: Exception | None) -> None:
        self._items.put_nowait(failure)
        self._ended.set()
        self._on_end(self)

    def _in_loop(self, call: Callable[..., None], *args: object) -> bool:
        """Have the loop make a call; False when it is closed and there is nobody left to make it."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True
