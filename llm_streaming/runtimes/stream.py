"""Streams an engine's answer to a client: measured, buffered, and kept alive while the model is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Self

from llm_streaming.protocol.chunks import keep_alive_chunk, merge
from llm_streaming.runtimes.metrics import RequestMetrics

Chunk = dict[str, Any]
CAPACITY = 64
"""Chunks that a buffer holds before the engine has to wait."""


class ChunkBuffer:
    """Reads an engine's chunks ahead of a client, in a task of its own; a context that closes the engine's stream.

    Backpressure: when `CAPACITY` chunks wait, the engine is not read any further until they are taken.

    Batching: chunks that wait together are taken together, so that they can be sent together; no chunk waits for
    others. If the client is so slow that the engine has to wait, texts are also merged: a chunk of 64 tokens costs
    hardly more than a chunk of one.
    """

    def __init__(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        self._chunks = chunks
        self._waiting: list[Chunk] = []
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._taken_before = False

    async def __aenter__(self) -> Self:
        # One task for the whole stream: a task for each chunk took a third of the time of a relay.
        self._reading = asyncio.create_task(self._read())
        self._reading.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._reading

    async def _read(self) -> None:
        async with aclosing(self._chunks):
            async for chunk in self._chunks:
                self._waiting.append(chunk)
                self._changed.set()
                if len(self._waiting) >= CAPACITY:
                    self._room.clear()
                    await self._room.wait()

    async def take(self, within: float | None) -> list[Chunk] | None:
        """Take all chunks that wait, or wait for some.

        Args:
            within: the most seconds to wait; None for no limit.

        Returns:
            The chunks; an empty list if none came in time; None at the end of the stream.

        Raises:
            EngineError: the engine failed; the chunks before that have been taken.
        """
        lags = self._taken_before and len(self._waiting) >= CAPACITY  # it filled up while the last ones were sent
        if not self._waiting and not self._reading.done():
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._changed.wait()
            if not self._changed.is_set():
                return []
        if not self._waiting:
            self._reading.result()
            return None
        taken = merge(self._waiting) if lags else list(self._waiting)
        self._waiting.clear()
        self._room.set()
        self._taken_before = True
        return taken


async def stream_answer(
    chunks: AsyncGenerator[Chunk, None], *, model: str, keep_alive: float, first: Chunk | None = None
) -> AsyncGenerator[list[Chunk], None]:
    """Yield an engine's chunks as they come, those that wait together in one list, and empty ones during silence.

    Clients and proxies cut a silent stream (httpx after 5 s, Envoy after 5 minutes), and SC2's agent notices that a
    client has left only when something is written (contract §2). Closing the generator ends the generation.

    Args:
        chunks: the engine's stream.
        model: the model's name, for the metrics.
        keep_alive: seconds of silence after which an empty chunk is yielded.
        first: a chunk to yield at once. Without it there is no limit to the wait for the engine's first chunk, so that
            a failure before that chunk can still be answered with a status of its own.

    Raises:
        EngineError: the engine failed.
    """
    with RequestMetrics(model) as metrics:
        async with ChunkBuffer(chunks) as buffer:
            last = first
            if first is not None:
                yield [first]
            while (taken := await buffer.take(keep_alive if last else None)) is not None:
                for chunk in taken:
                    metrics.observe(chunk)
                last = taken[-1] if taken else last
                yield taken or [_empty_like(last or {})]


def _empty_like(chunk: Chunk) -> Chunk:
    """An empty chunk of the stream that a chunk belongs to."""
    return keep_alive_chunk(chunk.get("id") or "", chunk.get("model") or "", chunk.get("created") or 0)
