"""The streams of events that the clients return, and the decoding of whole answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from llm_streaming.client.errors import reported_error
from llm_streaming.client.notices import show_warnings
from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion, decode_completion

MessagesT = TypeVar("MessagesT")


class _EventReader(Generic[MessagesT]):
    """Decodes the messages of one stream, and collects the text of its events.

    The iterator `messages` raises InferenceError if the call fails; `decode` raises EngineError or ProtocolError.
    """

    def __init__(self, model: str, messages: MessagesT, decode: Callable[[Any], ChatEvent]) -> None:
        self._model = model
        self._messages = messages
        self._decode = decode
        self._texts: list[str] = []
        self._may_end = False  # whether a finish_reason has arrived or the stream was closed

    def _read(self, message: str | bytes | None) -> ChatEvent | None:
        """Decode a message. None, which marks the end of the stream, is returned as None."""
        if message is None:
            if self._may_end:
                return None
            raise InferenceError(
                f"the stream of model '{self._model}' ended without a finish_reason: the answer is not complete"
            )
        try:
            event = self._decode(message)
        except (EngineError, ProtocolError) as error:
            raise reported_error(error) from None
        self._texts.append(event.content)
        self._may_end = self._may_end or event.finish_reason is not None
        return event

    def _add_partial(self, error: BaseException) -> None:
        if isinstance(error, InferenceError):
            error.partial = "".join(self._texts)


class ChatStream(_EventReader[Generator[Any, None, None]], Iterator[ChatEvent]):
    """The events of one answer, returned by `ChatClient.stream` and `GrpcChatClient.stream`.

    Closing the stream cancels the generation. As a context manager, the stream closes itself on exit.

    Example:
        >>> with client.stream(model, messages) as events:  # doctest: +SKIP
        ...     print(next(events).content)
    """

    def __next__(self) -> ChatEvent:
        try:
            event = self._read(next(self._messages, None))
        except BaseException as error:
            self.close()
            self._add_partial(error)
            raise
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        """Cancel the generation if it is still running. After this, the stream yields no events."""
        self._may_end = True
        self._messages.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncChatStream(_EventReader[AsyncGenerator[Any, None]], AsyncIterator[ChatEvent]):
    """The events of one answer, returned by `AsyncChatClient.stream` and `AsyncGrpcChatClient.stream`.

    Closing the stream cancels the generation. As an asynchronous context manager, the stream closes itself on exit.
    """

    async def __anext__(self) -> ChatEvent:
        try:
            event = self._read(await anext(self._messages, None))
        except BaseException as error:
            await self.aclose()
            self._add_partial(error)
            raise
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Cancel the generation if it is still running. After this, the stream yields no events."""
        self._may_end = True
        await self._messages.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()


def read_completion(data: Any, parse: Callable[[Any], Mapping[str, Any]]) -> Completion:  # noqa: ANN401 - str or bytes
    """Decode the response to a unary call. `parse` converts the response to the protocol's JSON object.

    Raises:
        InferenceError: the response reports an error, or is malformed.
    """
    try:
        return decode_completion(show_warnings(parse(data)))
    except (EngineError, ProtocolError) as error:
        raise reported_error(error, status=200) from None
