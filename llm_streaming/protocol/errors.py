"""Errors of an engine, as they cross the wire and back (contract §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from llm_streaming.errors import EngineError
from llm_streaming.protocol.outputs import Event

_LONGEST = 1_000  # characters: the event, which holds an error twice, has to stay below 65,536 bytes

# Where no status comes with an error, its code or else its type tells it.
_STATUS = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "invalid_request_error": 422,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout": 504,
}


def encode_error(error: Mapping[str, Any]) -> Event:
    """The last event of a failed stream; its ``output_all`` is also the string for ``parameters.error``.

    It never fails: half a surrogate pair becomes ``?``, and a text ends after 1,000 characters.

    Args:
        error: ``{"error": {"message", "type", "code"}}``, as of :meth:`EngineError.as_openai`; other keys are dropped.
    """
    inner = error["error"]
    texts = {name: _sendable(inner.get(name)) for name in ("message", "type", "code")}
    line = orjson.dumps({"error": texts})
    return [("role", b"assistant"), ("content", b""), ("type", b"text"), ("output_all", line)]


def _sendable(value: object) -> str | None:
    return None if value is None else str(value)[:_LONGEST].encode(errors="replace").decode()


def decode_error(error: object, status: object = None, retry_after: object = None) -> EngineError:
    """The exception for an error that arrived: the object above, only what is inside, its JSON, or plain words.

    Args:
        error: the error.
        status: its HTTP status, where one came with it; else its code or type has to tell.
        retry_after: the seconds to wait before asking again, where they came with it.
    """
    if isinstance(error, str | bytes):
        error = _parsed(error)
    if isinstance(error, Mapping):
        error = error.get("error", error)
    if not isinstance(error, Mapping):
        return EngineError(str(error))
    kind, code = str(error.get("type") or "server_error"), error.get("code")
    code = None if code is None else str(code)
    told = status if isinstance(status, int) else _STATUS.get(code or "") or _STATUS.get(kind, 500)
    wait = retry_after if isinstance(retry_after, int) else None
    return EngineError(str(error.get("message") or kind), status=told, type=kind, code=code, retry_after=wait)


def _parsed(text: str | bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text if isinstance(text, str) else text.decode(errors="replace")
