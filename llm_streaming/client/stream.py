"""Streams of events, as the clients return them, and the reading of what arrives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any, Self, TypeVar

from llm_streaming.client.errors import reported_error
from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion, decode_completion

T = TypeVar("T", str, bytes)


class StreamReader:
    """Decodes the messages of one stream, and keeps the text of its events.

    Args:
        model: the model's name.
        decode: turns a message of the transport into an event; raises EngineError or ProtocolError.
    """

    def __init__(self, model: str, decode: Callable[[Any], ChatEvent]) -> None:
        self._model = model
        self._decode = decode
        self._texts: list[str] = []
        self._finished = False

    @property
    def partial(self) -> str:
        """The text that has arrived."""
        return "".join(self._texts)

    def read(self, message: str | bytes) -> ChatEvent:
        """Decode one message.

        Raises:
            InferenceError: the message reports an error, or is malformed.
        """
        try:
            event = self._decode(message)
        except (EngineError, ProtocolError) as error:
            raise reported_error(error) from None
        self._texts.append(event.content)
        if event.finish_reason is not None:
            self._finished = True
        return event

    def check_finished(self) -> None:
        """Check, after the last message, that the answer is complete.

        Raises:
            InferenceError: no event had a finish_reason, so the stream was cut on the way.
        """
        if not self._finished:
            raise InferenceError(
                f"the stream of model '{self._model}' ended without a finish_reason: the answer is not complete"
            )


class ChatStream(Iterator[ChatEvent]):
    """The events of one answer, as `ChatClient.stream` and `GrpcChatClient.stream` return them.

    Closing the stream cancels the generation. It is also a context manager, which closes it at the end.

    Example:
        >>> with client.stream(model, messages) as events:  # doctest: +SKIP
        ...     print(next(events).content)
    """

    def __init__(self, messages: Generator[str | bytes, None, None], reader: StreamReader) -> None:
        self._messages = messages
        self._reader = reader
        self._closed = False

    def __next__(self) -> ChatEvent:
        if self._closed:
            raise StopIteration
        try:
            message = next(self._messages, None)
            if message is not None:
                return self._reader.read(message)
            self.close()
            self._reader.check_finished()
        except BaseException as error:
            self.close()
            if isinstance(error, InferenceError):
                error.partial = self._reader.partial
            raise
        raise StopIteration

    def close(self) -> None:
        """Cancel the generation if it still runs; there are no more events."""
        self._closed = True
        self._messages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncChatStream(AsyncIterator[ChatEvent]):
    """The events of one answer, as `AsyncChatClient.stream` and `AsyncGrpcChatClient.stream` return them.

    Closing the stream cancels the generation. It is also an asynchronous context manager, which closes it at the end.
    """

    def __init__(self, messages: AsyncGenerator[str | bytes, None], reader: StreamReader) -> None:
        self._messages = messages
        self._reader = reader
        self._closed = False

    async def __anext__(self) -> ChatEvent:
        if self._closed:
            raise StopAsyncIteration
        try:
            message = await anext(self._messages, None)
            if message is not None:
                return self._reader.read(message)
            await self.aclose()
            self._reader.check_finished()
        except BaseException as error:
            await self.aclose()
            if isinstance(error, InferenceError):
                error.partial = self._reader.partial
            raise
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the generation if it still runs; there are no more events."""
        self._closed = True
        await self._messages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


def read_completion(data: T, parse: Callable[[T], Mapping[str, Any]]) -> Completion:
    """Read the answer of a unary call.

    Args:
        data: the answer, as the transport delivers it.
        parse: turns it into the protocol's JSON; raises ProtocolError.

    Raises:
        InferenceError: the answer reports an error, or is malformed.
    """
    try:
        return decode_completion(parse(data))
    except (EngineError, ProtocolError) as error:
        raise reported_error(error, status=200) from None
