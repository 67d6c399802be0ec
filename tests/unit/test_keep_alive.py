"""What waits between an engine and its reader."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from llm_streaming.protocol import keep_alive_chunk
from llm_streaming.runtimes import keep_alive
from llm_streaming.runtimes.keep_alive import with_keep_alives
from tests.support.provider import chunk, line

EMPTY = keep_alive_chunk("ours", "m", 1)
TEXTS = [line(chunk({"content": text})) for text in "abcdef"]
LONG = 3600.0  # seconds; never reached


async def engine(*steps: bytes | asyncio.Event | Exception) -> AsyncGenerator[bytes, None]:
    for step in steps:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
        else:
            yield step


async def test_a_reader_who_keeps_up_gets_each_chunk_as_it_came() -> None:
    together = [one async for one in with_keep_alives(engine(*TEXTS), LONG, EMPTY)]
    one_by_one = [one async for one in with_keep_alives(engine(*TEXTS), LONG, EMPTY, joined=False)]
    assert (together, one_by_one) == ([[EMPTY], TEXTS], [[EMPTY], *([text] for text in TEXTS)])


@pytest.mark.parametrize("joined", [True, False])
async def test_for_a_reader_who_lags_waiting_texts_are_joined(joined: bool) -> None:
    room = keep_alive._ROOM
    texts = [line(chunk({"content": str(number % 10)})) for number in range(room)]
    more, full = asyncio.Event(), asyncio.Event()

    async def engine_in_two_bursts() -> AsyncGenerator[bytes, None]:
        yield TEXTS[0]
        await more.wait()
        for number, text in enumerate(texts):
            if number == room - 1:
                full.set()
            yield text

    found = []
    async for together in with_keep_alives(engine_in_two_bursts(), LONG, EMPTY, joined=joined):
        found.append(together)
        if together == [TEXTS[0]]:
            more.set()  # while it is being sent, as many others come as may wait
            await full.wait()
    joined_text = "".join(str(number % 10) for number in range(room))
    assert found == [[EMPTY], [TEXTS[0]], [line(chunk({"content": joined_text}))]]


async def test_a_reader_who_stops_stops_the_engine() -> None:
    given = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal given
        while True:
            given += 1
            yield line(chunk({"content": "x" * 4096}))

    chunks = with_keep_alives(endless(), LONG, EMPTY)
    assert (await anext(chunks), given) == ([EMPTY], 0)
    await anext(chunks)
    for _ in range(300):  # turns of the loop in which the engine could go on
        await asyncio.sleep(0)
    assert given == 2 * keep_alive._ROOM  # as many are being sent, and as many wait
    await chunks.aclose()


async def test_silence_is_filled_with_the_streams_own_id() -> None:
    silence = asyncio.Event()
    theirs = line(chunk({"content": "a"}, id="theirs"))
    chunks = with_keep_alives(engine(asyncio.Event()), 0.001, EMPTY)
    assert [await anext(chunks), await anext(chunks)] == [[EMPTY], [EMPTY]]
    await chunks.aclose()
    chunks = with_keep_alives(engine(theirs, silence), 0.001, EMPTY)
    found = [await anext(chunks) for _ in range(3)]
    assert found == [[EMPTY], [theirs], [keep_alive_chunk("theirs", "fake", 1)]]
    silence.set()
    assert {chunk for together in [one async for one in chunks] for chunk in together} <= set(found[-1])


async def test_an_engines_failure_comes_after_its_chunks() -> None:
    found = []
    with pytest.raises(ValueError, match="oops"):  # noqa: PT012 - the failure is what ends the loop
        async for one in with_keep_alives(engine(*TEXTS[:2], ValueError("oops")), LONG, EMPTY):
            found.append(one)  # noqa: PERF401 - what came before the failure has to be there
    assert found == [[EMPTY], TEXTS[:2]]


async def test_closing_closes_the_engine() -> None:
    closed = asyncio.Event()

    async def watched() -> AsyncGenerator[bytes, None]:
        try:
            yield TEXTS[0]
            await asyncio.Event().wait()
        finally:
            closed.set()

    chunks = with_keep_alives(watched(), LONG, EMPTY)
    assert [await anext(chunks), await anext(chunks)] == [[EMPTY], [TEXTS[0]]]
    await chunks.aclose()
    assert closed.is_set()
