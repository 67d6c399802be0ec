"""What engines say when they do not take a request or a setting."""

from __future__ import annotations

from collections.abc import Iterable

from llm_streaming.errors import EngineError, did_you_mean

# Longer lists of names help nobody.
_LISTED = 50


def bad_request(message: str, code: str | None = None) -> EngineError:
    """The error of a request, or a setting, that the engine refuses."""
    return EngineError(message, status=400, type="invalid_request_error", code=code)


def unloaded() -> EngineError:
    """The error of a request to an engine that has been closed."""
    return EngineError("The model has been unloaded: load it again.", status=503, code="model_unloaded")


def refuse_unknown(engine: str, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse a name that would have no effect, and say which one was probably meant.

    Args:
        engine: who is asked, for the message.
        what: what is named: a parameter, or a setting.
        given: the names to check.
        known: all that there are.

    Raises:
        EngineError: one of them is unknown.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            names = ", ".join(known) if len(known) < _LISTED else f"{len(known)} others, which its documentation names"
            hint = did_you_mean(name, known) or f": there are {names}"
            raise bad_request(f"{engine} has no {what} {name}{hint}.", f"unknown_{what}")
