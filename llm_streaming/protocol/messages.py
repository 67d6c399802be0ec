"""Chat messages ⇄ the tensors ``role``, ``content``, ``type``, ``tool_calls`` and ``tool_call_id`` (contract §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.content import Part, as_content, decode_contents, encodable, read_content
from llm_streaming.protocol.json import tensor_location, unexpected
from llm_streaming.protocol.tensors import Tensor, check_count
from llm_streaming.protocol.tools import decode_calls, read_calls

_ROLES = ("system", "developer", "user", "assistant", "tool")
_A_ROLE = "system, developer, user, assistant or tool"


class Message(NamedTuple):
    """A checked message: the four things that SC2's translator keeps of one.

    Attributes:
        role: one of OpenAI's roles.
        parts: the content.
        calls: OpenAI tool calls.
        call_id: the ``tool_call_id``, or ``""``.
    """

    role: str
    parts: list[Part]
    calls: list[dict[str, Any]]
    call_id: str

    def as_openai(self) -> dict[str, Any]:
        """The message as OpenAI's API takes it: empty content is null beside tool calls, and ``""`` elsewhere."""
        content = as_content(self.parts)
        message: dict[str, Any] = {"role": self.role, "content": None if self.calls and not content else content}
        if self.calls:
            message["tool_calls"] = self.calls
        if self.call_id:
            message["tool_call_id"] = self.call_id
        return message


def read_messages(messages: Sequence[object]) -> list[Message]:
    """Check OpenAI messages.

    Raises:
        ProtocolError: there is no message, or one is malformed; the exception names the message's index.
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
    parts = read_content(message.get("content"), where)
    return Message(role, parts, read_calls(message.get("tool_calls"), where), encodable(call_id or "", where))


def encode_messages(messages: Sequence[object]) -> list[Tensor]:
    """Make the tensors of OpenAI messages, in the contract's order; those whose strings are all empty are left out.

    Raises:
        ProtocolError: see `read_messages`; or JSON cannot hold a part or a tool call.
    """
    checked = read_messages(messages)
    rows = [_encode_message(message, f"message {index}") for index, message in enumerate(checked)]
    columns = rows[0] if len(rows) == 1 else _listed_columns(rows)
    return [Tensor(name, tuple(data)) for name, data in columns.items() if any(data)]


def _encode_message(message: Message, where: str) -> dict[str, list[str]]:
    return {
        "role": [message.role],
        "content": [_encode_value(value, f"{where}, part {index}") for index, (_, value) in enumerate(message.parts)],
        "type": [kind for kind, _ in message.parts],
        "tool_calls": [json.dumps(call, where) for call in message.calls],
        "tool_call_id": [message.call_id],
    }


def _encode_value(value: str | dict[str, Any], where: str) -> str:
    return value if isinstance(value, str) else json.dumps(value, where)


def _listed_columns(rows: Sequence[dict[str, list[str]]]) -> dict[str, list[str]]:
    """One element for each of several messages: raw for role and id, a JSON list of strings for the others."""
    raw = ("role", "tool_call_id")
    return {name: [row[name][0] if name in raw else _listed(row[name]) for row in rows] for name in rows[0]}


def _listed(strings: list[str]) -> str:
    return json.dumps(strings, "messages") if strings else ""


def decode_messages(tensors: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Read the OpenAI messages that tensors describe: one for each element of ``role``.

    Args:
        tensors: the elements of each tensor, by name.

    Raises:
        ProtocolError: roles are missing or unknown, or the other tensors do not fit them.
    """
    roles = tensors.get("role") or ()
    if not roles:
        raise ProtocolError("tensor 'role': expected one element for each message, but it is missing")
    for index, role in enumerate(roles):
        if role not in _ROLES:
            raise unexpected(tensor_location("role", index), _A_ROLE, role)
    count = len(roles)
    parts = decode_contents(tensors.get("content") or (), tensors.get("type") or (), count)
    calls = _decode_calls(tensors.get("tool_calls") or (), count)
    ids = tensors.get("tool_call_id") or [""] * count
    check_count("tool_call_id", ids, count)
    return [Message(*columns).as_openai() for columns in zip(roles, parts, calls, ids, strict=True)]


def _decode_calls(elements: Sequence[str], count: int) -> list[list[dict[str, Any]]]:
    numbered = list(enumerate(elements))
    if count == 1:
        return [decode_calls(numbered)]
    check_count("tool_calls", elements or [""] * count, count)
    return [decode_calls([element]) for element in numbered] or [[]] * count
