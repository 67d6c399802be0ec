"""The clients over HTTP, where a stream is server-sent events: `ChatClient` and `AsyncChatClient`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from httpx_sse import aconnect_sse, connect_sse

from llm_streaming.client.base import AsyncClient, SyncClient, to_json
from llm_streaming.client.errors import connection_lost, http_error, no_server, too_silent
from llm_streaming.client.stream import AsyncChatStream, ChatStream, read_completion
from llm_streaming.errors import InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion, decode_event, decode_text_event

_CONNECT_TIMEOUT = 5.0  # seconds
_HEADERS = {"content-type": "application/json"}


def _encode(model: str, body: dict[str, Any]) -> bytes:  # noqa: ARG001 - gRPC's request names the model, HTTP's path
    return to_json(body)


class ChatClient(SyncClient):
    """Chats with deployed models over HTTP.

    Args:
        address: ``host:port`` of the mesh, or its URL.
        timeout: seconds without any data after which a call fails. The runtimes here send an event every few seconds
            while they stream; `complete` receives nothing until the whole answer is there.

    Raises:
        InferenceError: the address is malformed.

    Example:
        >>> client = ChatClient(mesh.address)  # doctest: +SKIP
        >>> for event in client.stream("local-chat-completions-cpu", [{"role": "user", "content": "Hello!"}]):
        ...     print(event.content, end="")  # doctest: +SKIP
    """

    _encode = staticmethod(_encode)

    def __init__(self, address: str, *, timeout: float = 600.0) -> None:
        self._base_url = base_url_of(address)
        self._http = httpx.Client(base_url=self._base_url, headers=_HEADERS, timeout=_timeouts(timeout))

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
            for event in source.iter_sse():
                yield event.data

    def _call(self, model: str, request: bytes) -> Completion:
        with _transport_errors(self._base_url):
            response = self._http.post(path_of(model, "infer"), content=request)
        return _completion(model, response)


class AsyncChatClient(AsyncClient):
    """The asynchronous twin of `ChatClient`, with the same arguments, events and exceptions."""

    _encode = staticmethod(_encode)

    def __init__(self, address: str, *, timeout: float = 600.0) -> None:
        self._base_url = base_url_of(address)
        self._http = httpx.AsyncClient(base_url=self._base_url, headers=_HEADERS, timeout=_timeouts(timeout))

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
                async for event in source.aiter_sse():
                    yield event.data

    async def _call(self, model: str, request: bytes) -> Completion:
        with _transport_errors(self._base_url):
            response = await self._http.post(path_of(model, "infer"), content=request)
        return _completion(model, response)


def base_url_of(address: str) -> str:
    """Turn ``host:port``, or a URL, into a URL without a slash at its end.

    Raises:
        InferenceError: the address is neither.
    """
    base_url = address.rstrip("/") if "://" in address else f"http://{address}"
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InferenceError(f"{address!r} is not an address: pass the mesh's host:port, as in mesh.address")
    return base_url


def path_of(model: str, endpoint: str) -> str:
    """Return the path of a model's endpoint in the Open Inference Protocol (contract §1)."""
    return f"/v2/models/{quote(model, safe='')}/{endpoint}"


class _Output(msgspec.Struct, gc=False):
    name: str
    datatype: str
    shape: list[int]
    data: list[str]


class _Response(msgspec.Struct, gc=False):
    outputs: list[_Output]
    parameters: dict[str, Any] = {}


_RESPONSE = msgspec.json.Decoder(_Response)


def read_event(data: str) -> ChatEvent:
    """Read one server-sent event's data, an inference response as JSON (contract §2).

    Raises:
        EngineError: the event reports an error.
        ProtocolError: the event is malformed.
    """
    try:
        response = _RESPONSE.decode(data)
    except msgspec.MsgspecError:  # another server's outputs, or malformed ones: `decode_event` says what is wrong
        return decode_event(_json_object(data))
    return _text_event(response) or decode_event(msgspec.to_builtins(response))


def _text_event(response: _Response) -> ChatEvent | None:
    """Read an event that holds text only, as nearly all do; return None for any other."""
    match response.outputs:
        case [_, _Output(name="content", data=[text]), *_, _Output(name="output_all", data=[chunk])]:
            return None if "error" in response.parameters else decode_text_event(text, chunk)
    return None


def _completion(model: str, response: httpx.Response) -> Completion:
    if response.is_error:
        raise http_error(model, response.status_code, response.content)
    return read_completion(response.text, _json_object)


def _json_object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError(f"expected an inference response, a JSON object, but got {data[:80]!r}")
    return found


def _timeouts(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=_CONNECT_TIMEOUT)


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
