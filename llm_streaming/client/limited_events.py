"""Limits the size of server-sent events, so that an endless event cannot fill the client's memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx

from llm_streaming.errors import InferenceError
from llm_streaming.protocol.limits import LARGEST_EVENT


class LimitedEvents(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response with events; reading it raises `InferenceError` in an event of more than 4 MB.

    Args:
        body: the response's own body, synchronous or asynchronous.
    """

    def __init__(self, body: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self._body = body
        self._size = 0  # bytes since the last empty line, which ends an event

    def __iter__(self) -> Iterator[bytes]:
        return map(self._checked, self._body)  # type: ignore[arg-type]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:  # type: ignore[union-attr]
            yield self._checked(piece)

    def close(self) -> None:
        """Close the body."""
        self._body.close()  # type: ignore[union-attr]

    async def aclose(self) -> None:
        """Close the body."""
        await self._body.aclose()  # type: ignore[union-attr]

    def _checked(self, piece: bytes) -> bytes:
        end = max(piece.rfind(b"\n\n"), piece.rfind(b"\r\n\r\n"))
        self._size = self._size + len(piece) if end < 0 else len(piece) - end
        if self._size > LARGEST_EVENT:
            raise InferenceError("the server sent an event of more than 4 MB: see the server's log")
        return piece
