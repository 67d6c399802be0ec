"""OpenAI answers, chunks and completions alike: checked once, so that everybody else can rely on their form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_streaming.protocol import json
from llm_streaming.protocol.wording import complaint


def parse_answer(line: bytes | str, where: str) -> dict[str, Any]:
    """A ``chat.completion.chunk`` or ``chat.completion`` from its JSON.

    Raises:
        ProtocolError: it is no JSON object, or choices, deltas, text or tool calls are not of OpenAI's kind.
    """
    answer = json.parse(line, dict, where, "a JSON object")
    for choice in _objects(answer, "choices", where):
        for name in ("delta", "message"):
            body = _object(choice, name, where)
            _check_text(body, "content", where)
            for call in _objects(body, "tool_calls", where):
                _check_text(_object(call, "function", where), "arguments", where)
    return answer


def _object(parent: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise complaint(where, f"{name} as an object", value)
    return value or {}


def _check_text(parent: Mapping[str, Any], name: str, where: str) -> None:
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise complaint(where, f"{name} as a string or null", value)


def _objects(parent: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    values = parent.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise complaint(where, f"{name} as a list of objects", values)
    return values


def first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Choice 0 of an answer, the one whose text is streamed; empty where there is none, as beside usage."""
    return next((choice for choice in answer.get("choices") or () if not choice.get("index")), {})


def body_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """The delta of a chunk's choice, or the message of a completion's."""
    body: Mapping[str, Any] = choice.get("delta") or choice.get("message") or {}
    return body


def drop_null_tool_calls(answer: Mapping[str, Any]) -> bool:
    """Take ``"tool_calls": null`` out of every choice, in place; clients echo it, and the translator answers 400.

    Returns:
        Whether there was one.
    """
    found = False
    for choice in answer.get("choices") or ():
        for body in (choice.get("delta"), choice.get("message")):
            if body and "tool_calls" in body and body["tool_calls"] is None:
                del body["tool_calls"]
                found = True
    return found
