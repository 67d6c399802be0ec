"""Collects the chunks of a stream into one whole completion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llm_streaming.errors import ProtocolError

_HEADER = ("id", "created", "model", "system_fingerprint", "service_tier")


def accumulate(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one ``chat.completion`` of the chunks of a stream; keep-alive chunks leave no trace in it.

    Args:
        chunks: every ``chat.completion.chunk`` of the stream, in order.

    Raises:
        ProtocolError: no chunk has a choice.
    """
    answer: dict[str, Any] = {"object": "chat.completion", "choices": []}
    usage: dict[str, Any] | None = None
    choices: dict[int, _Choice] = {}
    for chunk in chunks:
        if _is_keep_alive(chunk):
            continue
        for name in _HEADER:
            if chunk.get(name) is not None:
                answer.setdefault(name, chunk[name])
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            choices.setdefault(choice.get("index") or 0, _Choice()).add(choice)
    if not choices:
        raise ProtocolError("engine stream: expected at least one chunk with a choice, but it ended without")
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
