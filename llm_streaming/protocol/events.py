"""What a client reads: events and answers out of inference responses (contract §2 and §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from llm_streaming.protocol import json
from llm_streaming.protocol.answers import body_of, first_choice, parse_answer
from llm_streaming.protocol.errors import decode_error
from llm_streaming.protocol.outputs import OUTPUT_NAMES
from llm_streaming.protocol.tensors import Tensor
from llm_streaming.protocol.wording import complaint, place


class ChatEvent(NamedTuple):
    """One event of a stream.

    Attributes:
        content: its text, ``""`` where it has none.
        finish_reason: why the answer ended, in the event that ends it.
        usage: OpenAI's token counts, in the event that brings them.
        tool_calls: OpenAI tool-call deltas.
        raw: the OpenAI chunk, or ``{}`` from a server that sends none.
    """

    content: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    tool_calls: list[dict[str, Any]]
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes:
        content: its text, ``""`` where it has none.
        finish_reason: why it ended, or None where the server does not say.
        usage: OpenAI's token counts, or None.
        tool_calls: complete OpenAI tool calls.
        raw: the OpenAI ``chat.completion``, or ``{}`` from a server that sends none.
    """

    content: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    tool_calls: list[dict[str, Any]]
    raw: dict[str, Any]


def decode_event(response: Mapping[str, Any]) -> ChatEvent:
    """The event in one inference response of a stream; elements may be ``str`` (REST) or ``bytes`` (gRPC).

    ``content`` alone is enough: other servers send no ``output_all``.

    Raises:
        EngineError: the response carries an error, in ``parameters.error`` or ``output_all``.
        ProtocolError: it is not an inference response, or an output is malformed.
    """
    return ChatEvent(*_read(response))


def decode_completion(response: Mapping[str, Any]) -> Completion:
    """The answer in the inference response of a unary call.

    Raises:
        EngineError: the response carries an error.
        ProtocolError: it is not an inference response, or an output is malformed.
    """
    return Completion(*_read(response))


_Fields = tuple[str, str | None, dict[str, Any] | None, list[dict[str, Any]], dict[str, Any]]


def _read(response: Mapping[str, Any]) -> _Fields:
    parameters = response.get("parameters")
    if isinstance(parameters, Mapping) and parameters.get("error"):
        raise decode_error(parameters["error"], parameters.get("status"), parameters.get("retry_after"))
    outputs = _outputs(response)
    raw = parse_answer(outputs["output_all"], "output 'output_all'") if outputs.get("output_all") else {}
    if raw.get("error"):
        raise decode_error(raw)
    choice = first_choice(raw)
    body = body_of(choice)
    content = outputs["content"] if "content" in outputs else body.get("content") or ""
    calls = body.get("tool_calls") or [] if raw else _tool_calls(outputs.get("tool_calls"))
    return content, choice.get("finish_reason"), raw.get("usage"), calls, raw


def _outputs(response: Mapping[str, Any]) -> dict[str, str]:
    outputs = response.get("outputs")
    if not isinstance(outputs, list):
        raise complaint("response", "a list of outputs", outputs)
    known = [output for output in outputs if isinstance(output, Mapping) and output.get("name") in OUTPUT_NAMES]
    tensors = [Tensor.from_json(output) for output in known]
    return {tensor.name: "".join(tensor.data) for tensor in tensors}


def _tool_calls(value: str | None) -> list[dict[str, Any]]:
    expected = "a JSON list of objects"
    calls = json.parse(value, list, place("tool_calls"), expected) if value else []
    if not all(isinstance(call, dict) for call in calls):
        raise complaint(place("tool_calls"), expected, value)
    return calls
