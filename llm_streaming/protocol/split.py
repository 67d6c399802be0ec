"""Long chunks in pieces that fit into an event (contract §2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Json = dict[str, Any]

_HEADER = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def split(chunk: Json, fits: Callable[[Json], bool]) -> Iterator[Json]:
    """Halve a chunk, and its halves, until every piece fits or nothing is left to divide.

    Text, tool-call arguments and logprobs of the pieces concatenate to the chunk's own; finish_reason, usage and
    whatever else a chunk holds come with the last piece.
    """
    halves = None if fits(chunk) else _halve(chunk)
    if halves is None:
        yield chunk
        return
    for half in halves:
        yield from split(half, fits)


def _halve(chunk: Json) -> tuple[Json, Json] | None:
    choices = chunk.get("choices") or []
    if len(choices) == 1:
        halves = _halve_choice(choices[0])
        if halves is None:
            return None
        first, last = [halves[0]], [halves[1]]
    elif choices:
        first, last = _middle(choices)
    else:
        return None
    head = {name: chunk[name] for name in _HEADER if name in chunk}
    if "usage" in chunk:
        head["usage"] = None
    return {**head, "choices": first}, {**chunk, "choices": last}


def _halve_choice(choice: Json) -> tuple[Json, Json] | None:
    deltas = _halve_delta(choice.get("delta") or {})
    if deltas is None:
        return None
    first = {"index": choice.get("index", 0), "delta": deltas[0], "finish_reason": None}
    last = {**choice, "delta": deltas[1]}
    if isinstance(choice.get("logprobs"), dict):
        first["logprobs"], last["logprobs"] = _halve_lists(choice["logprobs"])
    return first, last


def _halve_delta(delta: Json) -> tuple[Json, Json] | None:
    calls = delta.get("tool_calls") or []
    texts = {name: text for name, text in delta.items() if name != "role" and isinstance(text, str) and text}
    if calls and texts:
        return {name: value for name, value in delta.items() if name != "tool_calls"}, {"tool_calls": calls}
    if len(calls) == 1:
        halves = _halve_call(calls[0])
        return halves and ({**delta, "tool_calls": [halves[0]]}, {"tool_calls": [halves[1]]})
    if calls:
        first, last = _middle(calls)
        return {**delta, "tool_calls": first}, {"tool_calls": last}
    if all(len(text) < 2 for text in texts.values()):
        return None
    pairs = {name: _middle(text) for name, text in texts.items()}
    firsts = {name: first for name, (first, _) in pairs.items()}
    return {**delta, **firsts}, {name: last for name, (_, last) in pairs.items()}


def _halve_call(call: Json) -> tuple[Json, Json] | None:
    function = call.get("function") or {}
    arguments = function.get("arguments") or ""
    if len(arguments) < 2:
        return None
    first, last = _middle(arguments)
    rest = {name: call[name] for name in ("index",) if name in call}
    return {**call, "function": {**function, "arguments": first}}, {**rest, "function": {"arguments": last}}


def _halve_lists(lists: Mapping[str, Any]) -> tuple[Json, Json]:
    pairs = {name: _middle(values) if isinstance(values, list) else (None, values) for name, values in lists.items()}
    return {name: first for name, (first, _) in pairs.items()}, {name: last for name, (_, last) in pairs.items()}


def _middle(values: Any) -> tuple[Any, Any]:  # noqa: ANN401 - a string or a list, and two of the same
    middle = len(values) // 2
    return values[:middle], values[middle:]
