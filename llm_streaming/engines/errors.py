"""The errors of engines: refused requests and settings, and the errors that a server sends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llm_streaming.errors import EngineError, did_you_mean

_MOST_LISTED = 50  # names in a message


def engine_error(error: object, *, status: int | None = None, retry_after: float | None = None) -> EngineError:
    """Make the exception for the ``error`` of an OpenAI answer.

    Args:
        error: an object with message, type and code as far as the server fills them in, or a text.
        status: the HTTP status, where there was one; otherwise it is the code if that is a number, or else 500.
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


def refuse_unknown(engine: str, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that would have no effect, with a hint at the one that was probably meant.

    Args:
        engine: the engine's name, for the message.
        what: the kind of thing that is named: parameter or setting.
        given: the names to check.
        known: all names that exist.

    Raises:
        EngineError: one of the names is unknown.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise bad_request(f"{engine} has no {what} {name}{known_names(name, known)}.", f"unknown_{what}")


def known_names(name: str, known: Iterable[str]) -> str:
    """A hint to append to a message about an unknown name: the most similar one, or else all that exist."""
    known = sorted(known)
    names = ", ".join(known) if len(known) < _MOST_LISTED else f"{len(known)} others, which its documentation names"
    return did_you_mean(name, known) or f": there are {names}"
