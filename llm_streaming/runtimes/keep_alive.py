"""Between an engine and its reader: chunks wait here for the reader, and empty ones keep the stream alive."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import orjson

from llm_streaming.protocol import keep_alive_chunk, merge

# Chunks that may wait for a reader who lags behind; then the engine has to wait.
_ROOM = 64


async def with_keep_alives(
    chunks: AsyncGenerator[bytes, None], interval: float, first: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield a first chunk at once and then an engine's, and an empty one after each `interval` seconds without any.

    A reader who keeps up gets each chunk as it came. For one who lags behind, texts that wait are joined.

    A silent stream is cut by clients (httpx gives up after 5 s) and proxies (Envoy after 5 minutes), and SC2's agent
    notices that a client has left only when something is written (contract §2). Closing this closes `chunks`.

    Args:
        chunks: OpenAI chat-completion chunks, one JSON object each.
        interval: seconds.
        first: the chunk to begin with; the engine works while it is sent.
    """
    waiting: deque[bytes] = deque()
    came = 0
    changed, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        nonlocal came
        async with aclosing(chunks):
            async for chunk in chunks:
                waiting.append(chunk)
                came += 1
                changed.set()
                if len(waiting) >= _ROOM:
                    room.clear()
                    await room.wait()

    # One task for the whole stream: one for each chunk, to wait for it with a time-out, took a third of a relay's time.
    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: changed.set())
    last = first
    try:
        yield first
        while waiting or not reading.done():
            if not await _comes(changed, interval):
                yield _empty_like(last)
            changed.clear()
            while waiting:
                last, before = waiting.popleft(), came
                yield last
                if came != before:  # more came while this was being sent, so its reader lags behind
                    waiting.extend(merge([waiting.popleft() for _ in range(len(waiting))]))
                    room.set()
            room.set()
        reading.result()
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading


async def _comes(event: asyncio.Event, within: float) -> bool:
    """Wait for an event; returns whether it came in time."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


def _empty_like(chunk: bytes) -> bytes:
    """An empty chunk of the stream that a chunk is from."""
    found = orjson.loads(chunk)
    return keep_alive_chunk(found.get("id") or "", found.get("model") or "", found.get("created") or 0)
