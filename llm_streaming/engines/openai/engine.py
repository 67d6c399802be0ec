"""Calls OpenAI's API, of OpenAI or of any server that speaks it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import aiohttp
import httpx2  # the HTTP client of the openai package; reading a body raises its errors
import openai
import orjson

from llm_streaming.engines.base import ChunkReader, Engine, engine_error
from llm_streaming.engines.openai.sse import SSEDecoder
from llm_streaming.errors import EngineError

_SOURCE = "The provider"
_DONE = b"[DONE]"
# The engine decides about these; a request cannot change them.
_OWN = frozenset({"model", "stream", "stream_options"})
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
# Shorter keys are placeholders ("none", "x") for servers that need no key; hiding them would garble messages.
_SHORTEST_KEY = 8
_CONNECT_SECONDS = 5.0
# Wait this long for the end of the body after [DONE], so that the connection can be used again.
_DRAIN_SECONDS = 0.1


class OpenAIEngine(Engine):
    """A model behind OpenAI's API.

    The key comes from ``OPENAI_API_KEY`` alone and appears in no message. Making an engine sends nothing, and succeeds
    without a key; calls then fail with a message that says what is missing.

    Args:
        model_id: the provider's name of the model.
        base_url: the API's URL, ``https://…/v1``; by default ``OPENAI_BASE_URL``, or else OpenAI's.
        timeout: seconds of silence after which a call fails.
        max_retries: how often a call that failed before its first byte is repeated.
        default_parameters: parameters for requests that do not set them.

    Raises:
        EngineError: the base URL is not a URL, or the key holds characters that no key has.
    """

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
        self._defaults = default_parameters or {}
        self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not self._key.isascii():
            raise EngineError("OPENAI_API_KEY holds characters that no key has: set it anew.", status=422)
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        self._configured = bool(url or self._key)
        address = _parse_url(url or "https://api.openai.com/v1")
        auth = (address.username, address.password) if address.userinfo else None
        waits = openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "not-needed",  # many compatible servers need none
            base_url=address.copy_with(userinfo=b""),  # otherwise the log would show a password in the URL
            max_retries=max_retries,
            timeout=waits,
            # Its parser is written in C; with the default client a relay passed on a fifth fewer events.
            http_client=openai.DefaultAioHttpClient(timeout=waits, auth=auth),
        )

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. The provider decides about parameters that OpenAI's API does not know."""
        reader = ChunkReader(_SOURCE, self._error)
        async with self._call(request, _STREAMING) as response, aclosing(_events(response)) as events:
            async for data in events:
                yield reader.read(data)
        reader.end()

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a whole answer with one call."""
        async with self._call(request, {}) as response:
            body = await response.aread()
        return ChunkReader(_SOURCE, self._error).read(body)

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._client.close()

    @asynccontextmanager
    async def _call(self, request: dict[str, Any], fixed: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """Send a request and yield the response while it arrives; every failure becomes an `EngineError`."""
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
            # `chat.completions.create` would first check the parameters against OpenAI's types, which delayed each
            # first token by half a millisecond.
            unused = openai.AsyncStream[object]  # the types demand it; a plain response makes none
            answer: Any = await self._client.post(
                "/chat/completions", cast_to=httpx2.Response, content=body, stream=True, stream_cls=unused
            )
            async with aclosing(answer) as response:
                yield response
        # `from None` in both: the messages of the openai package can repeat the key.
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except (openai.APIConnectionError, httpx2.RequestError, ssl.SSLError) as error:
            raise self._connection_error(error) from None

    def _connection_error(self, failure: Exception) -> EngineError:
        """Name the failure by its first cause; the client's own exceptions mix up several causes."""
        causes = list(_causes(failure))
        if any(isinstance(cause, TimeoutError) for cause in causes):
            return EngineError(f"{_SOURCE} did not answer in time.", status=504, type="timeout")
        message = f"{_SOURCE} closed the connection before the answer was complete."
        if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
            address = self._client.base_url.netloc.decode()
            message = f"Cannot reach the provider at {address}: check OPENAI_BASE_URL and that it is running."
        return EngineError(message, status=502, type="connection_error")

    def _status_error(self, failure: openai.APIStatusError) -> EngineError:
        response, fields = failure.response, failure.body
        if not isinstance(fields, dict) or not fields.get("message"):
            fields = f"{_SOURCE} answered {response.status_code} {response.reason_phrase}."
        after = response.headers.get("retry-after", "")
        seconds = float(after) if after.replace(".", "", 1).isdecimal() else None
        return self._error(fields, status=response.status_code, retry_after=seconds)

    def _error(self, fields: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
        """Make the provider's error, without the key, which some providers repeat in their messages."""
        error = engine_error(fields, status=status, retry_after=retry_after)
        message = str(error)
        if len(self._key) >= _SHORTEST_KEY:
            message = message.replace(self._key, "***")
        if retry_after is not None:  # in words too: only the words of a unary error reach a client
            message += f" (Try again after {retry_after:g} s.)"
        error.args = (message,)
        return error


def _parse_url(text: str) -> httpx2.URL:
    with suppress(httpx2.InvalidURL):
        url = httpx2.URL(text)
        if url.scheme in ("http", "https"):
            return url
    raise EngineError("The base URL is not a URL: write it like http://host:8000/v1.", status=422)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


async def _events(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Yield the data of each event, up to ``[DONE]`` or the stream's end."""
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
