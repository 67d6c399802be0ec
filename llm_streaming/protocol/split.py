"""Splits long chunks into pieces that fit into an event (contract §2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_streaming.protocol.chunks import LONGEST_TEXT

_HEADER = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
_MOST_LOGPROBS = 8  # entries in one piece; one with 20 alternatives takes 1.5 KB


def split(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a chunk so that no piece holds more than one text, one tool call's arguments or a few logprobs.

    Text, tool-call arguments and logprobs of the pieces concatenate to those of the chunk; finish_reason, usage and
    everything else come with the last piece. A piece of 4,096 characters fits even if each of them is escaped twice.

    Args:
        chunk: a ``chat.completion.chunk``.

    Returns:
        The pieces; the chunk itself where nothing in it can be divided.
    """
    choices = chunk.get("choices") or []
    parts = [part for choice in choices for part in _parts(choice)]
    if len(parts) < 2:
        return [chunk]
    head = {name: chunk[name] for name in _HEADER if name in chunk}
    if "usage" in chunk:
        head["usage"] = None
    pieces = [{**head, "choices": [{"finish_reason": None, **part}]} for part in parts]
    ends = [choice | {"delta": {}} for choice in choices]
    for end in ends:
        if end.get("logprobs"):
            end["logprobs"] = dict.fromkeys(end["logprobs"])
    return [*pieces, {**chunk, "choices": ends}]


def _parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A choice's texts, tool calls and logprobs, cut into short ones; its role comes with the first of them."""
    index = choice.get("index", 0)
    delta = choice.get("delta") or {}
    role = {"role": delta["role"]} if "role" in delta else {}
    for short in _short_deltas(delta):
        yield {"index": index, "delta": role | short}
        role = {}
    for name, entries in (choice.get("logprobs") or {}).items():
        for some in _slices(entries or [], _MOST_LOGPROBS):
            yield {"index": index, "delta": {"content": ""}, "logprobs": {name: some}}


def _short_deltas(delta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, text in delta.items():
        if name != "role" and isinstance(text, str):
            yield from ({name: piece} for piece in _slices(text, LONGEST_TEXT))
    for call in delta.get("tool_calls") or ():
        function = call.get("function") or {}
        first, *others = _slices(function.get("arguments") or "", LONGEST_TEXT) or [""]
        yield {"tool_calls": [{**call, "function": {**function, "arguments": first}}]}
        position = {"index": call["index"]} if "index" in call else {}
        yield from ({"tool_calls": [{**position, "function": {"arguments": other}}]} for other in others)


def _slices(values: Any, size: int) -> list[Any]:  # noqa: ANN401 - a string or a list, in pieces of the same type
    return [values[start : start + size] for start in range(0, len(values), size)]
