"""Decoding of inference responses into events, whole answers and errors (contract §2 and §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from llm_streaming.errors import EngineError
from llm_streaming.protocol import json
from llm_streaming.protocol.chunks import body_of, check_chunk, first_choice
from llm_streaming.protocol.json import tensor_location, unexpected
from llm_streaming.protocol.tensors import OUTPUT_NAMES, Tensor

# The HTTP status for an error that was sent without a status: looked up by the error's code, or else by its type.
_STATUS = {
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "invalid_request_error": 422,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "timeout": 504,
}


class ChatEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        content: the event's text, or ``""``.
        finish_reason: why the answer ended; None in all events except the one that reports it.
        usage: OpenAI's token counts; None in all events except the one that reports them.
        tool_calls: OpenAI's tool-call deltas.
        raw: the OpenAI chunk, or ``{}`` if the server sends no chunks.
    """

    content: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    tool_calls: list[dict[str, Any]]
    raw: dict[str, Any]


class Completion(ChatEvent):
    """A whole answer, with the same attributes as an event.

    ``tool_calls`` contains complete calls, and ``raw`` is the OpenAI ``chat.completion``.
    """

    __slots__ = ()


def decode_text_event(content: str, output_all: str | bytes) -> ChatEvent | None:
    """Decode the most frequent kind of event, which contains text of choice 0 or its end, faster than `decode_event`.

    Returns:
        The event, or None for any other kind of event, for which the caller has to call `decode_event`.
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


def decode_event(response: Mapping[str, Any]) -> ChatEvent:
    """Decode one inference response of a stream; its elements may be ``str`` (REST) or ``bytes`` (gRPC).

    The output ``output_all`` may be missing, because other servers do not send it.

    Raises:
        EngineError: the response contains an error, in ``parameters.error`` or ``output_all``.
        ProtocolError: the response has no list of outputs, or an output is malformed.
    """
    parameters = response.get("parameters")
    if isinstance(parameters, Mapping) and parameters.get("error"):
        raise decode_error(parameters["error"], parameters.get("status"), parameters.get("retry_after"))
    outputs = _outputs(response)
    where = "output 'output_all'"
    raw = json.parse(outputs.get("output_all") or "{}", dict, where, "a JSON object")
    check_chunk(raw, where)
    if raw.get("error"):
        raise decode_error(raw)
    choice = first_choice(raw)
    body = body_of(choice)
    content = outputs["content"] if "content" in outputs else body.get("content") or ""
    calls = body.get("tool_calls") or [] if raw else _tool_calls(outputs.get("tool_calls") or "[]")
    return ChatEvent(content, choice.get("finish_reason"), raw.get("usage"), calls, raw)


def decode_completion(response: Mapping[str, Any]) -> Completion:
    """Decode the inference response of a unary call into a whole answer.

    Raises:
        EngineError: the response contains an error.
        ProtocolError: the response has no list of outputs, or an output is malformed.
    """
    return Completion(*decode_event(response))


def decode_error(error: object, status: object = None, retry_after: object = None) -> EngineError:
    """Build the exception for an error that a server sent.

    Args:
        error: ``{"error": {…}}``, the inner object alone, either of these as JSON, or plain text.
        status: the HTTP status sent with the error; without it, the status follows from the error's code or type.
        retry_after: the Retry-After value sent with the error, in seconds, if there is one.
    """
    if isinstance(error, str | bytes):
        error = _parsed(error)
    if isinstance(error, Mapping):
        error = error.get("error", error)
    if not isinstance(error, Mapping):
        return EngineError(str(error))
    kind, code = str(error.get("type") or "server_error"), error.get("code")
    code = None if code is None else str(code)
    if not isinstance(status, int):
        status = _STATUS.get(code or "") or _STATUS.get(kind, 500)
    wait = retry_after if isinstance(retry_after, int) else None
    return EngineError(str(error.get("message") or kind), status=status, type=kind, code=code, retry_after=wait)


def _parsed(text: str | bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text if isinstance(text, str) else text.decode(errors="replace")


def _outputs(response: Mapping[str, Any]) -> dict[str, str]:
    outputs = response.get("outputs")
    if not isinstance(outputs, list):
        raise unexpected("response", "a list of outputs", outputs)
    known = [output for output in outputs if isinstance(output, Mapping) and output.get("name") in OUTPUT_NAMES]
    tensors = [Tensor.from_json(output) for output in known]
    return {tensor.name: "".join(tensor.data) for tensor in tensors}


def _tool_calls(value: str) -> list[dict[str, Any]]:
    where, expected = tensor_location("tool_calls"), "a JSON list of objects"
    calls = json.parse(value, list, where, expected)
    if not all(isinstance(call, dict) for call in calls):
        raise unexpected(where, expected, value)
    return calls
