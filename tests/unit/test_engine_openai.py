import asyncio
import logging
from contextlib import aclosing
from typing import Any

import pytest

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.errors import EngineError
from tests.support.provider import CUT, DONE, Provider, Reply, Request, answer, chunk, failed, sse, streamed

KEY = "sk-test-4242424242"
REQUEST = {"messages": [{"role": "user", "content": "Hello!"}]}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def engine_of(provider: Provider, **options: Any) -> OpenAIEngine:
    return OpenAIEngine("gpt-test", base_url=provider.base_url, **{"max_retries": 0, **options})


async def collect(provider: Provider, request: dict[str, Any] = REQUEST) -> list[dict[str, Any]]:
    return [each async for each in engine_of(provider).stream(request)]


def told(error: EngineError) -> tuple[str, int, str, str | None, float | None]:
    return str(error), error.status, error.type, error.code, error.retry_after


async def failure(reply: Reply) -> tuple[str, int, str, str | None, float | None]:
    async with Provider(reply) as provider:
        with pytest.raises(EngineError) as raised:
            await collect(provider)
    return told(raised.value)


async def test_streams_the_providers_chunks() -> None:
    async with Provider(streamed("Hel", "lo 🌱")) as provider:
        assert await collect(provider) == answer("Hel", "lo 🌱")
    assert [(each.path, each.headers["authorization"], each.body) for each in provider.requests] == [
        (
            "/v1/chat/completions",
            f"Bearer {KEY}",
            {**REQUEST, "model": "gpt-test", "stream": True, "stream_options": {"include_usage": True}},
        )
    ]


async def test_pieces_of_any_size_and_split_characters() -> None:
    whole = b"".join(streamed("grüße ", "🌱").steps)
    sizes = (1, 2, 3, 7, 64, 1000)
    cuts = [[whole[i : i + size] for i in range(0, len(whole), size)] for size in sizes]
    async with Provider(*(Reply(pieces) for pieces in cuts)) as provider:
        assert [await collect(provider) for _ in sizes] == [answer("grüße ", "🌱")] * len(sizes)


PRETTY = (
    b'data: {\ndata:   "choices": [\ndata:     {"index": 0, "delta": {}, "finish_reason": "stop"}\ndata:   ]\n'
    b"data: }\n\n"
)
QUIRKS = {
    "no [DONE]": (b"".join(map(sse, answer("a"))), answer("a")),
    "no last line end": (b"".join(map(sse, answer("a"))).rstrip(), answer("a")),
    "CRLF": ((b"".join(map(sse, answer("a"))) + DONE).replace(b"\n", b"\r\n"), answer("a")),
    "keep-alives": (
        b": OPENROUTER PROCESSING\n\n" + sse(chunk({}, "stop")) + b":\n\n" + DONE,
        [chunk({}, "stop")],
    ),
    "null deltas": (
        sse(chunk({"role": "assistant", "content": None, "tool_calls": None})) + sse(chunk({}, "stop")) + DONE,
        [chunk({"role": "assistant", "content": None, "tool_calls": None}), chunk({}, "stop")],
    ),
    "first chunk without choices (Azure)": (
        sse(chunk(prompt_filter_results=[])) + sse(chunk({}, "stop")) + DONE,
        [chunk(prompt_filter_results=[]), chunk({}, "stop")],
    ),
    "usage in the last chunk with choices": (
        sse(chunk({"content": "a"}, "stop", usage=USAGE)) + DONE,
        [chunk({"content": "a"}, "stop", usage=USAGE)],
    ),
    "pretty-printed": (PRETTY + DONE, [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]),
    "spaces": (
        b'data: {"choices": [{"finish_reason": "stop"}]}\n\n' + DONE,
        [{"choices": [{"finish_reason": "stop"}]}],
    ),
    "events after [DONE]": (sse(chunk({}, "stop")) + DONE + sse(chunk({"content": "late"})), [chunk({}, "stop")]),
}


