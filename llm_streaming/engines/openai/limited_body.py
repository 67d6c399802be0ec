"""Limits the size of a provider's whole answers and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

from llm_streaming.engines.openai.errors import SOURCE
from llm_streaming.errors import EngineError

_LARGEST_BODY = 16 * 1024**2  # bytes


class _LimitedBody(httpx2.AsyncByteStream):
    """The body of a response, which raises an error when it becomes too large."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._body:
            size += len(piece)
            if size > _LARGEST_BODY:
                raise EngineError(f"{SOURCE} sent an answer of more than 16 MB.", status=502)
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


async def limit_body(response: httpx2.Response) -> None:
    """Limit the body of a response that is not a stream of events; `SSEDecoder` limits each event of a stream."""
    is_events = response.headers.get("content-type", "").startswith("text/event-stream")
    if not is_events and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _LimitedBody(response.stream)
