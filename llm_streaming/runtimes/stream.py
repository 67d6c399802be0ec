"""Streams an engine's answer: measures it, buffers it, and sends empty chunks while the model produces nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Self

from llm_streaming.engines.waits import Waits
from llm_streaming.protocol.chunks import keep_alive_chunk, merge
from llm_streaming.runtimes.metrics import RequestMetrics

Chunk = dict[str, Any]
CAPACITY = 64
"""The number of chunks in a full buffer; while it is full, the engine has to wait."""


class ChunkBuffer:
    """A context manager that reads an engine's chunks ahead, in its own task; leaving it closes the engine's stream.

    Backpressure: while the buffer contains `CAPACITY` chunks, no more chunks are read from the engine.

    Batching: all chunks in the buffer are taken at once, so that they can be sent together; no chunk waits for others.
    If the client is so slow that the buffer fills up, neighbouring texts are also merged, because sending a chunk of 64
    tokens costs hardly more than sending a chunk of one.
    """

    def __init__(self, chunks: AsyncGenerator[Chunk, None]) -> None:
        self._chunks = chunks
        self._waiting: list[Chunk] = []
        self._changed, self._room = asyncio.Event(), asyncio.Event()
        self._taken_before = False

    async def __aenter__(self) -> Self:
        # One task reads the whole stream, because one task for each chunk took a third of a relay's time.
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
        """Remove and return all chunks in the buffer; if the buffer is empty, wait for a chunk.

        Args:
            within: the maximum number of seconds to wait; None means no limit.

        Returns:
            The chunks; an empty list if none arrived in time; None at the end of the stream.

        Raises:
            EngineError: the engine failed, and all chunks before the failure have already been taken.
        """
        lags = self._taken_before and len(self._waiting) >= CAPACITY  # filled up since the last take
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
    chunks: AsyncGenerator[Chunk, None],
    waits: Waits,
    *,
    model: str,
    keep_alive: float,
    first: Chunk | None = None,
) -> AsyncGenerator[list[Chunk], None]:
    """Yield lists of an engine's chunks: all that are ready, or one empty chunk if the engine has been silent.

    The empty chunks are needed because clients and proxies cut a silent stream (httpx after 5 s, Envoy after 5
    minutes), and because SC2's agent has to write to notice that a client has disconnected (contract §2). Closing the
    generator stops the engine's generation.

    Args:
        chunks: the engine's stream.
        waits: ends the stream when the model is unloaded.
        model: the model's name, for the metrics.
        keep_alive: seconds of silence after which an empty chunk is yielded.
        first: a chunk to yield immediately. Without it, no empty chunk is yielded before the engine's first chunk, so
            that a failure before the first chunk can still be answered with an HTTP status that fits the failure.

    Raises:
        EngineError: the engine failed, or the model was unloaded.
    """
    with RequestMetrics(model) as metrics:
        async with ChunkBuffer(chunks) as buffer:
            last = first
            if first is not None:
                yield [first]
            while True:
                with waits:
                    taken = await buffer.take(keep_alive if last else None)
                if taken is None:
                    return
                for chunk in taken:
                    metrics.observe(chunk)
                last = taken[-1] if taken else last
                yield taken or [_empty_like(last or {})]


def _empty_like(chunk: Chunk) -> Chunk:
    """Build an empty chunk for the stream to which ``chunk`` belongs."""
    return keep_alive_chunk(chunk.get("id") or "", chunk.get("model") or "", chunk.get("created") or 0)