@pytest.mark.parametrize(("body", "expected"), QUIRKS.values(), ids=QUIRKS)
async def test_quirks(body: bytes, expected: list[dict[str, Any]]) -> None:
    async with Provider(Reply([body])) as provider:
        assert await collect(provider) == expected


async def test_parameters_reach_the_provider_as_they_are() -> None:
    request = {**REQUEST, "temperature": 0, "top_k": 5, "tools": [{"type": "custom"}], "stream": False, "model": "mine"}
    async with Provider(streamed("a")) as provider:
        engine = engine_of(provider, default_parameters={"temperature": 1, "max_tokens": 9})
        _ = [each async for each in engine.stream(request)]
    assert provider.requests[0].body == {
        **REQUEST,
        "temperature": 0,
        "top_k": 5,
        "tools": [{"type": "custom"}],
        "max_tokens": 9,
        "model": "gpt-test",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_complete_is_one_call_without_streaming() -> None:
    reply = Reply(
        [b'{\n  "object": "chat.completion",\n  "choices": []\n}\n'], headers={"content-type": "application/json"}
    )
    async with Provider(reply) as provider:
        answered = await engine_of(provider).complete({**REQUEST, "stream": True, "stream_options": {}})
    assert answered == {"object": "chat.completion", "choices": []}
    assert [each.body for each in provider.requests] == [{**REQUEST, "model": "gpt-test"}]


REFUSED = {
    "message": "Too many tokens.",
    "type": "invalid_request_error",
    "code": "context_length_exceeded",
    "param": None,
}
LOST = ("The provider closed the connection before the answer was complete.", 502, "connection_error", None, None)
SHORT = ("The provider ended the stream before the answer was complete.", 502, "server_error", None, None)
GARBAGE = ("The provider sent something that is not a JSON object.", 502, "server_error", None, None)


def malformed(found: str) -> tuple[Any, ...]:
    message = f"The provider sent a malformed answer: expected choices as a list of objects, but got {found}."
    return message, 502, "server_error", None, None


START = sse(chunk({"content": "a"}))
FAILURES = {
    "refused": (
        failed(400, {"error": REFUSED}),
        ("Too many tokens.", 400, "invalid_request_error", "context_length_exceeded", None),
    ),
    "rate limit": (
        failed(429, {"error": {"message": "Slow down.", "type": "requests", "code": None}}, retry_after="1.5"),
        ("Slow down. (Try again after 1.5 s.)", 429, "requests", None, 1.5),
    ),
    "numeric code": (
        failed(402, {"error": {"message": "No credit.", "code": 402}}),
        ("No credit.", 402, "invalid_request_error", None, None),
    ),
    "the key is repeated": (
        failed(401, {"error": {"message": f"Incorrect API key: {KEY}.", "type": "auth", "code": "invalid_api_key"}}),
        ("Incorrect API key: ***.", 401, "auth", "invalid_api_key", None),
    ),
    "no message": (
        failed(500, {"detail": "oops"}),
        ("The provider answered 500 Internal Server Error.", 500, "server_error", None, None),
    ),
    "a page": (Reply([b"<html>"], 502), ("The provider answered 502 Bad Gateway.", 502, "server_error", None, None)),
    "no body": (Reply(status=404), ("The provider answered 404 Not Found.", 404, "invalid_request_error", None, None)),
    "error in the stream": (
        Reply([START, sse({"error": {"message": f"Overloaded {KEY}", "type": "overloaded", "code": "busy"}})]),
        ("Overloaded ***", 500, "overloaded", "busy", None),
    ),
    "error in the stream with a status": (
        Reply([sse({"error": {"message": "Upstream is down", "code": 503}})]),
        ("Upstream is down", 503, "server_error", None, None),
    ),
    "error as a text": (
        Reply([sse({"error": f"{KEY} is out of tokens"})]),
        ("*** is out of tokens", 500, "server_error", None, None),
    ),
    "not JSON": (Reply([START, b"data: {nonsense\n\n", DONE]), GARBAGE),
    "not an object": (Reply([START, b"data: [1]\n\n", DONE]), GARBAGE),
    "half a character": (Reply([START, b'data: {"a":"\xf0\x9f"}\n\n', DONE]), GARBAGE),
    "no finish_reason": (Reply([START, DONE]), SHORT),
    "choices that are no objects": (Reply([sse({"choices": [None]}), DONE]), malformed("[None]")),
    "choices that are no list": (Reply([START, sse({"choices": 1}), DONE]), malformed("1")),
    "nothing": (Reply(), SHORT),
    "a page instead of a stream": (Reply([b"<html></html>"]), SHORT),
    "cut before the first event": (Reply([CUT]), LOST),
    "cut between events": (Reply([START, CUT]), LOST),
    "cut inside an event": (Reply([START, START[:20], CUT]), LOST),
    "cut after the finish_reason": (Reply([sse(chunk({}, "stop")), CUT]), LOST),
}


@pytest.mark.parametrize(("reply", "expected"), FAILURES.values(), ids=FAILURES)
async def test_failures(reply: Reply, expected: tuple[Any, ...]) -> None:
    assert await failure(reply) == expected


async def test_what_came_before_a_failure_is_streamed() -> None:
    async with Provider(Reply([START, CUT])) as provider:
        chunks = engine_of(provider).stream(REQUEST)
        assert await anext(chunks) == chunk({"content": "a"})
        with pytest.raises(EngineError):
            await anext(chunks)


COMPLETE_FAILURES = {
    "refused": (failed(400, {"error": REFUSED}), FAILURES["refused"][1]),
    "error with status 200": (
        failed(200, {"error": {"message": "no", "code": 503}}),
        ("no", 503, "server_error", None, None),
    ),
    "not JSON": (Reply([b"<html>"]), GARBAGE),
    "cut": (Reply([b'{"object":', CUT]), LOST),
}


@pytest.mark.parametrize(("reply", "expected"), COMPLETE_FAILURES.values(), ids=COMPLETE_FAILURES)
async def test_failures_of_complete(reply: Reply, expected: tuple[Any, ...]) -> None:
    async with Provider(reply) as provider:
        with pytest.raises(EngineError) as raised:
            await engine_of(provider).complete(REQUEST)
    assert told(raised.value) == expected


@pytest.mark.parametrize("steps", [[], [START]], ids=["before the first event", "in mid-stream"])
async def test_silence_is_a_timeout(steps: list[bytes]) -> None:
    async with Provider(Reply([*steps, asyncio.Event()])) as provider:
        with pytest.raises(EngineError) as raised:
            _ = [each async for each in engine_of(provider, timeout=0.2).stream(REQUEST)]
    assert told(raised.value) == ("The provider did not answer in time.", 504, "timeout", None, None)


async def test_nobody_listens() -> None:
    async with Provider() as provider:
        address = provider.base_url.removeprefix("http://").removesuffix("/v1")
    engine = OpenAIEngine("gpt-test", base_url=f"http://user:secret@{address}/v1", max_retries=0)
    with pytest.raises(EngineError) as raised:
        await engine.complete(REQUEST)
    message = f"Cannot reach the provider at {address}: check OPENAI_BASE_URL and that the server is running."
    assert told(raised.value) == (message, 502, "connection_error", None, None)


async def test_retries_before_the_first_byte_and_never_after() -> None:
    busy = failed(503, {"error": {"message": "busy"}}, retry_after_ms="1")
    async with Provider(busy, busy, streamed("a"), Reply([START, CUT]), streamed("b")) as provider:
        engine = engine_of(provider, max_retries=2)
        assert [each async for each in engine.stream(REQUEST)] == answer("a")
        with pytest.raises(EngineError):
            _ = [each async for each in engine.stream(REQUEST)]
    assert len(provider.requests) == 4


async def test_without_key_and_address_every_call_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    engine = OpenAIEngine("gpt-test")
    message = "No provider is configured: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own."
    expected = (message, 401, "invalid_request_error", "invalid_api_key", None)
    with pytest.raises(EngineError) as streaming:
        _ = [each async for each in engine.stream(REQUEST)]
    with pytest.raises(EngineError) as completing:
        await engine.complete(REQUEST)
    assert [told(streaming.value), told(completing.value)] == [expected, expected]


async def test_a_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    async with Provider(streamed("a")) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url)
        answered = [each async for each in OpenAIEngine("gpt-test").stream(REQUEST)]
    assert answered == answer("a")
    assert provider.requests[0].headers["authorization"] == "Bearer not-needed"


