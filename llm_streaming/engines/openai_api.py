"""OpenAI's API, and every provider and server that speaks it."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import anyio
import httpx2  # what the openai package sends with; its errors show while a body is read
import openai
from openai import AsyncAPIResponse

from llm_streaming.engines.chunks import ChunkChecker, engine_error, read_object
from llm_streaming.engines.sse import SSEDecoder
from llm_streaming.errors import EngineError

_OPENAI = "https://api.openai.com/v1"
_SOURCE = "The provider"
_DONE = b"[DONE]"
# What the engine decides itself, whoever asks for something else.
_OWN = frozenset({"model", "messages", "stream", "stream_options"})
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
_LOST = (httpx2.RequestError, ssl.SSLError, anyio.EndOfStream)
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
        try:
            self._client = openai.AsyncOpenAI(
                api_key=self._key or "not-needed",  # many compatible servers want none
                base_url=url or _OPENAI,
                timeout=openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
                max_retries=max_retries,
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
            body = await response.read()
        return read_object(body, source=_SOURCE, error=self._error)[1]

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._client.close()

    @asynccontextmanager
    async def _call(self, request: dict[str, Any], fixed: Mapping[str, Any]) -> AsyncIterator[AsyncAPIResponse[Any]]:
        """The provider's answer while it arrives; whatever goes wrong meanwhile leaves as an `EngineError`."""
        if not self._configured:
            raise EngineError(
                "There is no provider: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
                status=401,
                type="invalid_request_error",
                code="invalid_api_key",
            )
        body = {**self._defaults, **request}
        try:
            async with self._client.chat.completions.with_streaming_response.create(
                model=self._model,
                messages=body.get("messages", []),
                extra_body={name: value for name, value in body.items() if name not in _OWN},
                **fixed,
            ) as response:
                yield response
        # `from None` in all of these: the openai package's own messages are not free of what a provider echoes.
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except (openai.APITimeoutError, httpx2.TimeoutException):
            raise EngineError(f"{_SOURCE} did not answer in time.", status=504, type="timeout") from None
        except openai.APIConnectionError:
            raise EngineError(
                f"Cannot reach the provider at {self._address}: check OPENAI_BASE_URL and that it is running.",
                status=502,
                type="connection_error",
            ) from None
        except _LOST:
            raise EngineError(
                f"{_SOURCE} closed the connection before the answer was complete.", status=502, type="connection_error"
            ) from None

    @property
    def _address(self) -> str:
        """The provider's host and port, without the credentials that a URL can hold."""
        url = self._client.base_url
        return f"{url.host}:{url.port}" if url.port else url.host

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


async def _events(response: AsyncAPIResponse[Any]) -> AsyncGenerator[bytes, None]:
    """The data of each event, up to ``[DONE]`` or the stream's end."""
    decoder = SSEDecoder()
    pieces = response.iter_bytes()
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
