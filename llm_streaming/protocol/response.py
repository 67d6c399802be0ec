"""Encoding of OpenAI's chunks, completions and errors as the outputs of inference responses (contract §2 and §3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from llm_streaming.printable import printable
from llm_streaming.protocol.chunks import HEADER, LONGEST_TEXT, body_of, drop_null_tool_calls, first_choice

Event: TypeAlias = list[tuple[str, bytes]]
"""One event of an answer: its outputs in the contract's order, each as a pair of a name and a value."""

_LARGEST_EVENT = 60_000  # bytes of all values as JSON; SC2's agent reads at most 65,535, including names and shapes
_SURELY_FITS = 4096  # bytes; a line of this length is within both limits, however much of it is escaped
_MOST_LOGPROBS = 8  # entries in one piece of a split chunk; an entry with 20 alternatives takes 1.5 KB
_LONGEST_ERROR = 1_000  # characters; an event contains the error twice and still stays below 65,536 bytes


def encode_chunk(chunk: dict[str, Any]) -> list[Event]:
    """Encode one ``chat.completion.chunk`` as events: usually as one event, a long text as several.

    ``output_all`` is the chunk as compact JSON, and ``content`` is the text of choice 0.
    """
    return [_event(piece, line) for piece, line in chunk_lines(chunk)]


def chunk_lines(chunk: dict[str, Any]) -> list[tuple[dict[str, Any], bytes]]:
    """Serialise a chunk as one line of JSON, or split a chunk that is too long for one event into several lines.

    ``"tool_calls": null`` is removed from the chunk, in place.

    Returns:
        A pair for each line: the chunk as an object, and the line.
    """
    drop_null_tool_calls(chunk)
    line = orjson.dumps(chunk)
    if len(line) <= _SURELY_FITS or _fits(chunk, line):
        return [(chunk, line)]
    return [(piece, orjson.dumps(piece)) for piece in _split(chunk)]


def encode_completion(completion: dict[str, Any]) -> Event:
    """Encode a whole ``chat.completion`` as the outputs of one unary response; a long answer is not split."""
    drop_null_tool_calls(completion)
    return _event(completion, orjson.dumps(completion))


def encode_error(error: Mapping[str, Any]) -> Event:
    """Encode an error as the last event of a failed stream; its ``output_all`` is also used as ``parameters.error``.

    This never fails: see `sendable`.

    Args:
        error: ``{"error": {"message", "type", "code"}}``, see :meth:`EngineError.as_openai`; other keys are dropped.
    """
    given = {name: error["error"].get(name) for name in ("message", "type", "code")}
    texts = {name: None if value is None else sendable(str(value)) for name, value in given.items()}
    return _event({}, orjson.dumps({"error": texts}))


def select(event: Event, asked: Sequence[str] | None) -> Event:
    """Return the outputs of an event that the client asked for; if ``asked`` is None, return all of them."""
    return event if asked is None else [output for output in event if output[0] in asked]


def _event(answer: Mapping[str, Any], line: bytes) -> Event:
    body = body_of(first_choice(answer))
    event = [("role", b"assistant"), ("content", (body.get("content") or "").encode()), ("type", b"text")]
    if calls := body.get("tool_calls"):
        event.append(("tool_calls", orjson.dumps(calls)))
    event.append(("output_all", line))
    return event


def _fits(chunk: dict[str, Any], line: bytes) -> bool:
    size = sum(len(orjson.dumps(value.decode())) for _, value in _event(chunk, line))
    return size <= _LARGEST_EVENT and all(len(text) <= LONGEST_TEXT for text in _texts(chunk))


def _texts(chunk: dict[str, Any]) -> Iterator[str]:
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        yield from (text for text in delta.values() if isinstance(text, str))
        for call in delta.get("tool_calls") or ():
            yield (call.get("function") or {}).get("arguments") or ""


def sendable(text: str) -> str:
    """Cut a text of an error after 1,000 characters, and show control characters and lone surrogates in it."""
    return printable(text[:_LONGEST_ERROR])[:_LONGEST_ERROR]


def _split(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a chunk so that each piece contains at most one text, one tool call's arguments or a few logprobs.

    Concatenated, the pieces give the chunk's text, arguments and logprobs again. The last piece has finish_reason,
    usage and everything else. A piece of 4,096 characters fits into an event even if each character is escaped twice.
    A chunk that cannot be divided stays whole.
    """
    choices = chunk.get("choices") or []
    parts = [part for choice in choices for part in _parts(choice)]
    if len(parts) < 2:
        return [chunk]
    head = {name: chunk[name] for name in HEADER if name in chunk}
    if "usage" in chunk:
        head["usage"] = None
    pieces = [{**head, "choices": [{"finish_reason": None, **part}]} for part in parts]
    ends = [choice | {"delta": {}} for choice in choices]
    for end in ends:
        if end.get("logprobs"):
            end["logprobs"] = dict.fromkeys(end["logprobs"])
    return [*pieces, {**chunk, "choices": ends}]


def _parts(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a choice's texts, tool calls and logprobs in short parts; the first part also has the role."""
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


def _slices(values: Any, size: int) -> list[Any]:  # noqa: ANN401 - slices have the type of values, str or list
    return [values[start : start + size] for start in range(0, len(values), size)]
