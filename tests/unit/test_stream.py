"""The buffer between an engine and its client, and the chunks that keep a silent stream alive."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from llm_streaming.engines.waits import Waits
from llm_streaming.protocol.chunks import keep_alive_chunk
from llm_streaming.runtimes.stream import CAPACITY, Chunk, stream_answer
from tests.support.provider import chunk

EMPTY = keep_alive_chunk("ours", "m", 1)
TEXTS = [chunk({"content": text}) for text in "abcdef"]
LONG = 3600.0  # seconds; never reached


def answer(
    chunks: AsyncGenerator[Chunk, None], keep_alive: float = LONG, first: Chunk | None = EMPTY
) -> AsyncGenerator[list[Chunk], None]:
    return stream_answer(chunks, Waits(), model="m", keep_alive=keep_alive, first=first)


async def engine(*steps: Any) -> AsyncGenerator[Chunk, None]:
    for step in steps:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
        else:
            yield step


@pytest.mark.parametrize("first", [EMPTY, None])
async def test_a_client_that_keeps_up_gets_each_chunk_as_it_came(first: Chunk | None) -> None:
    found = [one async for one in answer(engine(*TEXTS), first=first)]
    assert found == ([[EMPTY], TEXTS] if first else [TEXTS])


async def test_for_a_client_that_lags_waiting_texts_are_merged() -> None:
    texts = [chunk({"content": str(number % 10)}) for number in range(CAPACITY)]
    more, full = asyncio.Event(), asyncio.Event()

    async def engine_in_two_bursts() -> AsyncGenerator[Chunk, None]:
        yield TEXTS[0]
        await more.wait()
        for number, text in enumerate(texts):
            if number == CAPACITY - 1:
                full.set()
            yield text

    found = []
    async for together in answer(engine_in_two_bursts()):
        found.append(together)
        if together == [TEXTS[0]]:
            more.set()  # while it is being sent, as many others come as may wait
            await full.wait()
    merged_text = "".join(str(number % 10) for number in range(CAPACITY))
    assert found == [[EMPTY], [TEXTS[0]], [chunk({"content": merged_text})]]


async def test_a_client_that_stops_reading_stops_the_engine() -> None:
    given = 0

    async def endless() -> AsyncGenerator[Chunk, None]:
        nonlocal given
        while True:
            given += 1
            yield chunk({"content": "x" * 4096})

    chunks = answer(endless())
    assert (await anext(chunks), given) == ([EMPTY], 0)
    await anext(chunks)
    for _ in range(300):  # turns of the loop in which the engine could go on
        await asyncio.sleep(0)
    assert given == 2 * CAPACITY  # as many are being sent, and as many wait
    await chunks.aclose()


async def test_silence_is_filled_with_the_streams_own_id() -> None:
    silence = asyncio.Event()
    theirs = chunk({"content": "a"}, id="theirs")
    chunks = answer(engine(asyncio.Event()), 0.001)
    assert [await anext(chunks), await anext(chunks)] == [[EMPTY], [EMPTY]]
    await chunks.aclose()
    chunks = answer(engine(theirs, silence), 0.001)
    found = [await anext(chunks) for _ in range(3)]
    assert found == [[EMPTY], [theirs], [keep_alive_chunk("theirs", "fake", 1)]]
    silence.set()
    assert all(together == found[-1] for together in [one async for one in chunks])


async def test_without_a_first_chunk_the_engines_is_awaited_in_silence() -> None:
    begin = asyncio.Event()
    chunks = answer(engine(begin, *TEXTS), 0.001, first=None)
    waiting = asyncio.ensure_future(anext(chunks))
    assert await asyncio.wait([waiting], timeout=0.1) == (set(), {waiting})
    begin.set()
    assert await waiting == TEXTS
    await chunks.aclose()


@pytest.mark.parametrize("failure", [ValueError, TimeoutError])
async def test_an_engines_failure_comes_after_its_chunks(failure: type[Exception]) -> None:
    found = []
    with pytest.raises(failure, match="oops"):  # noqa: PT012 - the failure is what ends the loop
        async for one in answer(engine(*TEXTS[:2], failure("oops"))):
            found.append(one)  # noqa: PERF401 - what came before the failure has to be there
    assert found == [[EMPTY], TEXTS[:2]]


async def test_closing_closes_the_engine() -> None:
    closed = asyncio.Event()

    async def watched() -> AsyncGenerator[Chunk, None]:
        try:
            yield TEXTS[0]
            await asyncio.Event().wait()
        finally:
            closed.set()

    chunks = answer(watched())
    assert [await anext(chunks), await anext(chunks)] == [[EMPTY], [TEXTS[0]]]
    await chunks.aclose()
    assert closed.is_set()
