"""Compact one-line JSON, in UTF-8 rather than escapes (contract §2), with errors that say where."""

from __future__ import annotations

from typing import TypeVar

import orjson

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol.wording import complaint

T = TypeVar("T")


def dumps(value: object, where: str) -> str:
    """A value as compact JSON.

    Raises:
        ProtocolError: JSON cannot hold the value (an integer beyond 64 bits, half a surrogate pair, an unknown type).
    """
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError as error:
        raise ProtocolError(f"{where}: expected what JSON can hold, but {error}") from None


def parse(text: str | bytes, kind: type[T], where: str, expected: str) -> T:
    """The JSON value in ``text``, which has to be a ``kind`` (``dict``, ``list``, ``str``).

    Raises:
        ProtocolError: the text is not JSON, or holds another kind of value.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise complaint(where, expected, text) from None
    if not isinstance(value, kind):
        raise complaint(where, expected, text)
    return value
