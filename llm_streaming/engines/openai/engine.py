"""Calls OpenAI's API, at OpenAI or at any compatible server."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import aiohttp
import httpx2  # the openai package's HTTP client; reading a body raises its exceptions
import openai
import orjson

from llm_streaming.engines.base import ChunkReader, Engine, unloaded
from llm_streaming.engines.openai.errors import SOURCE, connection_error, status_error
from llm_streaming.engines.openai.limited_body import limit_body
from llm_streaming.engines.openai.parameters import misspelled
from llm_streaming.engines.openai.sse import SSEDecoder
from llm_streaming.engines.waits import Waits
from llm_streaming.errors import EngineError
from llm_streaming.masking import hide, masked, masked_bytes

_DONE = b"[DONE]"
# The engine sets these fields itself and drops them from requests.
_OWN = frozenset({"model", "stream", "stream_options"})
_STREAMING = {"stream": True, "stream_options": {"include_usage": True}}
_CONNECT_SECONDS = 5.0
# After [DONE], wait at most this long for the end of the body, so that the connection can be reused.
_DRAIN_SECONDS = 0.1


class OpenAIEngine(Engine):
    """A model behind OpenAI's API.

    The key is read from ``OPENAI_API_KEY`` only, and is hidden in messages. Creating an engine sends no request, and
    works even without a key and a URL; calls then fail with a message that says what is missing.

    Args:
        model_id: the provider's name for the model.
        base_url: the API's URL, ``https://…/v1``; by default ``OPENAI_BASE_URL``, or else OpenAI's own URL.
        timeout: a call fails after this many seconds without data from the provider.
        max_retries: how many times a call is retried if it fails before the first byte arrives.
        default_parameters: default values of request parameters.

    Raises:
        EngineError: the base URL is not a URL, or the key contains non-ASCII characters.
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
            raise EngineError("OPENAI_API_KEY contains non-ASCII characters: copy the key again.", status=422)
        url = base_url or os.environ.get("OPENAI_BASE_URL")
        self._configured = bool(url or self._key)
        address = _parse_url(url or "https://api.openai.com/v1")
        auth = (address.username, address.password) if address.userinfo else None
        hide(self._key, *_basic_credentials(address))
        waits = openai.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "not-needed",  # many compatible servers need no key
            base_url=address.copy_with(userinfo=b""),  # the log shows this URL, so it must not contain a password
            max_retries=max_retries,
            timeout=waits,
            # aiohttp's parser is written in C. With the default client, a relay passed on 20 % fewer events per second.
            http_client=openai.DefaultAioHttpClient(timeout=waits, auth=auth, event_hooks={"response": [limit_body]}),
        )
        self._waits = Waits()

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. Parameters unknown to OpenAI's API are sent too; the provider accepts or rejects them."""
        reader = ChunkReader(SOURCE)
        async with self._call(request, _STREAMING) as response, aclosing(self._events(response)) as events:
            async for data in events:
                yield reader.read(masked_bytes(data))
        reader.end()

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Request a whole answer with one call."""
        async with self._call(request, {}) as response:
            with self._waits:
                body = await response.aread()
            return ChunkReader(SOURCE).read(masked_bytes(body))

    def warnings(self, request: dict[str, Any]) -> list[str]:
        """Return a sentence for each parameter that looks like a misspelled parameter of OpenAI's API."""
        return misspelled(request)

    async def close(self) -> None:
        """End all running calls with an error, and close the connections to the provider."""
        self._waits.end(unloaded())
        await self._client.close()

    @asynccontextmanager
    async def _call(self, request: dict[str, Any], fixed: Mapping[str, Any]) -> AsyncIterator[httpx2.Response]:
        """Send a request and yield the response, whose body still arrives; every failure becomes an `EngineError`."""
        if not self._configured:
            raise EngineError(
                "No provider is configured: set OPENAI_API_KEY, or OPENAI_BASE_URL for a server of your own.",
                status=401,
                type="invalid_request_error",
                code="invalid_api_key",
            )
        asked = {name: value for name, value in {**self._defaults, **request}.items() if name not in _OWN}
        body = orjson.dumps({"messages": [], **asked, "model": self._model, **fixed})
        try:
            # `chat.completions.create` would first check the parameters against OpenAI's types, which would delay
            # each first token by 0.5 ms.
            unused = openai.AsyncStream[object]  # required by the type signature, but not used here
            with self._waits:
                answer: Any = await self._client.post(
                    "/chat/completions", cast_to=httpx2.Response, content=body, stream=True, stream_cls=unused
                )
            async with aclosing(answer) as response:
                yield response
            return
        except openai.APIStatusError as error:
            failure = status_error(error)
        except (openai.APIConnectionError, httpx2.RequestError, aiohttp.ClientError, ssl.SSLError) as error:
            failure = connection_error(error, self._client.base_url.netloc.decode())
        except EngineError as error:
            failure = error
        # Any part of an error may repeat the key. `from None`: so can messages of the openai package.
        raise failure.rewrite(masked) from None

    async def _events(self, response: httpx2.Response) -> AsyncGenerator[bytes, None]:
        """Yield the data of each event before ``[DONE]``, or until the stream ends."""
        decoder = SSEDecoder()
        pieces = response.aiter_bytes()
        while True:
            with self._waits:
                piece = await anext(pieces, None)
            for data in decoder.close() if piece is None else decoder.feed(piece):
                if data == _DONE:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_DRAIN_SECONDS):
                            async for _ in pieces:
                                pass
                    return
                yield data
            if piece is None:
                return


def _parse_url(text: str) -> httpx2.URL:
    with suppress(httpx2.InvalidURL):
        url = httpx2.URL(text)
        if url.scheme in ("http", "https"):
            return url
    raise EngineError("The base URL is not a URL: write it like http://host:8000/v1.", status=422)


def _basic_credentials(url: httpx2.URL) -> list[str]:
    """Return the forms in which a provider may repeat the URL's password: alone, with the user name, encoded."""
    if not url.password:
        return []
    pair = f"{url.username}:{url.password}"
    return [url.password, pair, url.userinfo.decode(), base64.b64encode(pair.encode()).decode()]
