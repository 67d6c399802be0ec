"""gRPC's messages of the Open Inference Protocol ⇄ the same as JSON, which is what `protocol` reads and writes."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from llm_streaming.client.inference_pb2 import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatEvent, decode_event, decode_text_event

_LENGTH = struct.Struct("<I")  # stands before each string of raw contents


def encode_message(model: str, body: dict[str, Any]) -> bytes:
    """Serialise an inference request; parameters, which gRPC cannot nest, become one JSON string each.

    Args:
        model: the model's name.
        body: the request as JSON, with BYTES inputs.
    """
    parameters = {name: InferParameter(string_param=_line(value)) for name, value in body.get("parameters", {}).items()}
    inputs = [
        ModelInferRequest.InferInputTensor(
            name=tensor["name"],
            datatype=tensor["datatype"],
            shape=tensor["shape"],
            contents=InferTensorContents(bytes_contents=[element.encode() for element in tensor["data"]]),
        )
        for tensor in body["inputs"]
    ]
    # Over gRPC, and only there, MLServer takes an absent id for an empty one, instead of making one up.
    request = ModelInferRequest(model_name=model, id=uuid.uuid4().hex, parameters=parameters, inputs=inputs)
    message: bytes = request.SerializeToString()
    return message


def read_message(data: bytes) -> ChatEvent:
    """Read one event's message.

    Raises:
        EngineError: the event reports an error.
        ProtocolError: it is malformed.
    """
    usual = None
    try:
        message = ModelInferResponse.FromString(data)
        _, content, *_, whole = message.outputs
        if (content.name, whole.name) == ("content", "output_all") and not message.parameters:
            (text,), (line,) = content.contents.bytes_contents, whole.contents.bytes_contents
            usual = decode_text_event(text.decode(), line)
    except (DecodeError, ValueError):
        pass  # what is unusual, as raw contents are, is read with care, and what is wrong refused in words
    return usual or decode_event(decode_message(data))


def decode_message(data: bytes) -> dict[str, Any]:
    """Parse an inference response, with its contents plain or raw.

    Raises:
        ProtocolError: it is none, or its raw contents do not fit its outputs.
    """
    try:
        message = ModelInferResponse.FromString(data)
    except DecodeError:
        raise ProtocolError(f"expected an inference response, a ModelInferResponse, but got {data[:80]!r}") from None
    contents: Sequence[Sequence[bytes]] = [output.contents.bytes_contents for output in message.outputs]
    if message.raw_output_contents:
        contents = _raw(message)
    return {
        "outputs": [
            {"name": output.name, "datatype": output.datatype, "shape": list(output.shape), "data": list(elements)}
            for output, elements in zip(message.outputs, contents, strict=True)
        ],
        "parameters": {
            name: getattr(value, kind)
            for name, value in message.parameters.items()
            if (kind := value.WhichOneof("parameter_choice"))
        },
    }


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _raw(message: ModelInferResponse) -> list[list[bytes]]:
    if len(message.raw_output_contents) != len(message.outputs):
        raise ProtocolError(
            f"response: expected raw contents for each of {len(message.outputs)} outputs, "
            f"but got {len(message.raw_output_contents)}"
        )
    # Numbers stay out: no output of a chat holds any, and those of others are not read.
    return [
        list(_elements(raw, output.name)) if output.datatype == "BYTES" else []
        for output, raw in zip(message.outputs, message.raw_output_contents, strict=True)
    ]


def _elements(raw: bytes, name: str) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        first = start + _LENGTH.size
        end = first + _LENGTH.unpack_from(raw, start)[0] if first <= len(raw) else first
        if end > len(raw):
            raise ProtocolError(f"tensor '{name}': expected {end} bytes of raw contents, but got {len(raw)}")
        yield raw[first:end]
        start = end
