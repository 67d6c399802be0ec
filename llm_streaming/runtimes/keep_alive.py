"""Between an engine and its reader: chunks wait here for the reader, and empty ones keep the stream alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import orjson

from llm_streaming.protocol import keep_alive_chunk, merge

# Chunks that may wait for a reader; then the engine has to wait, and the reader lags behind.
_ROOM = 64


async def with_keep_alives(
    chunks: AsyncGenerator[bytes, None], interval: float, first: bytes, *, joined: bool = True
) -> AsyncGenerator[list[bytes], None]:
    """Yield a first chunk at once, then an engine's as they come, and an empty one after `interval` seconds of nothing.

    Chunks that are there together are yielded together, so that they can be sent in one go. A reader who keeps up gets
    each chunk as it came. For one who lags behind, so that an engine has to wait, texts that wait are joined: a chunk
    of 64 tokens costs hardly more than a chunk of one.

    A silent stream is cut by clients (httpx gives up after 5 s) and proxies (Envoy after 5 minutes), and SC2's agent
    notices that a client has left only when something is written (contract §2). Closing this closes `chunks`.

    Args:
        chunks: OpenAI chat-completion chunks, one JSON object each.
        interval: seconds.
        first: the chunk to begin with; the engine works while it is sent.
        joined: whether several chunks can be sent in one go; else they are yielded one by one.
    """
    waiting: list[bytes] = []
    changed, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with aclosing(chunks):
            async for chunk in chunks:
                waiting.append(chunk)
                changed.set()
                if len(waiting) >= _ROOM:
                    room.clear()
                    await room.wait()

    # One task for the whole stream: one for each chunk, to wait for it with a time-out, took a third of a relay's time.
    reading = asyncio.create_task(read())
    reading.add_done_callback(lambda _: changed.set())
    last, lags = first, False
    try:
        yield [first]
        while waiting or not reading.done():
            if not await _comes(changed, interval):
                yield [_empty_like(last)]
            changed.clear()
            while waiting:
                taken = merge(waiting) if lags else list(waiting)
                waiting.clear()
                room.set()
                for together in [taken] if joined else ([chunk] for chunk in taken):
                    last = together[-1]
                    yield together
                lags = len(waiting) >= _ROOM  # the room has filled up again while they were being sent
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
