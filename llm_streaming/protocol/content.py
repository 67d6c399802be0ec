"""A message's content ⇄ its parts on the wire, a type and a string each (contract §1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.wording import complaint, counted, place

Content: TypeAlias = str | list[dict[str, Any]]

_PLAIN = frozenset({"text", "refusal"})  # parts whose value is text, even where it looks like JSON
_LIST = "a JSON list of strings, such as '[\"Hello\"]'"


def encode_parts(content: object, where: str) -> list[tuple[str, str]]:
    """The parts of one message, as (type, value): a value is text or the compact JSON of an object.

    Null and ``""`` are one empty text, ``[]`` is no part at all; keys of a part beside its type and value are dropped.

    Raises:
        ProtocolError: the content is no string, list or null, or a part lacks its type or the value under that name.
    """
    if content is None:
        return [("text", "")]
    if isinstance(content, str):
        return [("text", encodable(content, where))]
    if not isinstance(content, list):
        raise complaint(where, "content that is a string, a list of parts or null", content)
    return [_encode_part(part, f"{where}, part {index}") for index, part in enumerate(content)]


def _encode_part(part: object, where: str) -> tuple[str, str]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str) or not kind.isidentifier():
        raise complaint(where, 'an object with a type, such as {"type": "text", "text": "Hello"}', part)
    value = part.get(kind)
    if isinstance(value, str):
        return kind, encodable(value, where)
    if not isinstance(value, dict) or kind in _PLAIN:
        raise complaint(where, f"a {'string' if kind in _PLAIN else 'string or an object'} under '{kind}'", value)
    return kind, json.dumps(value, where)


def encodable(text: str, where: str) -> str:
    """The text itself.

    Raises:
        ProtocolError: it holds half a surrogate pair, which UTF-8 cannot.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(
            f"{where}: expected text that UTF-8 can hold, but found half a surrogate pair at character {error.start}"
        ) from None
    return text


def decode_one(contents: Sequence[str], types: Sequence[str]) -> Content:
    """The content of a lone message: raw parts, or a JSON list where ``type`` is encoded as one.

    Text stays what it is even where it looks like JSON. Without ``type`` every part is text.

    Raises:
        ProtocolError: parts and types differ in number, or a part is malformed.
    """
    if types and types[0].startswith("["):
        return decode_many(contents, types, 1)[0]
    if not contents:
        return ""
    kinds = [kind or "text" for kind in types] or ["text"] * len(contents)
    if len(kinds) != len(contents):
        raise complaint(place("type"), f"{counted(len(contents), 'element')}, one for each of 'content'", len(kinds))
    parts = zip(kinds, contents, strict=True)
    return _join([_decode_part(kind, value, index) for index, (kind, value) in enumerate(parts)])


def decode_many(contents: Sequence[str], types: Sequence[str], count: int) -> list[Content]:
    """The content of each of ``count`` messages, every element a JSON list.

    An element ``""`` is an empty message. A type may also be one raw word, which then holds for every part of its
    message, and is text where it is missing. Content has to be a list: a raw text could not be told from one.

    Raises:
        ProtocolError: an element is no list of strings, or a message has not as many types as parts.
    """
    for name, elements in (("content", contents), ("type", types)):
        if elements and len(elements) != count:
            raise complaint(place(name), f"{counted(count, 'element')}, one for each message", len(elements))
    empty = [""] * count
    pairs = zip(contents or empty, types or empty, strict=True)
    return [_decode_listed(content, kind, index) for index, (content, kind) in enumerate(pairs)]


def _decode_listed(content: str, kind: str, index: int) -> Content:
    values = _strings(content, place("content", index)) if content else []
    if not values:
        return ""
    listed = kind.startswith("[")
    kinds = _strings(kind, place("type", index)) if listed else [kind or "text"] * len(values)
    if len(kinds) != len(values):
        raise complaint(place("type", index), f"a JSON list of {counted(len(values), 'part type')}", kind)
    return _join([_decode_part(kind, value, index) for kind, value in zip(kinds, values, strict=True)])


def _strings(element: str, where: str) -> list[str]:
    values = json.parse(element, list, where, _LIST)
    if not all(isinstance(value, str) for value in values):
        raise complaint(where, _LIST, element)
    return values


def _decode_part(kind: str, value: str, index: int) -> dict[str, Any]:
    if not kind.isidentifier():
        raise complaint(place("type", index), "a part type, such as 'text'", kind)
    if kind not in _PLAIN and value.startswith("{"):
        decoded = json.parse(value, dict, place("content", index), f"a JSON object for a part of type '{kind}'")
        return {"type": kind, kind: decoded}
    # A bare address is all that a string can be here, and engines take the object only.
    return {"type": kind, kind: {"url": value} if kind == "image_url" else value}


def _join(parts: list[dict[str, Any]]) -> Content:
    if len(parts) == 1 and parts[0]["type"] == "text":
        text: str = parts[0]["text"]
        return text
    return parts