async def test_credentials_in_the_url_become_a_header() -> None:
    async with Provider(streamed("a")) as provider:
        url = provider.base_url.replace("http://", "http://user:p%40ss@")
        engine = OpenAIEngine("gpt-test", base_url=url)
        assert [each async for each in engine.stream(REQUEST)] == answer("a")
    assert provider.requests[0].headers["authorization"] == "Basic dXNlcjpwQHNz"  # user:p@ss


@pytest.mark.parametrize("url", ["http://host:port/v1", "host:8000/v1", "ftp://host/v1"])
def test_a_base_url_that_is_not_a_url(url: str) -> None:
    with pytest.raises(EngineError) as raised:
        OpenAIEngine("gpt-test", base_url=url)
    assert str(raised.value) == "The base URL is not a URL: write it like http://host:8000/v1."


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Provider(failed(401, {"error": {"message": f"Incorrect API key: {KEY}."}}), streamed("a")) as provider:
        engine = engine_of(provider)
        with pytest.raises(EngineError) as raised:
            await engine.complete(REQUEST)
        _ = [each async for each in engine.stream(REQUEST)]
    ours = "".join(each.getMessage() for each in caplog.records)
    assert KEY not in repr(engine) + repr(raised.value) + repr(raised.value.__cause__) + ours


