"""Closing the OpenAI engine ends its calls at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.engines.waits import Waits
from llm_streaming.errors import EngineError
from tests.support.provider import Provider, Reply, chunk, failed, sse

REQUEST = {"messages": [{"role": "user", "content": "Hello!"}]}
START = sse(chunk({"content": "a"}))
UNLOADED = ("The model has been unloaded: load it again.", 503, "server_error", "model_unloaded")
SECONDS = 60  # never reached


async def outcome(call: Any) -> Any:
    """What a call gives, or the parts of its error."""
    try:
        async with asyncio.timeout(SECONDS):
            return await call
    except EngineError as error:
        return str(error), error.status, error.type, error.code


@asynccontextmanager
async def open_engine(reply: Reply, **options: Any) -> AsyncIterator[tuple[Provider, OpenAIEngine]]:
    async with Provider(reply) as provider:
        yield provider, OpenAIEngine("gpt-test", base_url=provider.base_url, **{"max_retries": 0, **options})


async def first(engine: OpenAIEngine) -> Any:
    return await anext(engine.stream(REQUEST))


async def second(engine: OpenAIEngine) -> Any:
    chunks = engine.stream(REQUEST)
    await anext(chunks)
    return await anext(chunks)


async def whole(engine: OpenAIEngine) -> Any:
    return await engine.complete(REQUEST)


CALLS: dict[str, tuple[Callable[[OpenAIEngine], Any], list[bytes]]] = {
    "a stream before its first chunk": (first, []),
    "a stream after its first chunk": (second, [START]),
    "a whole answer before its first byte": (whole, []),
    "a whole answer in the middle": (whole, [b'{"id":']),
}


@pytest.mark.parametrize(("call", "before"), CALLS.values(), ids=CALLS)
async def test_calls_that_wait_end_at_once(call: Callable[[OpenAIEngine], Any], before: list[bytes]) -> None:
    async with open_engine(Reply([*before, asyncio.Event()])) as (provider, engine):
        waiting = asyncio.create_task(outcome(call(engine)))
        request = await provider.request()
        await asyncio.sleep(0.1)  # lets the bytes before the silence arrive; without them, the result is the same
        await engine.close()
        assert await waiting == UNLOADED
        await asyncio.wait_for(request.disconnected.wait(), SECONDS)


async def test_a_call_between_two_tries_ends() -> None:
    busy = failed(503, {"error": {"message": "busy"}}, retry_after="50")
    async with open_engine(busy, max_retries=2) as (provider, engine):
        waiting = asyncio.create_task(outcome(whole(engine)))
        await provider.request()
        await asyncio.sleep(0.1)
        await engine.close()
        assert await waiting == UNLOADED


async def test_a_reader_that_comes_back_late_is_told() -> None:
    async with open_engine(Reply([START, asyncio.Event()])) as (_, engine):
        chunks = engine.stream(REQUEST)
        assert await anext(chunks) == chunk({"content": "a"})
        await engine.close()
        assert await outcome(anext(chunks)) == UNLOADED


async def test_later_calls_are_refused() -> None:
    async with open_engine(Reply()) as (_, engine):
        await engine.close()
        assert [await outcome(first(engine)), await outcome(whole(engine))] == [UNLOADED, UNLOADED]


async def test_a_task_that_others_cancel_too_stays_cancelled() -> None:
    waits = Waits()

    async def wait() -> None:
        with waits:
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waits.end(EngineError("ended"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_task_that_was_ended_can_wait_again() -> None:
    ended, other = Waits(), Waits()
    asyncio.get_running_loop().call_soon(ended.end, EngineError("ended"))
    with pytest.raises(EngineError, match="ended"), ended:
        await asyncio.Event().wait()
    with other:
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
