"""The interface of all engines, the check of what they stream, and the errors that they share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import orjson

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
        return True

    def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. Closing the generator ends the generation (``contextlib.aclosing``).

        Yields:
            Each ``chat.completion.chunk``, parsed and checked; the one with the usage (``choices: []``) comes last.

        Raises:
            EngineError: the request is refused, or the stream ended without a finish_reason and so is no answer.
        """

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a whole answer, one ``chat.completion``, parsed and checked; by default it is collected from a stream.

        Raises:
            EngineError: the request is refused or fails.
        """
        async with aclosing(self.stream(request)) as chunks:
            return accumulate([chunk async for chunk in chunks])

    async def close(self) -> None:
        """End all running streams and free the engine's resources; streams after this raise `EngineError`."""


def engine_error(error: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
    """Make the exception for the ``error`` of an OpenAI answer.

    Args:
        error: an object with message, type and code as far as the server fills them in, or a text.
        status: the HTTP status; by default the code if that is a number, or else 500.
        retry_after: seconds to wait, where the server named them.
    """
    fields: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    code = fields.get("code")
    if isinstance(code, int):  # llama.cpp and OpenRouter put the HTTP status here
        status, code = status or code, None
    status = status or 500
    return EngineError(
        str(fields.get("message") or "The provider failed without saying why."),
        status=status,
        type=str(fields.get("type") or ("invalid_request_error" if status < 500 else "server_error")),
        code=None if code is None else str(code),
        retry_after=retry_after,
    )


def bad_request(message: str, code: str | None = None) -> EngineError:
    """Make the error of a request, or a setting, that the engine refuses."""
    return EngineError(message, status=400, type="invalid_request_error", code=code)


def unloaded() -> EngineError:
    """Make the error of a request to an engine that has been closed."""
    return EngineError("The model has been unloaded: load it again.", status=503, code="model_unloaded")


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
        """Parse and check the JSON of a chunk or of a whole completion.

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
        """Raise `EngineError` if no chunk had a finish_reason, so that the answer was cut short."""
        if not self.finished:
            raise EngineError(f"{self._source} ended the stream before the answer was complete.", status=502)
