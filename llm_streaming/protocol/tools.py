"""Conversion of tools and tool calls to tensors and back (contract §1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from llm_streaming.protocol import json
from llm_streaming.protocol.json import tensor_location, unexpected
from llm_streaming.protocol.tensors import Tensor

_CALL = 'a tool call, such as {"id": "…", "type": "function", "function": {"name": "…", "arguments": "…"}}'
_CHOICE = "a word, such as 'auto', or a JSON object"

Tools: TypeAlias = tuple[list[dict[str, Any]] | None, str | dict[str, Any] | None, bool | None]
"""A request's ``tools``, ``tool_choice`` and ``parallel_tool_calls``; a value that is not given is None."""


def read_tools(tools: object, choice: object, parallel: object) -> Tools:
    """Check and return tools, tool_choice and parallel_tool_calls; without tools, all three are returned as None.

    Raises:
        ProtocolError: a value has the wrong type.
    """
    if tools is not None and not isinstance(tools, list):
        raise unexpected("tools", "a list", tools)
    if not tools:
        return None, None, None
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise unexpected(f"tool {index}", "an object", tool)
    if not isinstance(choice, str | dict | None) or choice == "":
        raise unexpected("tool_choice", _CHOICE, choice)
    if not isinstance(parallel, bool | None):
        raise unexpected("parallel_tool_calls", "true or false", parallel)
    return tools, choice, parallel


def encode_tools(tools: object, choice: object, parallel: object) -> list[Tensor]:
    """Encode tools, tool_choice and parallel_tool_calls as tensors; without tools, return an empty list.

    Raises:
        ProtocolError: a value has the wrong type or is not JSON-serializable.
    """
    tools, choice, parallel = read_tools(tools, choice, parallel)
    if not tools:
        return []
    tensors = [Tensor("tools", tuple(json.dumps(tool, f"tool {index}") for index, tool in enumerate(tools)))]
    if parallel is not None:
        tensors.append(Tensor("parallel_tool_calls", ("true" if parallel else "false",)))
    if choice is not None:
        tensors.append(Tensor("tool_choice", (json.as_element(choice, "tool_choice"),)))
    return tensors


def decode_tools(tensors: Mapping[str, Sequence[str]]) -> Tools:
    """Decode tools (a JSON object each), tool_choice (a word or JSON) and parallel_tool_calls (true or false).

    Raises:
        ProtocolError: an element is malformed, or tool_choice or parallel_tool_calls has more than one element.
    """
    tools = [
        json.parse(element, dict, tensor_location("tools", index), "a JSON object")
        for index, element in enumerate(tensors.get("tools", ()))
    ]
    choice = _decode_choice(_only_element(tensors, "tool_choice"))
    return tools or None, choice, _decode_parallel(_only_element(tensors, "parallel_tool_calls"))


def _decode_choice(word: str | None) -> str | dict[str, Any] | None:
    where = tensor_location("tool_choice", 0)
    if word is None or (word and word[0] not in '{"'):
        return word
    if word.startswith("{"):
        return json.parse(word, dict, where, _CHOICE)
    return json.parse(word, str, where, _CHOICE)


def _decode_parallel(word: str | None) -> bool | None:
    if word is None:
        return None
    return json.parse(word, bool, tensor_location("parallel_tool_calls", 0), "'true' or 'false'")


def _only_element(tensors: Mapping[str, Sequence[str]], name: str) -> str | None:
    """Return a tensor's only element; None if the tensor is missing, or ``null``, which SC2's translator can send."""
    elements = tensors.get(name, ())
    if len(elements) > 1:
        raise unexpected(tensor_location(name), "one element", len(elements))
    return elements[0] if elements and elements[0] != "null" else None


def read_calls(calls: object, where: str) -> list[dict[str, Any]]:
    """Check the tool calls of one OpenAI message; null becomes an empty list.

    Raises:
        ProtocolError: ``calls`` is neither null nor a list, or an item of the list is not an OpenAI tool call.
    """
    if calls is None:
        return []
    if not isinstance(calls, list):
        raise unexpected(where, "tool_calls as a list", calls)
    return [_checked(call, f"{where}, tool call {index}") for index, call in enumerate(calls)]


def decode_calls(elements: Iterable[tuple[int, str]]) -> list[dict[str, Any]]:
    """Decode the tool calls in elements of the tensor ``tool_calls``, given as pairs of index and element.

    An element is JSON: a call, a list of calls, or a list of strings that contain a call's JSON each; ``""`` means no
    calls. Requests may mix these forms, because a call is an object and cannot be mistaken for text.

    Raises:
        ProtocolError: an element is not JSON, or contains something other than OpenAI tool calls.
    """
    found = []
    for index, element in elements:
        where = tensor_location("tool_calls", index)
        value = json.parse(element, object, where, _CALL) if element else []
        for item in value if isinstance(value, list) else [value]:
            call = json.parse(item, object, where, _CALL) if isinstance(item, str) else item
            found.append(_checked(call, where))
    return found


def _checked(call: object, where: str) -> dict[str, Any]:
    if not isinstance(call, dict) or not isinstance(call.get("id"), str) or not _is_call(call):
        raise unexpected(where, _CALL, call)
    return call


def _is_call(call: Mapping[str, Any]) -> bool:
    kind = call.get("type")
    body = call.get(kind) if isinstance(kind, str) else None
    if not isinstance(body, Mapping) or not isinstance(body.get("name"), str):
        return False
    return kind != "function" or isinstance(body.get("arguments"), str)
