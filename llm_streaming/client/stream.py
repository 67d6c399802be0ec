"""The streams of events that the clients return, and the reading of whole answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from llm_streaming.client.errors import reported_error
from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion, decode_completion

DataT = TypeVar("DataT", str, bytes)
MessagesT = TypeVar("MessagesT")


class _EventReader(Generic[MessagesT]):
    """Decodes the messages of one stream, and keeps the text of its events.

    Args:
        model: the model's name.
        messages: the messages, as the transport delivers them; it raises InferenceError when the call fails.
        decode: turns a message into an event; raises EngineError or ProtocolError.
    """

    def __init__(self, model: str, messages: MessagesT, decode: Callable[[Any], ChatEvent]) -> None:
        self._model = model
        self._messages = messages
        self._decode = decode
        self._texts: list[str] = []
        self._finished = False
        self._closed = False

    def _read(self, message: str | bytes) -> ChatEvent:
        try:
            event = self._decode(message)
        except (EngineError, ProtocolError) as error:
            raise reported_error(error) from None
        self._texts.append(event.content)
        if event.finish_reason is not None:
            self._finished = True
        return event

    def _check_finished(self) -> None:
        if not self._finished:
            raise InferenceError(
                f"the stream of model '{self._model}' ended without a finish_reason: the answer is not complete"
            )

    def _add_partial(self, error: BaseException) -> None:
        if isinstance(error, InferenceError):
            error.partial = "".join(self._texts)


class ChatStream(_EventReader[Generator[Any, None, None]], Iterator[ChatEvent]):
    """The events of one answer, as `ChatClient.stream` and `GrpcChatClient.stream` return them.

    Closing the stream cancels the generation. As a context manager, the stream closes itself at the end.

    Example:
        >>> with client.stream(model, messages) as events:  # doctest: +SKIP
        ...     print(next(events).content)
    """

    def __next__(self) -> ChatEvent:
        if self._closed:
            raise StopIteration
        try:
            message = next(self._messages, None)
            if message is not None:
                return self._read(message)
            self._check_finished()
        except BaseException as error:
            self.close()
            self._add_partial(error)
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Cancel the generation if it still runs. The stream has no more events."""
        self._closed = True
        self._messages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncChatStream(_EventReader[AsyncGenerator[Any, None]], AsyncIterator[ChatEvent]):
    """The events of one answer, as `AsyncChatClient.stream` and `AsyncGrpcChatClient.stream` return them.

    Closing the stream cancels the generation. As an asynchronous context manager, the stream closes itself at the end.
    """

    async def __anext__(self) -> ChatEvent:
        if self._closed:
            raise StopAsyncIteration
        try:
            message = await anext(self._messages, None)
            if message is not None:
                return self._read(message)
            self._check_finished()
        except BaseException as error:
            await self.aclose()
            self._add_partial(error)
            raise
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Cancel the generation if it still runs. The stream has no more events."""
        self._closed = True
        await self._messages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


def read_completion(data: DataT, parse: Callable[[DataT], Mapping[str, Any]]) -> Completion:
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
