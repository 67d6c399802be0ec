"""OpenAI's chat-completion chunks: checked, merged and split.

A chunk is the parsed object. It is checked once, where it is parsed, so that all other code can rely on its form.
Most functions also take a whole ``chat.completion``, which differs in little: its choices hold a ``message`` in place
of a ``delta``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llm_streaming.protocol.json import unexpected

LONGEST_TEXT = 4096  # characters of text or of tool-call arguments in one event (contract §2)
_MOST_LOGPROBS = 8  # entries in one piece of a split chunk; an entry with 20 alternatives takes 1.5 KB
_HEADER = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def check_chunk(chunk: Mapping[str, Any], where: str) -> None:
    """Check the parts of a chunk, or of a whole completion, that this package reads.

    Args:
        chunk: the parsed object.
        where: the location, for the error message.

    Raises:
        ProtocolError: usage, choices, deltas, messages, text or tool calls are not of OpenAI's types.
    """
    _object(chunk, "usage", where)
    for choice in _objects(chunk, "choices", where):
        for name in ("delta", "message"):
            body = _object(choice, name, where)
            _check_text(body, "content", where)
            for call in _objects(body, "tool_calls", where):
                _check_text(_object(call, "function", where), "arguments", where)


def _objects(parent: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    values = parent.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise unexpected(where, f"{name} as a list of objects", values)
    return values


def _object(parent: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise unexpected(where, f"{name} as an object", value)
    return value or {}


def _check_text(parent: Mapping[str, Any], name: str, where: str) -> None:
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise unexpected(where, f"{name} as a string or null", value)


def first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Choice 0, whose text is streamed; empty where there is none, as in the chunk with the usage."""
    return next((choice for choice in chunk.get("choices") or () if not choice.get("index")), {})


def body_of(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """The delta of a chunk's choice, or the message of a completion's."""
    body: Mapping[str, Any] = choice.get("delta") or choice.get("message") or {}
    return body


def drop_null_tool_calls(chunk: Mapping[str, Any]) -> None:
    """Remove ``"tool_calls": null`` from every choice, in place: clients echo it, and SC2's translator answers 400."""
    for choice in chunk.get("choices") or ():
        for body in (choice.get("delta"), choice.get("message")):
            if body and body.get("tool_calls", ()) is None:
                del body["tool_calls"]


def keep_alive_chunk(stream_id: str, model: str, created: int) -> dict[str, Any]:
    """Make an empty chunk, which is sent while the model is silent (contract §2)."""
    return {
        "id": stream_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
    }


def merge(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbouring chunks that hold nothing but text; all others stay as they are, and in their place.

    The merged texts make the same answer. Chunks with logprobs are not joined, because these belong to single tokens.

    Args:
        chunks: chunks of one stream.
    """
    runs: list[tuple[dict[str, Any], list[str]]] = []  # a chunk and the texts that it gets; none for another kind
    length = 0
    for chunk in chunks:
        text = _only_text(chunk)
        if text is not None and runs and runs[-1][1] and length + len(text) <= LONGEST_TEXT:
            runs[-1][1].append(text)
            length += len(text)
        else:
            runs.append((chunk, [] if text is None else [text]))
            length = len(text or "")
    return [_with_text(chunk, "".join(texts)) if len(texts) > 1 else chunk for chunk, texts in runs]


def _with_text(chunk: dict[str, Any], text: str) -> dict[str, Any]:
    return {**chunk, "choices": [{**chunk["choices"][0], "delta": {"content": text}}]}


def _only_text(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that holds nothing else; None for any other chunk."""
    choices = chunk.get("choices") or []
    if len(choices) != 1 or chunk.get("usage"):
        return None
    choice = choices[0]
    delta = choice.get("delta") or {}
    if delta.keys() != {"content"} or any(choice.get(name) for name in ("index", "finish_reason", "logprobs")):
        return None
    text: str | None = delta["content"]
    return text


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
