"""Compact one-line JSON (contract §2), and error messages: the location, what was expected, what was found."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from llm_streaming.errors import ProtocolError

T = TypeVar("T")

_LONGEST_QUOTE = 60  # characters of a value in an error message


def dumps(value: object, where: str) -> str:
    """Serialise a value as compact JSON, in UTF-8 and without escapes of other characters.

    Raises:
        ProtocolError: JSON cannot hold the value (an integer beyond 64 bits, half a surrogate pair, an unknown type).
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ProtocolError(f"{where}: expected what JSON can hold, but {error}") from None


def encodable(text: str, where: str) -> str:
    """Return the text unchanged.

    Raises:
        ProtocolError: the text holds half a surrogate pair, which UTF-8 cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(
            f"{where}: expected text that UTF-8 can hold, but found half a surrogate pair at character {error.start}"
        ) from None
    return text


def as_element(value: str | dict[str, Any], where: str) -> str:
    """Return a string unchanged, and an object as JSON.

    Raises:
        ProtocolError: UTF-8 cannot hold the string, or JSON the object.
    """
    return encodable(value, where) if isinstance(value, str) else dumps(value, where)


def parse(text: str | bytes, kind: type[T], where: str, expected: str) -> T:
    """Parse a JSON value of the Python type ``kind``; ``where`` and ``expected`` are for the error message.

    Raises:
        ProtocolError: the text is not JSON, or holds another kind of value.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise unexpected(where, expected, text) from None
    if not isinstance(value, kind):
        raise unexpected(where, expected, text)
    return value


def unexpected(where: str, expected: str, found: object) -> ProtocolError:
    """Make the exception ``<where>: expected <expected>, but got <found>``; a long value is shortened."""
    got = repr(found)
    if len(got) > _LONGEST_QUOTE:
        got = f"{got[:_LONGEST_QUOTE]}…"
    return ProtocolError(f"{where}: expected {expected}, but got {got}")


def tensor_location(name: str, index: int | None = None) -> str:
    """Name a tensor or one of its elements: ``tensor 'content'`` or ``tensor 'content'[1]``."""
    return f"tensor '{name}'" if index is None else f"tensor '{name}'[{index}]"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 element`` or ``2 elements``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
