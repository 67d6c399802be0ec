"""The interface of all engines, the parser that checks their chunks, and the errors that they share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import orjson

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import accumulate
from llm_streaming.protocol.chunks import check_chunk
from llm_streaming.protocol.limits import check_depth

_SURELY_SHALLOW = 500  # bytes; orjson can write nested values that were as short as this


class Engine(Protocol):
    """Anything that streams OpenAI's chat-completion chunks.

    A request is the body of an OpenAI chat completion without ``model``, ``stream`` and ``stream_options``: messages,
    tools and sampling parameters. Every failure is an `llm_streaming.errors.EngineError`.
    """

    @property
    def alive(self) -> bool:
        """Whether the engine can answer; False after its process has ended unexpectedly."""
        return True

    def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. Closing the generator (see ``contextlib.aclosing``) stops the generation.

        Yields:
            Each ``chat.completion.chunk``, parsed and checked. The last chunk has the usage and ``choices: []``.

        Raises:
            EngineError: the engine refuses the request, or the stream ends without a finish_reason (incomplete answer).
        """

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a whole answer, a checked ``chat.completion``; by default it is assembled from the chunks of `stream`.

        Raises:
            EngineError: the engine refuses the request, or fails.
        """
        async with aclosing(self.stream(request)) as chunks:
            return accumulate([chunk async for chunk in chunks])

    def warnings(self, request: dict[str, Any]) -> list[str]:  # noqa: ARG002 - other engines use it
        """Return sentences about parts of a request that the engine accepts, but that are probably mistakes."""
        return []

    async def close(self) -> None:
        """Stop all running streams and free the engine's resources; later calls of `stream` raise `EngineError`."""


def engine_error(error: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
    """Build the exception for the ``error`` in a response of OpenAI's API.

    Args:
        error: a text, or an object whose message, type and code are all optional.
        status: the HTTP status; by default the error's code if it is a number, or else 500.
        retry_after: the number of seconds that the server asks to wait, if any.
    """
    fields: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = fields.get("code")
    if isinstance(code, int):  # llama.cpp and OpenRouter put the HTTP status here
        status, code = status or code, None
    if status is None or not 400 <= status < 600:
        status = 500
    return EngineError(
        str(fields.get("message") or "The provider failed without saying why."),
        status=status,
        type=str(fields.get("type") or ("invalid_request_error" if status < 500 else "server_error")),
        code=None if code is None else str(code),
        retry_after=retry_after,
    )


def bad_request(message: str, code: str | None = None) -> EngineError:
    """Build the error for a request or a setting that the engine refuses."""
    return EngineError(message, status=400, type="invalid_request_error", code=code)


def unloaded() -> EngineError:
    """Build the error for a request to an engine that has been closed."""
    return EngineError("The model has been unloaded: load it again.", status=503, code="model_unloaded")


class ChunkReader:
    """Parses and checks the chunks of one answer, and checks at the end that the answer is complete.

    Args:
        source: the sender's name, with which error messages begin.
        error: builds the exception for an ``error`` object that the engine sends.

    Attributes:
        finished: whether any chunk so far had a finish_reason.
    """

    def __init__(self, source: str, error: Callable[[Any], EngineError] = engine_error) -> None:
        self.finished = False
        self._source = source
        self._error = error

    def read(self, data: bytes | str) -> dict[str, Any]:
        """Parse and check the JSON of a chunk or of a whole completion.

        Raises:
            EngineError: the data is not a JSON object, is malformed, or reports an error.
        """
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            chunk = None
        if not isinstance(chunk, dict):
            raise EngineError(f"{self._source} sent something that is not a JSON object.", status=502)
        if chunk.get("error"):
            raise self._error(chunk["error"])
        where = f"{self._source} sent a malformed answer"
        try:
            check_chunk(chunk, where)
            if len(data) > _SURELY_SHALLOW:
                check_depth(chunk, where)
        except ProtocolError as error:
            raise EngineError(f"{error}.", status=502) from None
        if not self.finished:
            self.finished = any(choice.get("finish_reason") for choice in chunk.get("choices") or ())
        return chunk

    def end(self) -> None:
        """Raise `EngineError` if no chunk had a finish_reason, because the answer is then incomplete."""
        if not self.finished:
            raise EngineError(f"{self._source} ended the stream before the answer was complete.", status=502)
