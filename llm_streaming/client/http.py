"""The clients over HTTP, `ChatClient` and `AsyncChatClient`. A stream consists of server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from httpx_sse import aconnect_sse, connect_sse

from llm_streaming.client.base import AsyncClient, SyncClient
from llm_streaming.client.errors import connection_lost, http_error, no_server, too_silent
from llm_streaming.client.limited_events import LimitedEvents
from llm_streaming.client.notices import show_warnings
from llm_streaming.client.stream import AsyncChatStream, ChatStream, read_completion
from llm_streaming.client.tokens import authorization
from llm_streaming.errors import InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion, decode_event, decode_text_event

_CONNECT_TIMEOUT = 5.0  # seconds


class ChatClient(SyncClient):
    """Chats with deployed models over HTTP.

    Args:
        address: ``host:port`` of the mesh, or its URL.
        timeout: a call fails after this many seconds without data. In a stream, this project's runtimes send an event
            every few seconds; `complete` receives nothing until the answer is complete.
        token: the secret token of the mesh; by default that of the mesh at this address which this process has open.

    Raises:
        InferenceError: the address is malformed.

    Example:
        >>> client = ChatClient(mesh.address)  # doctest: +SKIP
        >>> for event in client.stream("local-chat-completions-cpu", [{"role": "user", "content": "Hello!"}]):
        ...     print(event.content, end="")  # doctest: +SKIP
    """

    def __init__(self, address: str, *, timeout: float = 600.0, token: str | None = None) -> None:
        self._base_url = base_url_of(address)
        self._http = httpx.Client(**_options(self._base_url, timeout, token))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _open_stream(self, model: str, request: bytes) -> ChatStream:
        return ChatStream(model, self._messages(model, request), read_event)

    def _messages(self, model: str, request: bytes) -> Generator[str, None, None]:
        with (
            _transport_errors(self._base_url),
            connect_sse(self._http, "POST", path_of(model, "infer_stream"), content=request) as source,
        ):
            if source.response.is_error:
                raise http_error(model, source.response.status_code, source.response.read())
            source.response.stream = LimitedEvents(source.response.stream)
            for event in source.iter_sse():
                yield event.data

    def _call(self, model: str, request: bytes) -> Completion:
        with _transport_errors(self._base_url):
            response = self._http.post(path_of(model, "infer"), content=request)
        return _completion(model, response)


class AsyncChatClient(AsyncClient):
    """The asynchronous version of `ChatClient`, with the same arguments, events and exceptions."""

    def __init__(self, address: str, *, timeout: float = 600.0, token: str | None = None) -> None:
        self._base_url = base_url_of(address)
        self._http = httpx.AsyncClient(**_options(self._base_url, timeout, token))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _open_stream(self, model: str, request: bytes) -> AsyncChatStream:
        return AsyncChatStream(model, self._messages(model, request), read_event)

    async def _messages(self, model: str, request: bytes) -> AsyncGenerator[str, None]:
        with _transport_errors(self._base_url):
            async with aconnect_sse(self._http, "POST", path_of(model, "infer_stream"), content=request) as source:
                if source.response.is_error:
                    raise http_error(model, source.response.status_code, await source.response.aread())
                source.response.stream = LimitedEvents(source.response.stream)
                async for event in source.aiter_sse():
                    yield event.data

    async def _call(self, model: str, request: bytes) -> Completion:
        with _transport_errors(self._base_url):
            response = await self._http.post(path_of(model, "infer"), content=request)
        return _completion(model, response)


def base_url_of(address: str) -> str:
    """Turn ``host:port`` or a URL into a URL without a trailing slash.

    Raises:
        InferenceError: the address is neither of them.
    """
    base_url = address.rstrip("/") if "://" in address else f"http://{address}"
    with suppress(httpx.InvalidURL):
        url = httpx.URL(base_url)
        if url.scheme in ("http", "https") and url.host:
            return base_url
    raise InferenceError(f"{address!r} is not an address: pass the mesh's host:port, as in mesh.address")


def _options(base_url: str, timeout: float, token: str | None) -> dict[str, Any]:
    headers = {"content-type": "application/json", **authorization(httpx.URL(base_url).netloc.decode(), token)}
    return {"base_url": base_url, "headers": headers, "timeout": httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT)}


def path_of(model: str, endpoint: str) -> str:
    """Return the path of a model's endpoint in the Open Inference Protocol (contract §1)."""
    return f"/v2/models/{quote(model, safe='')}/{endpoint}"


_RARE = {"error", "warnings"}  # parameters of few events


class _Output(msgspec.Struct, gc=False):
    name: str
    data: list[str]


class _Response(msgspec.Struct, gc=False):
    outputs: list[_Output]
    parameters: dict[str, Any] = {}


_RESPONSE = msgspec.json.Decoder(_Response)


def read_event(data: str) -> ChatEvent:
    """Decode the data of one server-sent event, an inference response in JSON (contract §2).

    Raises:
        EngineError: the event reports an error.
        ProtocolError: the event is malformed.
    """
    return _text_event(data) or decode_event(show_warnings(_json_object(data)))


def _text_event(data: str) -> ChatEvent | None:
    """Decode an event that contains only text, as most do; return None for any other event."""
    try:
        response = _RESPONSE.decode(data)
        _, content, *_, output_all = response.outputs
        (text,), (chunk,) = content.data, output_all.data
    except ValueError:  # malformed, or too few outputs or elements
        return None
    if (content.name, output_all.name) != ("content", "output_all") or _RARE & response.parameters.keys():
        return None
    return decode_text_event(text, chunk)


def _completion(model: str, response: httpx.Response) -> Completion:
    if response.is_error:
        raise http_error(model, response.status_code, response.content)
    return read_completion(response.text, _json_object)


def _json_object(data: str) -> dict[str, Any]:
    with suppress(ValueError):
        if isinstance(found := json.loads(data), dict):
            return found
    raise ProtocolError(f"expected an inference response, a JSON object, but got {data[:80]!r}")


@contextmanager
def _transport_errors(address: str) -> Iterator[None]:
    """Turn httpx's exceptions into InferenceError."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise no_server(address) from None
    except httpx.TimeoutException:
        raise too_silent(address) from None
    except httpx.HTTPError as error:
        raise connection_lost(type(error).__name__) from None
