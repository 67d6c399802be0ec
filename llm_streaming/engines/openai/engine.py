"""OpenAI's API, and every provider and server that speaks it."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import aiohttp
import httpx2  # what the openai package sends with; its errors show while a body is read
import openai
import orjson

from llm_streaming.engines.chunks import ChunkChecker, engine_error, read_object
from llm_streaming.engines.openai.sse import SSEDecoder
from llm_streaming.errors import EngineError

_OPENAI = "https://api.openai.com/v1"
_SOURCE = "The provider"
_DONE = b"[DONE]"
# What the engine decides itself, whoever asks for something else.
_OWN = frozenset({"model", "stream", "stream_options"})
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
# Shorter ones are stand-ins ("none", "x") for servers that want no key; hiding them would garble messages.
_SHORTEST_KEY = 8
_CONNECT_SECONDS = 5.0
# How long a finished stream may take to end, so that its connection can serve the next one.
_DRAIN_SECONDS = 0.1


class OpenAIEngine:
    """A model behind OpenAI's API.

    The key comes from ``OPENAI_API_KEY`` alone and shows up in no message. Making an engine calls nobody, and succeeds
    without a key; the calls then say what is missing.

    Args:
        model_id: the provider's name of the model.
        base_url: where the API is, ``https://…/v1``; by default ``OPENAI_BASE_URL``, and else OpenAI.
        timeout: seconds of silence after which a call has failed.
        max_retries: how often a call is repeated that failed before its first byte.
        default_parameters: parameters that go under those of each request.

    Raises:
        EngineError: the base URL is not one.
    """

    alive = True  # whether the provider is shows in each call

    def __init__(
        self,
        model_id: str,
        *,
        base_url: str | None = None,
        timeout: float = 600.0,
        max_retries: int = 2,
        default_parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model_id
        self._defaults = dict(default_parameters or {})
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        self._configured = bool(url or self._key)
        if not self._key.isascii():
            raise EngineError("OPENAI_API_KEY holds characters that no key has: set it anew.", status=422)
        if url and not url.startswith(("http://", "https://")):
            raise EngineError("The base URL is not a URL: write it like http://host:8000/v1.", status=422)
        waits = openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        try:
            address, headers = _take_credentials(httpx2.URL(url or _OPENAI))
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "not-needed",  # many compatible servers want none
                base_url=address,
                default_headers=headers,
                max_retries=max_retries,
                timeout=waits,
                # Its parser is written in C. With the default's, which is not, a relay passed on a fifth fewer events.
                http_client=openai.DefaultAioHttpClient(timeout=waits),
            )
        except httpx2.InvalidURL:
            raise EngineError("The base URL is not a URL: write it like http://host:8000/v1.", status=422) from None

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream an answer: see `llm_streaming.engines.base.Engine.stream`.

        Parameters that OpenAI's API does not know are passed on too: the provider decides about them.
        """
        checker = ChunkChecker(_SOURCE, self._error)
        async with self._call(request, _STREAMING) as response, aclosing(_events(response)) as events:
            async for data in events:
                yield checker.check(data)
        checker.end()

    async def complete(self, request: dict[str, Any]) -> bytes:
        """The whole answer, from one call: see `llm_streaming.engines.base.Engine.complete`."""
        async with self._call(request, {}) as response:
            body = await response.aread()
        return read_object(body, source=_SOURCE, error=self._error)[1]

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._client.close()

    @asynccontextmanager
    async def _call(self, request: dict[str, Any], fixed: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """The provider's answer while it arrives; whatever goes wrong meanwhile leaves as an `EngineError`."""
        if not self._configured:
            raise EngineError(
                "There is no provider: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
                status=401,
                type="invalid_request_error",
                code="invalid_api_key",
            )
        asked = {name: value for name, value in {**self._defaults, **request}.items() if name not in _OWN}
        body = orjson.dumps({"messages": [], **asked, "model": self._model, **fixed})
        try:
            # `chat.completions.create` would do the same after checking a body of any provider's parameters against
            # OpenAI's types, which took half a millisecond of each first token.
            response = cast(
                httpx2.Response,
                await self._client.post(
                    "/chat/completions",
                    cast_to=httpx2.Response,
                    content=body,
                    stream=True,
                    stream_cls=openai.AsyncStream[object],
                ),
            )
            try:
                yield response
            finally:
                await response.aclose()
        # `from None` in all of these: the openai package's own messages are not free of what a provider echoes.
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except (openai.APIConnectionError, httpx2.RequestError, ssl.SSLError) as error:
            raise self._connection_error(error) from None

    @property
    def _address(self) -> str:
        """The provider's host and port, without the credentials that a URL can hold."""
        url = self._client.base_url
        return f"{url.host}:{url.port}" if url.port else url.host

    def _connection_error(self, failure: Exception) -> EngineError:
        """Say what became of the connection, by its first cause: the names that come out of the client mix them up."""
        causes = list(_causes(failure))
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return EngineError(f"{_SOURCE} did not answer in time.", status=504, type="timeout")
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
            words = f"Cannot reach the provider at {self._address}: check OPENAI_BASE_URL and that it is running."
        else:
            words = f"{_SOURCE} closed the connection before the answer was complete."
        return EngineError(words, status=502, type="connection_error")

    def _status_error(self, failure: openai.APIStatusError) -> EngineError:
        response = failure.response
        said = isinstance(failure.body, dict) and failure.body.get("message")
        fields = failure.body if said else f"{_SOURCE} answered {response.status_code} {response.reason_phrase}."
        after = response.headers.get("retry-after", "")
        seconds = float(after) if after.replace(".", "", 1).isdecimal() else None
        error = self._error(fields, status=response.status_code, retry_after=seconds)
        if seconds is not None:  # in words too: of a unary answer, the words are all that reaches a client
            error.args = (f"{error} (Try again after {seconds:g} s.)",)
        return error

    def _error(self, error: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
        """The provider's error without the key, which some providers repeat in their messages."""
        if isinstance(error, dict) and len(self._key) >= _SHORTEST_KEY:
            error = {**error, "message": str(error.get("message") or "").replace(self._key, "***")}
        return engine_error(error, status=status, retry_after=retry_after)


def _take_credentials(url: httpx2.URL) -> tuple[httpx2.URL, dict[str, str]]:
    """An address without the user and password that it may hold, and the header that says the same."""
    if not url.userinfo:
        return url, {}
    basic = base64.b64encode(unquote_to_bytes(url.userinfo)).decode()
    return url.copy_with(userinfo=b""), {"Authorization": f"Basic {basic}"}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def _events(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """The data of each event, up to ``[DONE]`` or the stream's end."""
    decoder = SSEDecoder()
    pieces = response.aiter_bytes()
    async for piece in pieces:
        for data in decoder.feed(piece):
            if data == _DONE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_DRAIN_SECONDS):
                        async for _ in pieces:
                            pass
                return
            yield data
    for data in decoder.close():
        if data != _DONE:
            yield data
