"""Translates between the Open Inference Protocol's gRPC messages and its JSON objects."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from llm_streaming.client.base import to_json
from llm_streaming.client.inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse
from llm_streaming.client.notices import show_warnings
from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatEvent, decode_event, decode_text_event

_LENGTH = struct.Struct("<I")  # the length before each string in raw contents


def encode_message(model: str, body: dict[str, Any]) -> bytes:
    """Encode the body of an inference request (contract §1) as a gRPC message.

    Each parameter becomes a JSON string, because parameters in gRPC messages cannot be nested.

    Raises:
        ProtocolError: a parameter is not JSON-serializable.
    """
    texts = {name: to_json(value).decode() for name, value in body.get("parameters", {}).items()}
    parameters = {name: InferParameter(string_param=text) for name, text in texts.items()}
    inputs = [
        ModelInferRequest.InferInputTensor(
            name=tensor["name"],
            datatype=tensor["datatype"],
            shape=tensor["shape"],
            contents={"bytes_contents": [element.encode() for element in tensor["data"]]},
        )
        for tensor in body["inputs"]
    ]
    # MLServer generates an id for an HTTP request without one, but not for a gRPC request.
    request = ModelInferRequest(model_name=model, id=uuid.uuid4().hex, parameters=parameters, inputs=inputs)
    message: bytes = request.SerializeToString()
    return message


def read_message(data: bytes) -> ChatEvent:
    """Decode the message of one event (contract §2).

    Raises:
        EngineError: the event reports an error.
        ProtocolError: the event is malformed.
    """
    message = _parse(data)
    return _text_event(message) or decode_event(show_warnings(_as_json(message)))


def decode_message(data: bytes) -> dict[str, Any]:
    """Convert a gRPC inference response, with typed or raw contents, to the protocol's JSON object.

    Raises:
        ProtocolError: the message is malformed, or its raw contents do not match its outputs.
    """
    return _as_json(_parse(data))


def _parse(data: bytes) -> ModelInferResponse:
    try:
        message: ModelInferResponse = ModelInferResponse.FromString(data)
    except DecodeError:
        raise ProtocolError(f"expected an inference response, a ModelInferResponse, but got {data[:80]!r}") from None
    return message


def _text_event(message: ModelInferResponse) -> ChatEvent | None:
    """Decode an event that contains only text, as most do; return None for any other event."""
    try:
        _, content, *_, output_all = message.outputs
        (text,), (chunk,) = content.contents.bytes_contents, output_all.contents.bytes_contents
        if (content.name, output_all.name) == ("content", "output_all") and not message.parameters:
            return decode_text_event(text.decode(), chunk)
    except ValueError:  # too few outputs or elements (for example with raw contents), or text that is not UTF-8
        pass
    return None


def _as_json(message: ModelInferResponse) -> dict[str, Any]:
    outputs, raw = message.outputs, message.raw_output_contents
    if raw and len(raw) != len(outputs):
        raise ProtocolError(f"response: expected {len(outputs)} raw contents, one for each output, but got {len(raw)}")
    contents = map(_elements, outputs, raw) if raw else (output.contents.bytes_contents for output in outputs)
    return {
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": list(output.shape), "data": list(elements)}
            for output, elements in zip(outputs, contents, strict=True)
        ],
        "parameters": {
            name: getattr(value, kind)
            for name, value in message.parameters.items()
            if (kind := value.WhichOneof("parameter_choice"))
        },
    }


def _elements(output: ModelInferResponse.InferOutputTensor, raw: bytes) -> Iterator[bytes]:
    if output.datatype != "BYTES":
        return  # chats use only strings, so the numbers of other models are skipped
    start = 0
    while start < len(raw):
        first = start + _LENGTH.size
        end = first + _LENGTH.unpack_from(raw, start)[0] if first <= len(raw) else first
        if end > len(raw):
            raise ProtocolError(f"tensor '{output.name}': expected {end} bytes of raw contents, but got {len(raw)}")
        yield raw[first:end]
        start = end
