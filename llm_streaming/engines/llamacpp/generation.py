"""Generates an answer with llama.cpp on a thread of its own, and passes its chunks to the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

import orjson
import xllamacpp

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.llamacpp.watchdog import Watchdog
from llm_streaming.errors import EngineError

# `return_progress` adds chunks while the prompt is processed: llama.cpp can be cancelled only when it emits a chunk.
_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
_CAPACITY = 64  # the most chunks that a generation may be ahead of its reader
_STOP_SECONDS = 5.0  # the longest wait for running generations; a stalled one never ends


class Generation:
    """An answer that llama.cpp generates on a thread, for a reader in the event loop; the thread starts at once.

    Neither side polls: the thread waits on a semaphore while the reader is too far behind, and the reader on a queue.
    The thread is a daemon, so that it never delays the process's exit; the engine joins it when the interpreter exits.
    `on_end` is called in the loop when the thread ends, whether the generation succeeded, failed or was cancelled.
    """

    def __init__(
        self,
        server: xllamacpp.Server,
        body: dict[str, Any],
        watchdog: Watchdog,
        on_end: Callable[[Generation], None],
    ) -> None:
        self.ended = asyncio.Event()
        self.thread = threading.Thread(target=self._run, args=(server, body), name="llm-stream", daemon=True)
        self._on_end = on_end
        self._watchdog = watchdog
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_CAPACITY)
        self.thread.start()

    async def read(self) -> bytes | None:
        """Return the next chunk, or None after the last; raise `EngineError` if llama.cpp refuses the request."""
        chunk = await self._chunks.get()
        if isinstance(chunk, EngineError):
            raise chunk
        self._room.release()
        return chunk

    def cancel(self) -> None:
        """Stop the thread at its next chunk. Any thread may call this, any number of times."""
        self._cancelled = True
        self._room.release()

    async def wait(self) -> None:
        """Wait until the thread has ended, but not for ever: the thread of a stalled generation stays in llama.cpp."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), _STOP_SECONDS)
            self.thread.join()  # setting the event was the thread's last act, so this does not block the loop

    def fail(self, failure: EngineError) -> None:
        """Let the reader fail once it has read the chunks that have arrived, whatever the thread does."""
        self._chunks.put_nowait(failure)

    def _run(self, server: xllamacpp.Server, body: dict[str, Any]) -> None:
        failure = None
        try:
            with self._watchdog.working(body):
                server.handle_chat_completions(orjson.dumps(body | _ALWAYS), self._emit)
        # llama.cpp raises the first two for malformed requests only, and orjson the third.
        except (ValueError, RuntimeError, TypeError) as error:
            failure = bad_request(f"llama.cpp refused the request: {str(error).removesuffix('.')}.")
        finally:
            self._in_loop(self._finish, failure)

    def _emit(self, chunk: bytes) -> bool:
        """Pass a chunk to the loop, and return whether llama.cpp must stop."""
        with self._watchdog.called_back():
            if not self._cancelled:
                self._room.acquire()
        return self._cancelled or not self._in_loop(self._chunks.put_nowait, chunk)

    def _finish(self, failure: EngineError | None) -> None:
        self._chunks.put_nowait(failure)
        self.ended.set()
        self._on_end(self)

    def _in_loop(self, call: Callable[..., None], *args: object) -> bool:
        """Schedule a call in the loop, and return whether that was possible: False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True


def stop(running: Collection[Generation]) -> None:
    """Cancel generations and wait for their threads, but not for ever."""
    generations, deadline = list(running), time.monotonic() + _STOP_SECONDS
    for generation in generations:
        generation.cancel()
    for generation in generations:
        generation.thread.join(max(0.0, deadline - time.monotonic()))
