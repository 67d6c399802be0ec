"""Conversion of chat messages to tensors and back: role, content, type, tool_calls, tool_call_id (contract §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.json import counted, tensor_location, unexpected
from llm_streaming.protocol.tensors import Tensor, per_message
from llm_streaming.protocol.tools import decode_calls, read_calls

Part: TypeAlias = tuple[str, str | dict[str, Any]]
"""A content part: its type, and the value under the key of that name in OpenAI's object."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
_A_ROLE = "system, developer, user, assistant or tool"
_PLAIN = frozenset({"text", "refusal"})  # the types of parts whose value is text, even if the text looks like JSON
_LIST = "a JSON list of strings, such as '[\"Hello\"]'"


class Message(NamedTuple):
    """A checked message, reduced to the four fields that SC2's translator keeps; ``call_id`` may be ``""``."""

    role: str
    parts: list[Part]
    calls: list[dict[str, Any]]
    call_id: str

    def as_openai(self) -> dict[str, Any]:
        """Return the message in OpenAI's form: empty content is null if there are tool calls, and ``""`` if not."""
        content = _as_content(self.parts)
        message: dict[str, Any] = {"role": self.role, "content": None if self.calls and not content else content}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.call_id:
            message["tool_call_id"] = self.call_id
        return message


def _as_content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    if not parts:
        return ""
    kind, value = parts[0]
    if len(parts) == 1 and kind == "text" and isinstance(value, str):
        return value
    return [{"type": kind, kind: _part_value(kind, value)} for kind, value in parts]


def _part_value(kind: str, value: str | dict[str, Any]) -> str | dict[str, Any]:
    # An ``image_url`` that is a string can only be a URL, and engines accept only an object.
    return {"url": value} if kind == "image_url" and isinstance(value, str) else value


def read_messages(messages: Sequence[object]) -> list[Message]:
    """Check OpenAI messages and return them as `Message` objects.

    Content that is null or ``""`` becomes one empty text part; ``[]`` becomes zero parts. Keys of a part other than its
    type and its value are dropped.

    Raises:
        ProtocolError: there is no message, or a message is malformed; the error gives the message's index.
    """
    if not messages:
        raise ProtocolError("messages: expected at least one, but got none")
    return [_read_message(message, f"message {index}") for index, message in enumerate(messages)]


def _read_message(message: object, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise unexpected(where, "an object with role and content", message)
    role, call_id = message.get("role"), message.get("tool_call_id")
    if role not in _ROLES:
        raise unexpected(f"{where}, role", _A_ROLE, role)
    if call_id is not None and not isinstance(call_id, str):
        raise unexpected(where, "a tool_call_id that is a string", call_id)
    parts = _read_content(message.get("content"), where)
    return Message(role, parts, read_calls(message.get("tool_calls"), where), json.encodable(call_id or "", where))


def _read_content(content: object, where: str) -> list[Part]:
    if content is None:
        return [("text", "")]
    if isinstance(content, str):
        return [("text", json.encodable(content, where))]
    if not isinstance(content, list):
        raise unexpected(where, "content that is a string, a list of parts or null", content)
    return [_read_part(part, f"{where}, part {index}") for index, part in enumerate(content)]


def _read_part(part: object, where: str) -> Part:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str) or not kind.isidentifier():
        raise unexpected(where, 'an object with a type, such as {"type": "text", "text": "Hello"}', part)
    value = part.get(kind)
    if isinstance(value, str):
        return kind, json.encodable(value, where)
    if not isinstance(value, dict) or kind in _PLAIN:
        raise unexpected(where, f"a {'string' if kind in _PLAIN else 'string or an object'} under '{kind}'", value)
    return kind, value


def encode_messages(messages: Sequence[object]) -> list[Tensor]:
    """Encode OpenAI messages as tensors, in the contract's order; tensors with only empty strings are left out.

    Raises:
        ProtocolError: as for `read_messages`, or a part or a tool call is not JSON-serializable.
    """
    rows = [_encode_message(message, f"message {index}") for index, message in enumerate(read_messages(messages))]
    columns = rows[0]
    if len(rows) > 1:
        columns = {name: [_as_one_element(name, row[name]) for row in rows] for name in columns}
    return [Tensor(name, tuple(data)) for name, data in columns.items() if any(data)]


