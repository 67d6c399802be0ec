"""The interface of all engines, and the checks of what they stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import orjson

from llm_streaming.engines.errors import engine_error
from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import accumulate
from llm_streaming.protocol.chunks import check_chunk


class Engine(Protocol):
    """Anything that streams OpenAI's chat-completion chunks.

    A request is the body of an OpenAI chat completion without ``model``, ``stream`` and ``stream_options``: messages,
    tools and sampling parameters. Every failure is an `llm_streaming.errors.EngineError`.
    """

    @property
    def alive(self) -> bool:
        """Whether the engine can answer; False when its process has ended by itself."""
        ...

    def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. Closing the generator ends the generation (``contextlib.aclosing``).

        Args:
            request: the body of the request.

        Yields:
            Each ``chat.completion.chunk``, parsed and checked; the one with the usage (``choices: []``) comes last.

        Raises:
            EngineError: the request is refused, or the stream ended without a finish_reason and so is no answer.
        """
        ...

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a whole answer, one ``chat.completion``, parsed and checked.

        Args:
            request: the body of the request.

        Raises:
            EngineError: the request is refused or fails.
        """
        ...

    async def close(self) -> None:
        """End all running streams and free the engine's resources; streams after this raise `EngineError`."""
        ...


async def collect(stream: AsyncGenerator[dict[str, Any], None]) -> dict[str, Any]:
    """Read a stream to its end and make a ``chat.completion`` of it, for engines that only stream."""
    async with aclosing(stream) as chunks:
        return accumulate([chunk async for chunk in chunks])


class ChunkReader:
    """Parses what an engine sends, each chunk once, and checks at the end that it was a complete answer.

    Args:
        source: the sender, as the subject of error messages.
        error: makes the exception for an ``error`` object that the engine sends.

    Attributes:
        finished: whether a chunk had a finish_reason.
    """

    def __init__(self, source: str, error: Callable[[Any], EngineError] = engine_error) -> None:
        self.finished = False
        self._source = source
        self._error = error

    def read(self, data: bytes | str) -> dict[str, Any]:
        """Parse and check a chunk or a whole completion.

        Args:
            data: its JSON.

        Raises:
            EngineError: it is not a JSON object, is malformed, or is an error.
        """
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            chunk = None
        if not isinstance(chunk, dict):
            raise EngineError(f"{self._source} sent something that is not a JSON object.", status=502)
        if chunk.get("error"):
            raise self._error(chunk["error"])
        try:
            check_chunk(chunk, f"{self._source} sent a malformed answer")
        except ProtocolError as error:
            raise EngineError(f"{error}.", status=502) from None
        if not self.finished:
            self.finished = any(choice.get("finish_reason") for choice in chunk.get("choices") or ())
        return chunk

    def end(self) -> None:
        """Check the stream's end.

        Raises:
            EngineError: no chunk had a finish_reason, so the answer was cut short.
        """
        if not self.finished:
            raise EngineError(f"{self._source} ended the stream before the answer was complete.", status=502)
