"""What a runtime sends: OpenAI answers as events of an Open Inference Protocol stream (contract §2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from llm_streaming.protocol.answers import body_of, drop_null_tool_calls, first_choice, parse_answer
from llm_streaming.protocol.outputs import Event
from llm_streaming.protocol.split import split

LONGEST_TEXT = 4096  # characters of text or tool-call arguments in one event
LARGEST_EVENT = 60_000  # bytes of all values as JSON; SC2's agent reads 65,535, and names and shapes take some
_SURELY_FITS = 4096  # a line of so many bytes is within both limits, however it is escaped


def encode_chunk(chunk: bytes) -> Iterator[Event]:
    """The events of one engine chunk: usually one, several for a long text.

    ``output_all`` is the engine's own line wherever that may be sent as it is. ``content`` is the text of choice 0.

    Args:
        chunk: the JSON of one ``chat.completion.chunk``.

    Raises:
        ProtocolError: it is no JSON object of OpenAI's form.
    """
    answer = parse_answer(chunk, "engine chunk")
    line = _line(answer, chunk)
    if len(line) <= _SURELY_FITS:
        yield _event(answer, line)
        return
    for piece in split(answer, _fits):
        yield _event(piece, orjson.dumps(piece))


def encode_completion(completion: bytes) -> Event:
    """The outputs of a unary answer, a ``chat.completion``; it is never split.

    Raises:
        ProtocolError: it is no JSON object of OpenAI's form.
    """
    answer = parse_answer(completion, "engine completion")
    return _event(answer, _line(answer, completion))


def keep_alive_chunk(stream_id: str, model: str, created: int) -> bytes:
    """An empty chunk of a stream, for :func:`encode_chunk` to send while the model is silent."""
    return orjson.dumps(
        {
            "id": stream_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
        }
    )


def _line(answer: dict[str, Any], raw: bytes) -> bytes:
    changed = drop_null_tool_calls(answer)
    escaped = b"\n" in raw or b"\r" in raw or b"\\u" in raw
    return orjson.dumps(answer) if changed or escaped else raw.strip()


def _event(answer: dict[str, Any], line: bytes) -> Event:
    body = body_of(first_choice(answer))
    event = [("role", b"assistant"), ("content", (body.get("content") or "").encode()), ("type", b"text")]
    if calls := body.get("tool_calls"):
        event.append(("tool_calls", orjson.dumps(calls)))
    event.append(("output_all", line))
    return event


def _fits(piece: dict[str, Any]) -> bool:
    event = _event(piece, orjson.dumps(piece))
    size = sum(len(orjson.dumps(value.decode())) for _, value in event)
    return size <= LARGEST_EVENT and all(len(text) <= LONGEST_TEXT for text in _texts(piece))


def _texts(piece: dict[str, Any]) -> Iterator[str]:
    for choice in piece.get("choices") or ():
        delta = choice.get("delta") or {}
        yield from (text for text in delta.values() if isinstance(text, str))
        for call in delta.get("tool_calls") or ():
            yield (call.get("function") or {}).get("arguments") or ""
