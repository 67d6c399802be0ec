"""Compact one-line JSON (contract §2), and error messages that say where, what was expected and what was found."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from llm_streaming.errors import ProtocolError

T = TypeVar("T")

_LONGEST_QUOTE = 60  # characters of a value that an error message quotes


def dumps(value: object, where: str) -> str:
    """Serialise a value as compact JSON, without escaping non-ASCII characters.

    Raises:
        ProtocolError: the value is not JSON-serializable: an integer beyond 64 bits, a lone surrogate, an unknown type.
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ProtocolError(f"{where}: expected a JSON-serializable value: {error}") from None


def encodable(text: str, where: str) -> str:
    """Return the text unchanged if UTF-8 can encode it.

    Raises:
        ProtocolError: the text contains a lone surrogate, which UTF-8 cannot encode.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(
            f"{where}: expected text that UTF-8 can encode, but found a lone surrogate at character {error.start}"
        ) from None
    return text


def as_element(value: str | dict[str, Any], where: str) -> str:
    """Return a string unchanged, and an object as JSON.

    Raises:
        ProtocolError: UTF-8 cannot encode the string, or the object is not JSON-serializable.
    """
    return encodable(value, where) if isinstance(value, str) else dumps(value, where)


def parse(text: str | bytes, kind: type[T], where: str, expected: str) -> T:
    """Parse JSON whose value must have the Python type ``kind``; for ``where`` and ``expected`` see `unexpected`.

    Raises:
        ProtocolError: the text is not JSON, or its value has another type.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise unexpected(where, expected, text) from None
    if not isinstance(value, kind):
        raise unexpected(where, expected, text)
    return value


def unexpected(where: str, expected: str, found: object) -> ProtocolError:
    """Build the exception ``<where>: expected <expected>, but got <found>``; a long ``found`` is shortened."""
    got = repr(found[: _LONGEST_QUOTE + 1] if isinstance(found, str | bytes) else found)
    if len(got) > _LONGEST_QUOTE:
        got = f"{got[:_LONGEST_QUOTE]}…"
    return ProtocolError(f"{where}: expected {expected}, but got {got}")


def tensor_location(name: str, index: int | None = None) -> str:
    """Return the name of a tensor or of one of its elements: ``tensor 'content'`` or ``tensor 'content'[1]``."""
    return f"tensor '{name}'" if index is None else f"tensor '{name}'[{index}]"


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, singular or plural: ``1 element`` or ``2 elements``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
