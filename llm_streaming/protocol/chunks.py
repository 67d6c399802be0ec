"""OpenAI's chat-completion chunks: checking and merging them, and joining a whole stream into one completion.

Chunks are parsed objects. The code that parses a chunk also checks it, once, so that all other code can rely on its
types. Most functions also accept a whole ``chat.completion``, whose choices contain a ``message``, not a ``delta``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol.json import unexpected

LONGEST_TEXT = 4096  # characters of text or of tool-call arguments in one event (contract §2)
HEADER = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
"""The keys whose values are the same in all chunks of a stream."""


def check_chunk(chunk: Mapping[str, Any], where: str) -> None:
    """Check the fields of a chunk or completion that this package reads; ``where`` is the prefix of error messages.

    Raises:
        ProtocolError: usage, choices, deltas, messages, text, logprobs or tool calls are not of OpenAI's types.
    """
    _object(chunk, "usage", where)
    for choice in _objects(chunk, "choices", where):
        if not isinstance(choice.get("index"), int | None):
            raise unexpected(where, "index as an integer", choice["index"])
        for name, entries in _object(choice, "logprobs", where).items():
            if not isinstance(entries, list | None):
                raise unexpected(where, f"logprobs.{name} as a list or null", entries)
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
    """Return choice 0, whose text is streamed, or ``{}`` if there are no choices, as in the chunk with the usage."""
    return next((choice for choice in chunk.get("choices") or () if not choice.get("index")), {})


def body_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``delta`` of a chunk's choice, or the ``message`` of a completion's choice."""
    body: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
    return body


def drop_null_tool_calls(chunk: Mapping[str, Any]) -> None:
    """Remove ``"tool_calls": null`` from every choice, in place, because SC2's translator rejects it (contract §1)."""
    for choice in chunk.get("choices") or ():
        body = body_of(choice)
        if body.get("tool_calls", ()) is None:
            del body["tool_calls"]


def keep_alive_chunk(stream_id: str, model: str, created: int) -> dict[str, Any]:
    """Build the empty chunk that is sent while the model produces nothing (contract §2)."""
    return {
        "id": stream_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
    }


def merge(chunks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbouring chunks that contain only text; all other chunks stay unchanged and in order.

    Chunks with logprobs are not joined, because each logprob belongs to a single token.
    """
    runs: list[tuple[dict[str, Any], list[str]]] = []  # a chunk and the texts to join; [] if it has other content
    length = 0
    for chunk in chunks:
        text = _only_text(chunk)
        if text is not None and runs and runs[-1][1] and length + len(text) <= LONGEST_TEXT:
            runs[-1][1].append(text)
            length += len(text)
        else:
            runs.append((chunk, [] if text is None else [text]))
            length = len(text or "")
    return [_with_text(chunk, texts) if len(texts) > 1 else chunk for chunk, texts in runs]


def _with_text(chunk: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    return {**chunk, "choices": [{**chunk["choices"][0], "delta": {"content": "".join(texts)}}]}


def _only_text(chunk: dict[str, Any]) -> str | None:
    """Return the text of a chunk that contains nothing else, and None for any other chunk."""
    choices = chunk.get("choices") or []
    if len(choices) != 1 or chunk.get("usage"):
        return None
    choice = choices[0]
    delta = choice.get("delta") or {}
    if delta.keys() != {"content"} or any(choice.get(name) for name in ("index", "finish_reason", "logprobs")):
        return None
    text: str | None = delta["content"]
    return text


def accumulate(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Build one ``chat.completion`` from all chunks of a stream; keep-alive chunks are ignored.

    Raises:
        ProtocolError: no chunk has a choice.
    """
    answer: dict[str, Any] = {"object": "chat.completion", "choices": []}
    usage: dict[str, Any] | None = None
    choices: dict[int, _Choice] = {}
    for chunk in chunks:
        if _is_keep_alive(chunk):
            continue
        for name in HEADER:
            if chunk.get(name) is not None:
                answer.setdefault(name, chunk[name])
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            choices.setdefault(choice.get("index") or 0, _Choice()).add(choice)
    if not choices:
        raise ProtocolError("engine stream: expected at least one chunk with a choice, but found none")
    answer["choices"] = [{"index": index, **choice.result()} for index, choice in sorted(choices.items())]
    return answer if usage is None else {**answer, "usage": usage}


def _is_keep_alive(chunk: Mapping[str, Any]) -> bool:
    choices = chunk.get("choices") or ()
    silent = all(not choice.get("delta") and not choice.get("finish_reason") for choice in choices)
    return bool(choices) and silent and not chunk.get("usage")


class _Choice:
    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"content": []}
        self._calls: dict[int, _Call] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: str | None = None

    def add(self, choice: Mapping[str, Any]) -> None:
        delta = choice.get("delta") or {}
        for name, text in delta.items():
            if name != "role" and isinstance(text, str):
                self._texts.setdefault(name, []).append(text)
        for position, call in enumerate(delta.get("tool_calls") or ()):
            self._calls.setdefault(call.get("index", position), _Call()).add(call)
        for name, entries in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(entries or ())
        self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def result(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant"}
        message |= {name: "".join(texts) for name, texts in self._texts.items()}
        if self._calls:
            message["content"] = message["content"] or None
            message["tool_calls"] = [call.result() for _, call in sorted(self._calls.items())]
        logprobs = {name: entries or None for name, entries in self._logprobs.items()} or None
        return {"message": message, "logprobs": logprobs, "finish_reason": self._finish_reason}


class _Call:
    def __init__(self) -> None:
        self._call: dict[str, Any] = {"id": None, "type": "function"}
        self._name = ""
        self._arguments: list[str] = []

    def add(self, delta: Mapping[str, Any]) -> None:
        self._call |= {name: value for name, value in delta.items() if value and name not in ("index", "function")}
        function = delta.get("function") or {}
        self._name = function.get("name") or self._name
        self._arguments.append(function.get("arguments") or "")

    def result(self) -> dict[str, Any]:
        return {**self._call, "function": {"name": self._name, "arguments": "".join(self._arguments)}}
