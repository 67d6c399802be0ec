"""The usual event, a piece of text, read in a fraction of the time that it takes to read any event with care."""

from __future__ import annotations

import orjson

from llm_streaming.protocol.events import ChatEvent


def usual_event(content: str, output_all: str | bytes) -> ChatEvent | None:
    """Read an event that is one choice's text, or its end.

    Args:
        content: the output of that name.
        output_all: the output of that name.

    Returns:
        The event; None for any other, which `decode_event` reads, or refuses in words.
    """
    try:
        chunk = orjson.loads(output_all)
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        if choice["index"] or "tool_calls" in delta or "error" in chunk:
            return None
        return ChatEvent(content, choice["finish_reason"], chunk.get("usage"), [], chunk)
    except (KeyError, TypeError, ValueError):
        return None
