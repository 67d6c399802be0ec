"""Clients over HTTP, where a stream is server-sent events: `ChatClient` and its asynchronous twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self

import httpx
from httpx_sse import aconnect_sse, connect_sse

from llm_streaming.client.calls import (
    Message,
    StreamReader,
    completion_of,
    origin_of,
    path_of,
    refusal,
    request_body,
    unreachable,
)
from llm_streaming.protocol import ChatEvent, Completion

_CONNECT_TIMEOUT = 5.0  # seconds


class ChatClient:
    """Chats with deployed models over HTTP.

    Args:
        address: ``host:port`` of the mesh, or its URL.
        timeout: seconds of silence after which a call fails. The runtimes here are never silent for more than a few
            while they stream; a call of `complete` is, for as long as the whole answer takes.

    Raises:
        InferenceError: the address is none.

    Example:
        >>> client = ChatClient(mesh.address)  # doctest: +SKIP
        >>> for event in client.stream("local-chat-completions-cpu", [{"role": "user", "content": "Hello!"}]):
        ...     print(event.content, end="")  # doctest: +SKIP
    """

    def __init__(self, address: str, *, timeout: float = 600.0) -> None:
        self._origin = origin_of(address)
        self._http = httpx.Client(base_url=self._origin, timeout=httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT))

    def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Iterator[ChatEvent]:
        """Yield the answer's events as they come; leaving the loop early cancels the generation.

        Args:
            model: the Model's name.
            messages: chat messages as OpenAI's API takes them.
            tools: tools as OpenAI's API takes them.
            parameters: sampling parameters, such as ``temperature`` and ``max_tokens``.

        Raises:
            ProtocolError: a message is malformed; nothing was sent.
            InferenceError: the call failed; what had arrived is in ``.partial``.
        """
        reader = StreamReader(model)
        body = request_body(messages, tools, parameters)
        try:
            with connect_sse(self._http, "POST", path_of(model, "infer_stream"), json=body) as source:
                if source.response.is_error:
                    raise refusal(model, source.response.status_code, source.response.read())
                for sse in source.iter_sse():
                    yield reader.read(sse.data)
        except httpx.HTTPError as error:
            raise unreachable(self._origin, error, reader.partial) from None
        reader.end()

    def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Completion:
        """Return the whole answer at once; the arguments are those of `stream`.

        Raises:
            ProtocolError: a message is malformed; nothing was sent.
            InferenceError: the call failed.
        """
        try:
            response = self._http.post(path_of(model, "infer"), json=request_body(messages, tools, parameters))
        except httpx.HTTPError as error:
            raise unreachable(self._origin, error) from None
        return completion_of(response, model)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncChatClient:
    """The asynchronous twin of `ChatClient`, with the same arguments, events and exceptions."""

    def __init__(self, address: str, *, timeout: float = 600.0) -> None:
        self._origin = origin_of(address)
        self._http = httpx.AsyncClient(base_url=self._origin, timeout=httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT))

    async def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> AsyncIterator[ChatEvent]:
        """Yield the answer's events as they come, as `ChatClient.stream` does."""
        reader = StreamReader(model)
        body = request_body(messages, tools, parameters)
        try:
            async with aconnect_sse(self._http, "POST", path_of(model, "infer_stream"), json=body) as source:
                if source.response.is_error:
                    raise refusal(model, source.response.status_code, await source.response.aread())
                async for sse in source.aiter_sse():
                    yield reader.read(sse.data)
        except httpx.HTTPError as error:
            raise unreachable(self._origin, error, reader.partial) from None
        reader.end()

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Completion:
        """Return the whole answer at once, as `ChatClient.complete` does."""
        try:
            response = await self._http.post(path_of(model, "infer"), json=request_body(messages, tools, parameters))
        except httpx.HTTPError as error:
            raise unreachable(self._origin, error) from None
        return completion_of(response, model)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
