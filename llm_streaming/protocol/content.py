"""The content of chat messages as parts, each with a type and a value, and as tensor elements (contract §1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.json import counted, tensor_location, unexpected
from llm_streaming.protocol.tensors import check_count

Part: TypeAlias = tuple[str, str | dict[str, Any]]
"""The type of a content part, and the value that OpenAI's object holds under that name."""

_PLAIN = frozenset({"text", "refusal"})  # parts whose value is text, even where it looks like JSON
_LIST = "a JSON list of strings, such as '[\"Hello\"]'"


def read_content(content: object, where: str) -> list[Part]:
    """Check the content of an OpenAI message and take it apart.

    Null and ``""`` are one empty text, and ``[]`` is no part; keys of a part beside its type and value are dropped.

    Raises:
        ProtocolError: the content is no string, list or null, or a part lacks its type or the value under that name.
    """
    if content is None:
        return [("text", "")]
    if isinstance(content, str):
        return [("text", encodable(content, where))]
    if not isinstance(content, list):
        raise unexpected(where, "content that is a string, a list of parts or null", content)
    return [_read_part(part, f"{where}, part {index}") for index, part in enumerate(content)]


def _read_part(part: object, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str) or not kind.isidentifier():
        raise unexpected(where, 'an object with a type, such as {"type": "text", "text": "Hello"}', part)
    value = part.get(kind)
    if isinstance(value, str):
        return kind, encodable(value, where)
    if not isinstance(value, dict) or kind in _PLAIN:
        raise unexpected(where, f"a {'string' if kind in _PLAIN else 'string or an object'} under '{kind}'", value)
    return kind, value


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


def as_content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    """Make an OpenAI message's content: a string for no part or one text, a list of parts otherwise."""
    if not parts:
        return ""
    kind, value = parts[0]
    if len(parts) == 1 and kind == "text" and isinstance(value, str):
        return value
    return [{"type": kind, kind: _part_value(kind, value)} for kind, value in parts]


def _part_value(kind: str, value: str | dict[str, Any]) -> str | dict[str, Any]:
    # A bare address is all that a string can be here, and engines take only the object.
    return {"url": value} if kind == "image_url" and isinstance(value, str) else value


def decode_contents(contents: Sequence[str], types: Sequence[str], count: int) -> list[list[Part]]:
    """Read the parts of each message.

    A lone message has raw strings, unless its ``type`` is a JSON list: its text stays text even where it looks like
    JSON. With several messages every element of ``content`` is a JSON list, because a raw text could look like one;
    ``""`` is an empty message, and a type may also be one raw word for all parts of its message. A missing type is
    text.

    Raises:
        ProtocolError: an element is no list of strings, types and parts differ in number, or a part is malformed.
    """
    if count == 1 and not (types and types[0].startswith("[")):
        return [_decode_raw(contents, types)]
    contents, types = contents or [""] * count, types or [""] * count
    check_count("content", contents, count)
    check_count("type", types, count)
    pairs = zip(contents, types, strict=True)
    return [_decode_listed(content, kind, index) for index, (content, kind) in enumerate(pairs)]


def _decode_raw(contents: Sequence[str], types: Sequence[str]) -> list[Part]:
    if not contents:
        return []
    kinds = [kind or "text" for kind in types] or ["text"] * len(contents)
    if len(kinds) != len(contents):
        expected = f"{counted(len(contents), 'element')}, one for each of 'content'"
        raise unexpected(tensor_location("type"), expected, len(kinds))
    pairs = zip(kinds, contents, strict=True)
    return [_decode_part(kind, value, index) for index, (kind, value) in enumerate(pairs)]


def _decode_listed(content: str, kind: str, index: int) -> list[Part]:
    values = _strings(content, tensor_location("content", index)) if content else []
    if not values:
        return []
    listed = kind.startswith("[")
    kinds = _strings(kind, tensor_location("type", index)) if listed else [kind or "text"] * len(values)
    if len(kinds) != len(values):
        raise unexpected(tensor_location("type", index), f"a JSON list of {counted(len(values), 'part type')}", kind)
    return [_decode_part(kind, value, index) for kind, value in zip(kinds, values, strict=True)]


def _strings(element: str, where: str) -> list[str]:
    values = json.parse(element, list, where, _LIST)
    if not all(isinstance(value, str) for value in values):
        raise unexpected(where, _LIST, element)
    return values


def _decode_part(kind: str, value: str, index: int) -> Part:
    if not kind.isidentifier():
        raise unexpected(tensor_location("type", index), "a part type, such as 'text'", kind)
    if kind in _PLAIN or not value.startswith("{"):
        return kind, value
    expected = f"a JSON object for a part of type '{kind}'"
    return kind, json.parse(value, dict, tensor_location("content", index), expected)
