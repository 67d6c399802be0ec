"""How this room complains: where, what was expected, what came instead, in one sentence."""

from __future__ import annotations

from llm_streaming.errors import ProtocolError

_LONGEST = 60  # characters of a value that a message quotes


def place(tensor: str, index: int | None = None) -> str:
    """Where a value stands: ``tensor 'content'`` or ``tensor 'content'[1]``."""
    return f"tensor '{tensor}'" if index is None else f"tensor '{tensor}'[{index}]"


def complaint(where: str, expected: str, got: object) -> ProtocolError:
    """The exception to raise: ``<where>: expected <expected>, but got <got>``, a long value shortened."""
    return ProtocolError(f"{where}: expected {expected}, but got {_shorten(got)}")


def counted(number: int, noun: str) -> str:
    """``1 element`` or ``2 elements``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shorten(value: object) -> str:
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _LONGEST else f"{value[:_LONGEST]!r}…"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
