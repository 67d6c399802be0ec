"""Keeping a stream alive while its engine is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson

from llm_streaming.protocol import keep_alive_chunk


async def with_keep_alives(
    chunks: AsyncGenerator[bytes, None], interval: float, stream_id: str, model: str, created: int
) -> AsyncGenerator[bytes, None]:
    """Yield an engine's chunks, an empty one at once, and another after each `interval` seconds without any.

    A silent stream is cut by clients (httpx gives up after 5 s) and proxies (Envoy after 5 minutes), and SC2's agent
    notices that a client has left only when something is written (contract §2). Empty chunks carry the stream's own id
    as soon as the engine has told it, and `stream_id` before. Closing this closes `chunks`.

    Args:
        chunks: OpenAI chat-completion chunks, one JSON object each.
        interval: seconds.
        stream_id: id of chunks before the engine's first.
        model: the model's name in them.
        created: Unix time in seconds in them.
    """
    yield keep_alive_chunk(stream_id, model, created)
    last: bytes | None = None
    async with aclosing(chunks):
        coming = asyncio.ensure_future(anext(chunks))
        try:
            while True:
                await asyncio.wait((coming,), timeout=interval)
                if not coming.done():
                    yield keep_alive_chunk(*_identity(last)) if last else keep_alive_chunk(stream_id, model, created)
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


def _identity(chunk: bytes) -> tuple[str, str, int]:
    found: dict[str, Any] = orjson.loads(chunk)
    return found["id"], found["model"], found["created"]
