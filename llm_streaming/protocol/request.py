"""Conversion of chat requests to requests of the Open Inference Protocol, and back (contract §1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import json
from llm_streaming.protocol.json import tensor_location, unexpected
from llm_streaming.protocol.limits import check_depth
from llm_streaming.protocol.messages import decode_messages, encode_messages, read_messages
from llm_streaming.protocol.tensors import INPUT_NAMES, OUTPUT_NAMES, Tensor
from llm_streaming.protocol.tools import decode_tools, encode_tools, read_tools

ParametersName: TypeAlias = Literal["llm_parameters", "kwargs"]

_PARAMETERS_NAMES: tuple[ParametersName, ...] = ("llm_parameters", "kwargs")
_KEYS = ("messages", "tools", "tool_choice", "parallel_tool_calls")  # OpenAI's keys with an attribute in `ChatRequest`
_STREAMING = ("stream", "stream_options")  # ignored: the path decides whether the answer is streamed


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request, with the names and values of OpenAI's API.

    Attributes:
        messages: OpenAI messages; only their role, content, tool_calls and tool_call_id are sent.
        tools: OpenAI tools, or None.
        tool_choice: ``auto``, ``none``, ``required`` or an object that names a tool; sent only together with tools.
        parallel_tool_calls: True, False or None; sent only together with tools.
        parameters: sampling parameters, without ``stream`` and ``stream_options``.
        outputs: names of the output tensors that the client wants; None means all.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] | None = None

    @classmethod
    def from_openai(cls, body: Mapping[str, Any]) -> ChatRequest:
        """Build the request from the parsed body of an OpenAI chat completion.

        ``model``, ``stream`` and ``stream_options`` are ignored.

        Raises:
            ProtocolError: the messages, tools, tool_choice or parallel_tool_calls are malformed, or nested too deeply.
        """
        check_depth(body, "the body")
        messages = body.get("messages")
        if not isinstance(messages, list | None):
            raise unexpected("messages", "a list", messages)
        checked = [message.as_openai() for message in read_messages(messages or [])]
        tools = read_tools(body.get("tools"), body.get("tool_choice"), body.get("parallel_tool_calls"))
        return cls(checked, *tools, _sampling(body, ("model", *_KEYS, *_STREAMING)))

    def as_openai(self) -> dict[str, Any]:
        """Return the body of an OpenAI chat completion, without ``model`` and ``stream``."""
        keys = {name: getattr(self, name) for name in _KEYS}
        return self.parameters | {name: value for name, value in keys.items() if value is not None}


def encode_request(request: ChatRequest) -> dict[str, Any]:
    """Encode a request as the JSON body of an inference request; its parameters are sent under both of their names.

    Raises:
        ProtocolError: a message or a tool is malformed, or an output is unknown.
    """
    tensors = encode_messages(request.messages)
    tensors += encode_tools(request.tools, request.tool_choice, request.parallel_tool_calls)
    body: dict[str, Any] = {"inputs": [tensor.as_json() for tensor in tensors]}
    if parameters := _sampling(request.parameters):
        body["parameters"] = dict.fromkeys(_PARAMETERS_NAMES, parameters)
    if outputs := _outputs(request.outputs):
        body["outputs"] = [{"name": name} for name in outputs]
    return body


def decode_request(
    inputs: Iterable[Tensor],
    parameters: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    *,
    prefer: ParametersName = "llm_parameters",
) -> ChatRequest:
    """Decode a chat request from the tensors and parameters of an inference request.

    Args:
        inputs: the tensors, in any order.
        parameters: the request's parameters. Only ``llm_parameters`` and ``kwargs`` are read; each is an object or,
            as over gRPC, an object's JSON string.
        outputs: the names of the outputs that the client wants; None or an empty list means all.
        prefer: the name that is read first; the other name is read if the first is missing or empty.

    Raises:
        ProtocolError: a tensor is unknown, malformed or duplicate, a parameter is malformed, an output is unknown, or
            a value is nested too deeply.
    """
    tensors: dict[str, tuple[str, ...]] = {}
    for tensor in inputs:
        if tensor.name not in INPUT_NAMES:
            raise ProtocolError(f"{tensor_location(tensor.name)}: unknown, expected one of {', '.join(INPUT_NAMES)}")
        if tensor.name in tensors:
            raise ProtocolError(f"{tensor_location(tensor.name)}: given twice, but allowed only once")
        tensors[tensor.name] = tensor.data
    messages, tools = decode_messages(tensors), decode_tools(tensors)
    request = ChatRequest(messages, *tools, _parameters(parameters or {}, prefer), _outputs(outputs))
    check_depth(request.as_openai(), "the request")
    return request


def _parameters(parameters: Mapping[str, Any], prefer: ParametersName) -> dict[str, Any]:
    found = {name: _object(parameters.get(name), f"parameter '{name}'") for name in _PARAMETERS_NAMES}
    return _sampling(found[prefer] or found["llm_parameters"] or found["kwargs"])


def _object(value: object, where: str) -> dict[str, Any]:
    expected = "an object, or a JSON string that contains an object"
    if isinstance(value, str):
        return json.parse(value, dict, where, expected)
    if not isinstance(value, Mapping | None):
        raise unexpected(where, expected, value)
    return dict(value or {})


def _sampling(parameters: Mapping[str, Any], without: Sequence[str] = _STREAMING) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in without}


def _outputs(names: Sequence[str] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if name not in OUTPUT_NAMES:
            raise unexpected("outputs", f"only names from {', '.join(OUTPUT_NAMES)}", name)
    return tuple(names) if names else None
