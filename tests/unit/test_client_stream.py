"""The streams that clients return are closed at their end, by `close`, by `with`, and by a failure."""

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing

import pytest

from llm_streaming import AsyncChatClient, AsyncGrpcChatClient, ChatClient, GrpcChatClient
from llm_streaming.client.stream import AsyncChatStream, ChatStream
from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent

MESSAGES = [{"role": "user", "content": "Hello!"}]
CLIENTS = pytest.mark.parametrize("client", [ChatClient, AsyncChatClient, GrpcChatClient, AsyncGrpcChatClient])


def event(message: str) -> ChatEvent:
    """Decode a message: the text of an event, ``last`` for the end of an answer, or ``error``."""
    if message == "error":
        raise EngineError("the engine broke", status=503)
    return ChatEvent(message, "stop" if message == "last" else None, None, [], {})


class Connection:
    """Sends messages, and notes whether the stream was closed."""

    def __init__(self, *messages: str | BaseException) -> None:
        self.messages = messages
        self.closed = False

    def stream(self) -> ChatStream:
        return ChatStream("m", self._send(), event)

    def async_stream(self) -> AsyncChatStream:
        async def send() -> AsyncGenerator[str, None]:
            with closing(self._send()) as messages:
                for message in messages:
                    yield message

        return AsyncChatStream("m", send(), event)

    def _send(self) -> Generator[str, None, None]:
        try:
            for message in self.messages:
                if isinstance(message, BaseException):
                    raise message
                yield message
        finally:
            self.closed = True


def test_a_stream_ends_once() -> None:
    connection = Connection("one ", "last")
    stream = connection.stream()
    assert [event.content for event in stream] == ["one ", "last"]
    assert (connection.closed, list(stream)) == (True, [])


def test_a_closed_stream_has_no_more_events() -> None:
    connection = Connection("one ", "last")
    stream = connection.stream()
    assert next(stream).content == "one "
    stream.close()
    stream.close()
    assert (connection.closed, list(stream)) == (True, [])


def test_a_context_closes_the_stream() -> None:
    connection = Connection("one ", "last")
    with connection.stream() as stream:
        next(stream)
        assert not connection.closed
    assert connection.closed


def test_a_stream_that_nothing_refers_to_is_closed() -> None:
    connection = Connection("one ", "last")
    for _ in connection.stream():
        break
    assert connection.closed


@pytest.mark.parametrize("last", ["error", InferenceError("the engine broke", status=503)])
def test_a_failure_has_the_text_so_far_and_ends_the_stream(last: str | InferenceError) -> None:
    connection = Connection("one ", "two", last, "never")
    stream = connection.stream()
    with pytest.raises(InferenceError) as failed:
        list(stream)
    assert (failed.value.message, failed.value.status, failed.value.partial) == ("the engine broke", 503, "one two")
    assert (connection.closed, list(stream)) == (True, [])


def test_an_interrupt_ends_the_stream() -> None:
    connection = Connection("one ", KeyboardInterrupt())
    stream = connection.stream()
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    assert (connection.closed, list(stream)) == (True, [])


async def test_an_asynchronous_stream_ends_once() -> None:
    connection = Connection("one ", "last")
    stream = connection.async_stream()
    assert [event.content async for event in stream] == ["one ", "last"]
    assert (connection.closed, [event async for event in stream]) == (True, [])


@pytest.mark.parametrize("context", [aclosing, lambda stream: stream], ids=["aclosing", "its own"])
async def test_a_context_closes_an_asynchronous_stream(context: type) -> None:
    connection = Connection("one ", "last")
    async with context(connection.async_stream()) as stream:
        assert (await anext(stream)).content == "one "
        assert not connection.closed
    await stream.aclose()
    assert (connection.closed, [event async for event in stream]) == (True, [])


@pytest.mark.parametrize("last", ["error", InferenceError("the engine broke", status=503)])
async def test_an_asynchronous_failure_has_the_text_so_far(last: str | InferenceError) -> None:
    connection = Connection("one ", "two", last, "never")
    stream = connection.async_stream()
    with pytest.raises(InferenceError) as failed:
        [event async for event in stream]
    assert (failed.value.message, failed.value.status, failed.value.partial) == ("the engine broke", 503, "one two")
    assert (connection.closed, [event async for event in stream]) == (True, [])


@CLIENTS
@pytest.mark.parametrize("method", ["stream", "complete"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"messages": [{"role": "wizard"}]},
            "message 0, role: expected system, developer, user, assistant or tool, but got 'wizard'",
        ),
        (
            {"temperature": math.nan},
            "the request cannot be written as JSON: Out of range float values are not JSON compliant",
        ),
        ({"stop": {"a"}}, "the request cannot be written as JSON: Object of type set is not JSON serializable"),
    ],
)
def test_a_request_that_cannot_be_encoded_is_refused_at_once(
    client: type, method: str, arguments: dict[str, object], message: str
) -> None:
    call = getattr(client("127.0.0.1:1"), method)
    with pytest.raises(ProtocolError) as refused:
        call("m", **{"messages": MESSAGES, **arguments})
    assert str(refused.value) == message


@CLIENTS
async def test_a_client_is_not_asked_before_its_stream_is_read(client: type) -> None:
    """No server listens at the address, so a request would fail."""
    stream = client("127.0.0.1:1").stream("m", MESSAGES)
    if isinstance(stream, AsyncChatStream):
        await stream.aclose()
    else:
        stream.close()
