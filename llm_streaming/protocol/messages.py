"""Chat messages ⇄ the tensors ``role``, ``content``, ``type``, ``tool_calls`` and ``tool_call_id`` (contract §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.content import Content, decode_many, decode_one, encodable, encode_parts
from llm_streaming.protocol.tensors import Tensor
from llm_streaming.protocol.tools import decode_calls, encode_calls
from llm_streaming.protocol.wording import complaint, counted, place

_ROLES = ("system", "developer", "user", "assistant", "tool")
_A_ROLE = "system, developer, user, assistant or tool"


def encode_messages(messages: Sequence[object]) -> list[Tensor]:
    """The tensors of at least one message, in the contract's order; those whose strings are all empty are left out.

    Of a message only role, content, tool_calls and tool_call_id are sent, as SC2's translator does.

    Raises:
        ProtocolError: there is no message, or one is malformed; it names the message's index.
    """
    if not messages:
        raise ProtocolError("messages: expected at least one, but got none")
    rows = [_encode_message(message, f"message {index}") for index, message in enumerate(messages)]
    columns = _lone_columns(rows[0]) if len(rows) == 1 else _listed_columns(rows)
    return [Tensor(name, tuple(data)) for name, data in columns.items() if any(data)]


_Row = tuple[str, list[tuple[str, str]], list[str], str]  # role, parts, tool calls, tool call id


def _encode_message(message: object, where: str) -> _Row:
    if not isinstance(message, Mapping):
        raise complaint(where, "an object with role and content", message)
    role, call_id = message.get("role"), message.get("tool_call_id")
    if role not in _ROLES:
        raise complaint(f"{where}, role", _A_ROLE, role)
    if call_id is not None and not isinstance(call_id, str):
        raise complaint(where, "a tool_call_id that is a string", call_id)
    parts = encode_parts(message.get("content"), where)
    return role, parts, encode_calls(message.get("tool_calls"), where), encodable(call_id or "", where)


def _lone_columns(row: _Row) -> dict[str, list[str]]:
    role, parts, calls, call_id = row
    return {
        "role": [role],
        "content": [value for _, value in parts],
        "type": [kind for kind, _ in parts],
        "tool_calls": calls,
        "tool_call_id": [call_id],
    }


def _listed_columns(rows: Sequence[_Row]) -> dict[str, list[str]]:
    return {
        "role": [role for role, _, _, _ in rows],
        "content": [_listed([value for _, value in parts]) for _, parts, _, _ in rows],
        "type": [_listed([kind for kind, _ in parts]) for _, parts, _, _ in rows],
        "tool_calls": [_listed(calls) for _, _, calls, _ in rows],
        "tool_call_id": [call_id for _, _, _, call_id in rows],
    }


def _listed(strings: list[str]) -> str:
    return json.dumps(strings, "messages") if strings else ""


def decode_messages(tensors: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The messages that tensors, elements by name, describe: one for each element of ``role``.

    A lone text part becomes a string, other content a list of OpenAI parts. Null, ``""`` and ``[]`` cannot be told
    apart on the wire: empty content is null beside tool calls and ``""`` elsewhere.

    Raises:
        ProtocolError: roles are missing or unknown, or the other tensors do not fit them.
    """
    roles = tensors.get("role") or ()
    if not roles:
        raise ProtocolError("tensor 'role': expected one element for each message, but it is missing")
    for index, role in enumerate(roles):
        if role not in _ROLES:
            raise complaint(place("role", index), _A_ROLE, role)
    columns = zip(roles, _contents(tensors, len(roles)), _calls(tensors, len(roles)), _ids(tensors, roles), strict=True)
    return [_message(*column) for column in columns]


def _contents(tensors: Mapping[str, Sequence[str]], count: int) -> list[Content]:
    contents, types = tensors.get("content") or (), tensors.get("type") or ()
    return [decode_one(contents, types)] if count == 1 else decode_many(contents, types, count)


def _calls(tensors: Mapping[str, Sequence[str]], count: int) -> list[list[dict[str, Any]]]:
    elements = list(enumerate(tensors.get("tool_calls") or ()))
    if count == 1:
        return [decode_calls(elements)]
    if not elements:
        return [[]] * count
    if len(elements) != count:
        raise complaint(place("tool_calls"), f"{counted(count, 'element')}, one for each message", len(elements))
    return [decode_calls([element]) for element in elements]


def _ids(tensors: Mapping[str, Sequence[str]], roles: Sequence[str]) -> Sequence[str]:
    elements = tensors.get("tool_call_id") or [""] * len(roles)
    if len(elements) != len(roles):
        raise complaint(place("tool_call_id"), f"{counted(len(roles), 'element')}, one for each message", len(elements))
    return elements


def _message(role: str, content: Content, calls: list[dict[str, Any]], call_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": None if calls and not content else content}
    if calls:
        message["tool_calls"] = calls
    if call_id:
        message["tool_call_id"] = call_id
    return message
