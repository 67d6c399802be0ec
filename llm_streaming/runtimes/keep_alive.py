"""Keeping a stream alive while its engine is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import orjson

from llm_streaming.protocol import keep_alive_chunk


async def with_keep_alives(
    chunks: AsyncGenerator[bytes, None], interval: float, empty: bytes
) -> AsyncGenerator[bytes, None]:
    """Yield an engine's chunks, and an empty one after each `interval` seconds without any.

    A silent stream is cut by clients (httpx gives up after 5 s) and proxies (Envoy after 5 minutes), and SC2's agent
    notices that a client has left only when something is written (contract §2). Closing this closes `chunks`.

    Args:
        chunks: OpenAI chat-completion chunks, one JSON object each.
        interval: seconds.
        empty: the empty chunk until the engine's first has told the stream's own id.
    """
    last: bytes | None = None
    async with aclosing(chunks):
        coming = asyncio.ensure_future(anext(chunks))
        try:
            while True:
                await asyncio.wait((coming,), timeout=interval)
                if not coming.done():
                    yield empty_like(last) if last else empty
                    continue
                try:
                    last = coming.result()
                except StopAsyncIteration:
                    return
                yield last
                coming = asyncio.ensure_future(anext(chunks))
        finally:
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


def empty_like(chunk: bytes) -> bytes:
    """An empty chunk of the stream that a chunk is from."""
    found = orjson.loads(chunk)
    return keep_alive_chunk(found["id"], found["model"], found["created"])