async def test_closing_the_stream_closes_the_connection() -> None:
    async with Provider(Reply([START, asyncio.Event()])) as provider:
        async with aclosing(engine_of(provider).stream(REQUEST)) as chunks:
            assert await anext(chunks) == chunk({"content": "a"})
        await asyncio.wait_for(provider.requests[0].disconnected.wait(), 60)


@pytest.mark.parametrize("call", ["stream", "complete"])
async def test_cancelling_while_the_provider_is_silent_closes_the_connection(call: str) -> None:
    async with Provider(Reply([asyncio.Event()])) as provider:
        engine = engine_of(provider)
        task = asyncio.create_task(anext(engine.stream(REQUEST)) if call == "stream" else engine.complete(REQUEST))
        request = await provider.request()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(request.disconnected.wait(), 60)


async def test_a_connection_serves_one_stream_after_another() -> None:
    async with Provider(*[streamed("a")] * 5) as provider:
        engine = engine_of(provider)
        for _ in range(5):
            assert [each async for each in engine.stream(REQUEST)] == answer("a")
        await engine.close()
    assert provider.connections == 1


async def test_a_hundred_streams_at_once_get_their_own_tokens() -> None:
    everyone = asyncio.Barrier(100)

    def respond(request: Request) -> Reply:
        name = request.body["messages"][0]["content"]
        return streamed(*(f"{name}.{i} " for i in range(20)))

    async def ask(engine: OpenAIEngine, name: str) -> list[dict[str, Any]]:
        async with aclosing(engine.stream({"messages": [{"role": "user", "content": name}]})) as chunks:
            first = await anext(chunks)
            await everyone.wait()  # nobody goes on before all hundred are streaming
            return [first, *[each async for each in chunks]]

    async with Provider(respond=respond) as provider:
        engine = engine_of(provider)
        answers = await asyncio.gather(*(ask(engine, str(i)) for i in range(100)))
        await engine.close()
    assert answers == [answer(*(f"{i}.{j} " for j in range(20))) for i in range(100)]
