"""Tools and calls of them ⇄ tensors (contract §1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llm_streaming.protocol import json
from llm_streaming.protocol.content import encodable
from llm_streaming.protocol.tensors import Tensor
from llm_streaming.protocol.wording import complaint, place

_CALL = 'a tool call, such as {"id": "…", "type": "function", "function": {"name": "…", "arguments": "…"}}'
_SWITCH = {"true": True, "false": False, "null": None}


def encode_tools(
    tools: list[dict[str, Any]] | None, parallel: bool | None, choice: str | dict[str, Any] | None
) -> list[Tensor]:
    """The tensors ``tools``, ``parallel_tool_calls`` and ``tool_choice``; none of them without tools.

    Raises:
        ProtocolError: JSON cannot hold one of them.
    """
    if not tools:
        return []
    tensors = [Tensor("tools", tuple(json.dumps(tool, f"tool {index}") for index, tool in enumerate(tools)))]
    if parallel is not None:
        tensors.append(Tensor("parallel_tool_calls", ("true" if parallel else "false",)))
    if choice is not None:
        word = encodable(choice, "tool_choice") if isinstance(choice, str) else json.dumps(choice, "tool_choice")
        tensors.append(Tensor("tool_choice", (word,)))
    return tensors


def decode_tools(elements: Sequence[str]) -> list[dict[str, Any]] | None:
    """The tools, one JSON object an element; None where there are none.

    Raises:
        ProtocolError: an element is no JSON object.
    """
    return [
        json.parse(element, dict, place("tools", index), "a JSON object") for index, element in enumerate(elements)
    ] or None


def decode_parallel(elements: Sequence[str]) -> bool | None:
    """Whether tools may be called in parallel; None where the tensor is missing or, as the translator can say, null.

    Raises:
        ProtocolError: it is not one element, ``true`` or ``false``.
    """
    word = _only("parallel_tool_calls", elements)
    if word is None:
        return None
    if word not in _SWITCH:
        raise complaint(place("parallel_tool_calls", 0), "'true' or 'false'", word)
    return _SWITCH[word]


def decode_choice(elements: Sequence[str]) -> str | dict[str, Any] | None:
    """The tool choice: a raw word, or what its JSON holds; None where the tensor is missing or null.

    Raises:
        ProtocolError: it is not one element, or it is broken JSON.
    """
    word = _only("tool_choice", elements)
    if word is None or word == "null":
        return None
    where, expected = place("tool_choice", 0), "a word, such as 'auto', or a JSON object"
    if not word:
        raise complaint(where, expected, word)
    if word.startswith("{"):
        return json.parse(word, dict, where, expected)
    return json.parse(word, str, where, expected) if word.startswith('"') else word


def _only(name: str, elements: Sequence[str]) -> str | None:
    if len(elements) > 1:
        raise complaint(place(name), "one element", len(elements))
    return elements[0] if elements else None


def encode_calls(calls: object, where: str) -> list[str]:
    """The tool calls of one message, each as compact JSON; none for null and ``[]``.

    Raises:
        ProtocolError: it is no list, or one of them is not an OpenAI tool call.
    """
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise complaint(where, "tool_calls that are a list", calls)
    return [json.dumps(_checked(call, f"{where}, tool call {index}"), where) for index, call in enumerate(calls)]


def decode_calls(elements: Iterable[tuple[int, str]]) -> list[dict[str, Any]]:
    """The tool calls in some elements of ``tool_calls``, given with their index.

    An element is a call, or a list of calls that may be encoded once more; ``""`` is none. A call is an object and
    never text, so whichever way it comes, it cannot be mistaken.

    Raises:
        ProtocolError: one of them is broken JSON or not an OpenAI tool call.
    """
    found = []
    for index, element in elements:
        where = place("tool_calls", index)
        value = json.parse(element, object, where, _CALL) if element else []
        for item in value if isinstance(value, list) else [value]:
            call = json.parse(item, object, where, _CALL) if isinstance(item, str) else item
            found.append(_checked(call, where))
    return found


def _checked(call: object, where: str) -> dict[str, Any]:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not _is_call(call):
        raise complaint(where, _CALL, call)
    return call


def _is_call(call: Mapping[str, Any]) -> bool:
    kind = call.get("type")
    body = call.get(kind) if isinstance(kind, str) else None
    if not isinstance(body, Mapping) or not isinstance(body.get("name"), str):
        return False
    return kind != "function" or isinstance(body.get("arguments"), str)
