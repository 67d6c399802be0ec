"""What the OpenAI engine bears from a provider that is broken or malicious."""

import asyncio
from typing import Any

import pytest

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.engines.openai.sse import SSEDecoder
from llm_streaming.errors import EngineError
from llm_streaming.protocol.limits import LARGEST_EVENT
from tests.support.provider import Provider, Reply, answer, chunk, failed, sse

REQUEST = {"messages": [{"role": "user", "content": "Hello!"}]}
TOO_LARGE = ("The provider sent an event of more than 4 MB.", 502, "server_error", None, None)
KILOBYTES_64 = b"x" * 65_536
JSON = {"content-type": "application/json"}


async def failure(reply: Reply, mode: str = "stream") -> tuple[Any, ...]:
    async with Provider(reply) as provider:
        engine = OpenAIEngine("gpt-test", base_url=provider.base_url, max_retries=0)
        with pytest.raises(EngineError) as raised:
            _ = [each async for each in engine.stream(REQUEST)] if mode == "stream" else await engine.complete(REQUEST)
        await engine.close()
    error = raised.value
    return str(error), error.status, error.type, error.code, error.retry_after


ENDLESS = {
    "a line": Reply([b"data: ", *[KILOBYTES_64] * 1000]),
    "a comment": Reply([b": ", *[KILOBYTES_64] * 1000]),
    "an event": Reply([b"data: " + KILOBYTES_64 + b"\n"] * 1000),
}


@pytest.mark.parametrize("reply", ENDLESS.values(), ids=ENDLESS)
async def test_an_event_without_end_is_an_error(reply: Reply) -> None:
    assert await failure(reply) == TOO_LARGE


async def test_a_large_event_in_small_pieces_arrives() -> None:
    large = chunk({"content": "y" * 3_900_000}, "stop")
    data = sse(large)
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    async with Provider(Reply(pieces)) as provider:
        engine = OpenAIEngine("gpt-test", base_url=provider.base_url, max_retries=0)
        assert [each async for each in engine.stream(REQUEST)] == [large]
        await engine.close()


def test_the_limit_counts_each_event_by_itself() -> None:
    decoder = SSEDecoder()
    event = b"data: " + b"x" * (LARGEST_EVENT - 6)
    for _ in range(3):
        assert len(decoder.feed(event + b"\n\n")) == 1
    with pytest.raises(EngineError):
        decoder.feed(event + b"x")


async def test_comments_between_events_may_go_on_for_ever() -> None:
    comments = b": waiting\n\n" * (LARGEST_EVENT // 8)
    async with Provider(Reply([comments, *map(sse, answer("a"))])) as provider:
        engine = OpenAIEngine("gpt-test", base_url=provider.base_url, max_retries=0)
        assert [each async for each in engine.stream(REQUEST)] == answer("a")
        await engine.close()


@pytest.mark.parametrize(("status", "mode"), [(200, "complete"), (500, "complete"), (500, "stream")])
async def test_an_answer_or_an_error_without_end_is_an_error(status: int, mode: str) -> None:
    reply = Reply([b'{"error": "', *[KILOBYTES_64] * 1000], status, JSON)
    expected = ("The provider sent an answer of more than 16 MB.", 502, "server_error", None, None)
    assert await failure(reply, mode) == expected


@pytest.mark.parametrize("seconds", ["9" * 400, "9" * 30, "604801"])
async def test_a_nonsensical_retry_after_is_ignored(seconds: str) -> None:
    reply = failed(429, {"error": {"message": "Slow down.", "type": "requests"}}, retry_after=seconds)
    assert await failure(reply) == ("Slow down.", 429, "requests", None, None)


@pytest.mark.parametrize("code", [0, 200, 304, 999, -1, True])
async def test_a_nonsensical_status_in_an_error_becomes_500(code: int) -> None:
    reply = Reply([sse({"error": {"message": "No.", "code": code}})])
    assert await failure(reply) == ("No.", 500, "server_error", None, None)


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "nested 400 deep": (
        chunk({"content": "a"}, x=nested(400)),
        "nested deeper than 100 levels, which is the most that is accepted",
    ),
    "logprobs that are no object": (
        {"choices": [{"index": 0, "logprobs": "x"}]},
        "expected logprobs as an object, but got 'x'",
    ),
    "logprobs that are no lists": (
        {"choices": [{"index": 0, "logprobs": {"content": 5}}]},
        "expected logprobs.content as a list or null, but got 5",
    ),
    "an index that is no number": ({"choices": [{"index": []}]}, "expected index as an integer, but got []"),
}


@pytest.mark.parametrize(("malformed", "message"), MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_chunk_is_an_error_of_the_provider(malformed: dict[str, Any], message: str) -> None:
    expected = (f"The provider sent a malformed answer: {message}.", 502, "server_error", None, None)
    assert await failure(Reply([sse(malformed)])) == expected


async def test_silence_between_pieces_of_a_line_is_a_timeout() -> None:
    async with Provider(Reply([b"data: ", asyncio.Event()])) as provider:
        engine = OpenAIEngine("gpt-test", base_url=provider.base_url, max_retries=0, timeout=0.2)
        with pytest.raises(EngineError, match="did not answer in time"):
            _ = [each async for each in engine.stream(REQUEST)]
        await engine.close()
