"""The base classes of the clients, with the methods of every client and the encoding of requests."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, Self, TypeAlias, TypeVar

from llm_streaming.client.stream import AsyncChatStream, ChatStream
from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatRequest, Completion, encode_request

Message: TypeAlias = dict[str, Any]
"""A chat message or a tool, in the format of OpenAI's API."""

StreamT = TypeVar("StreamT")
CompletionT = TypeVar("CompletionT")


class Client(ABC, Generic[StreamT, CompletionT]):
    """The methods of every client. The subclass for a transport implements `_open_stream` and `_call`."""

    def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's parameters have many types
    ) -> StreamT:
        """Ask a model, and return the events of its answer as a stream.

        The arguments are checked at once, and the request is sent when the first event is read. Closing the stream
        cancels the generation. Leaving a loop over the stream closes the stream, unless a variable refers to it.

        Args:
            model: the Model's name.
            messages: chat messages, in the format of OpenAI's API.
            tools: tools, in the format of OpenAI's API.
            parameters: sampling parameters, such as ``temperature`` and ``max_tokens``, and ``tool_choice`` and
                ``parallel_tool_calls``.

        Returns:
            A `ChatStream`; from an asynchronous client an `AsyncChatStream`.

        Raises:
            ProtocolError: a message, a tool or a parameter is malformed. Nothing was sent.
            InferenceError: the call failed. Reading the stream raises this error; its ``partial`` is the text that had
                arrived.
        """
        return self._open_stream(model, self._encode(model, request_body(messages, tools, parameters)))

    def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's parameters have many types
    ) -> CompletionT:
        """Ask a model, and return its whole answer at once. The arguments are those of `stream`.

        Returns:
            A `Completion`; from an asynchronous client a coroutine that returns one.

        Raises:
            ProtocolError: a message, a tool or a parameter is malformed. Nothing was sent.
            InferenceError: the call failed.
        """
        return self._call(model, self._encode(model, request_body(messages, tools, parameters)))

    @staticmethod
    def _encode(model: str, body: dict[str, Any]) -> bytes:  # noqa: ARG004 - a gRPC message names the model
        return to_json(body)

    @abstractmethod
    def _open_stream(self, model: str, request: bytes) -> StreamT: ...

    @abstractmethod
    def _call(self, model: str, request: bytes) -> CompletionT: ...


class SyncClient(Client[ChatStream, Completion]):
    """A client whose calls block. As a context manager, it closes its connections on exit."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncClient(Client[AsyncChatStream, Coroutine[Any, Any, Completion]]):
    """A client whose calls are awaited. As an asynchronous context manager, it closes its connections on exit."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


def request_body(
    messages: Sequence[Message], tools: Sequence[Message] | None, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Encode the arguments of `Client.stream` as the body of an inference request (contract §1).

    Raises:
        ProtocolError: a message or a tool is malformed.
    """
    sampling = dict(parameters)
    choice, parallel = sampling.pop("tool_choice", None), sampling.pop("parallel_tool_calls", None)
    return encode_request(ChatRequest(list(messages), list(tools) if tools else None, choice, parallel, sampling))


def to_json(value: object) -> bytes:
    """Serialise a request, or a part of it, as compact JSON in UTF-8.

    Raises:
        ProtocolError: a value, such as NaN or a set, is not JSON-serializable.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"the request cannot be written as JSON: {error}") from None