def _encode_message(message: Message, where: str) -> dict[str, list[str]]:
    """Return the elements of each tensor for a request that contains only this message."""
    values = (value for _, value in message.parts)
    return {
        "role": [message.role],
        "content": [json.as_element(value, f"{where}, part {index}") for index, value in enumerate(values)],
        "type": [kind for kind, _ in message.parts],
        "tool_calls": [json.dumps(call, where) for call in message.calls],
        "tool_call_id": [message.call_id],
    }


def _as_one_element(name: str, strings: list[str]) -> str:
    """Encode one message's strings as a single element: a role or an id as it is, anything else as a JSON list."""
    if name in ("role", "tool_call_id"):
        return strings[0]
    return json.dumps(strings, "messages") if strings else ""


def decode_messages(tensors: Mapping[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    """Decode OpenAI messages from the tensors' elements: one message for each element of ``role``.

    Raises:
        ProtocolError: a role is missing or unknown, or another tensor is malformed or has the wrong number of elements.
    """
    roles = tensors.get("role") or ()
    if not roles:
        raise ProtocolError("tensor 'role': expected one element for each message, but it is missing")
    for index, role in enumerate(roles):
        if role not in _ROLES:
            raise unexpected(tensor_location("role", index), _A_ROLE, role)
    parts, calls = _decode_contents(tensors, len(roles)), _decode_calls(tensors, len(roles))
    ids = per_message(tensors, "tool_call_id", len(roles))
    return [Message(*columns).as_openai() for columns in zip(roles, parts, calls, ids, strict=True)]


def _decode_calls(tensors: Mapping[str, tuple[str, ...]], count: int) -> list[list[dict[str, Any]]]:
    if count == 1:
        return [decode_calls(enumerate(tensors.get("tool_calls", ())))]
    return [decode_calls([element]) for element in enumerate(per_message(tensors, "tool_calls", count))]


def _decode_contents(tensors: Mapping[str, tuple[str, ...]], count: int) -> list[list[Part]]:
    """Decode the parts of each message.

    For a single message, each element of ``content`` is plain text, even if it looks like JSON, unless ``type`` is a
    JSON list. For several messages, each element is the JSON list of a message's parts, or ``""`` for an empty message,
    and each element of ``type`` is a JSON list or one word for all parts of the message. A missing type means ``text``.
    """
    contents, types = tensors.get("content", ()), tensors.get("type", ())
    if count == 1 and not (types and types[0].startswith("[")):
        kinds = [kind or "text" for kind in types] or ["text"] * len(contents)
        return [_decode_parts(contents, kinds)]
    pairs = zip(per_message(tensors, "content", count), per_message(tensors, "type", count), strict=True)
    return [_decode_listed(content, kind, index) for index, (content, kind) in enumerate(pairs)]


def _decode_listed(content: str, kind: str, index: int) -> list[Part]:
    values = _strings(content, tensor_location("content", index)) if content else []
    listed = values and kind.startswith("[")
    kinds = _strings(kind, tensor_location("type", index)) if listed else [kind or "text"] * len(values)
    return _decode_parts(values, kinds, index)


def _strings(element: str, where: str) -> list[str]:
    values = json.parse(element, list, where, _LIST)
    if not all(isinstance(value, str) for value in values):
        raise unexpected(where, _LIST, element)
    return values


def _decode_parts(values: Sequence[str], kinds: Sequence[str], message: int | None = None) -> list[Part]:
    """Pair values with their types; ``message`` is the message's index if the values are from one JSON list."""
    if not values:
        return []
    if len(kinds) != len(values):
        expected = f"{counted(len(values), 'part type')}, one for each part"
        raise unexpected(tensor_location("type", message), expected, len(kinds))
    pairs = enumerate(zip(kinds, values, strict=True))
    return [_decode_part(kind, value, number if message is None else message) for number, (kind, value) in pairs]


def _decode_part(kind: str, value: str, index: int) -> Part:
    if not kind.isidentifier():
        raise unexpected(tensor_location("type", index), "a part type, such as 'text'", kind)
    if kind in _PLAIN or not value.startswith("{"):
        return kind, value
    expected = f"a JSON object for a part of type '{kind}'"
    return kind, json.parse(value, dict, tensor_location("content", index), expected)
