"""What every engine's chunks are held to, whoever made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from llm_streaming.errors import EngineError


def engine_error(error: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
    """The ``error`` of an OpenAI answer as an exception.

    Args:
        error: an object with message, type and code as far as the server fills them in, or merely a text.
        status: the HTTP status where there was one; otherwise a numeric code is taken for it, and else 500.
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


def read_object(data: bytes, *, source: str, error: Callable[[Any], EngineError]) -> tuple[dict[str, Any], bytes]:
    """Read one JSON object that an engine sent.

    Args:
        data: what it sent.
        source: who sent it, to begin a sentence with.
        error: what makes an exception of an ``error`` in it.

    Returns:
        The object, and its JSON on one line: the bytes as they came where they are compact already.

    Raises:
        EngineError: it is not a JSON object, or it is an error.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise EngineError(f"{source} sent something that is not a JSON object.", status=502)
    if value.get("error"):
        raise error(value["error"])
    # A false alarm, from a text that holds these three characters, costs only the time to write it anew.
    loose = b"\n" in data or b'": ' in data
    return value, orjson.dumps(value) if loose else data


class ChunkChecker:
    """Reads a stream's chunks one by one and knows at its end whether that was an answer.

    Args:
        source: who sends the chunks, to begin a sentence with.
        error: what makes an exception of a chunk that is an error.
    """

    def __init__(self, source: str, error: Callable[[Any], EngineError] = engine_error) -> None:
        self._source = source
        self._error = error
        self.finished = False  # whether a chunk had a finish_reason

    def check(self, data: bytes) -> bytes:
        """One chunk as JSON on one line.

        Args:
            data: the chunk as it came.

        Raises:
            EngineError: it is not a JSON object, or it is an error.
        """
        chunk, line = read_object(data, source=self._source, error=self._error)
        self.finished = self.finished or _has_finish_reason(chunk.get("choices"))
        return line

    def end(self) -> None:
        """Accept the stream's end.

        Raises:
            EngineError: no chunk had a finish_reason, so the answer was cut short.
        """
        if not self.finished:
            raise EngineError(f"{self._source} ended the stream before the answer was complete.", status=502)


def _has_finish_reason(choices: object) -> bool:
    return isinstance(choices, list) and any(isinstance(each, dict) and each.get("finish_reason") for each in choices)
