"""MLServer's responses: pydantic models for whole answers, and `StreamedResponse`, which is faster, for streams.

Building and serialising an event's pydantic models takes longer than everything else that a runtime does with the
event: without these models a relay's speed rose from 16,000 to 43,000 events/s. Each response also passes through a
dozen layers of MLServer, FastAPI and uvicorn, and costs a system call. Over REST, one response therefore contains all
events that are ready at the same time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.rest.responses import ServerSentEvent
from mlserver.types import InferenceResponse, Parameters

from llm_streaming.protocol import Event
from llm_streaming.protocol.tensors import OUTPUT_NAMES

_CONTENT_TYPE = {"content_type": "str"}


def whole_response(
    model: str, version: str | None, event: Event, parameters: Mapping[str, str] | None = None
) -> InferenceResponse:
    """Build the response of a unary call."""
    head = {"model_name": model, "model_version": version, "parameters": parameters or None}
    return InferenceResponse.model_validate({**head, "outputs": _outputs(event)})


def _outputs(values: Iterable[tuple[str, bytes | str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "shape": [1, 1], "datatype": "BYTES", "parameters": _CONTENT_TYPE, "data": [value]}
        for name, value in values
    ]


class StreamedResponse:
    """One or more events of a stream, sent as one response, with the attributes that MLServer reads and sets.

    Args:
        model: the model's name.
        version: the model's version.
        headers: the object to which MLServer adds CloudEvents headers. All responses of a stream share the object, and
            no response sends it, because it would add 400 bytes to each REST event; gRPC sends it as trailing metadata.
        events: exactly one event over gRPC, and any number of events over REST.
        event_parameters: the parameters of each event.
    """

    __slots__ = ("event_parameters", "events", "id", "model_name", "model_version", "parameters")

    def __init__(
        self,
        model: str,
        version: str | None,
        headers: Parameters,
        events: Sequence[Event],
        event_parameters: Mapping[str, str | int] | None = None,
    ) -> None:
        self.model_name = model
        self.model_version = version
        self.parameters = headers
        self.id: str | None = None  # MLServer sets it
        self.events = events
        self.event_parameters = event_parameters or {}

    def as_server_sent_events(self) -> bytes:
        """Serialise the events as MLServer's REST server sends them."""
        head = {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "id": self.id,
            "parameters": self.event_parameters,
        }
        texts = ([(name, value.decode()) for name, value in event] for event in self.events)
        return b"".join(b"data: %b\n\n" % orjson.dumps(head | {"outputs": _outputs(event)}) for event in texts)

    def as_message(self, raw: bool) -> pb.ModelInferResponse:
        """Build the message that MLServer's gRPC server sends; with ``raw``, values are in ``raw_output_contents``."""
        message = pb.ModelInferResponse(
            model_name=self.model_name, model_version=self.model_version or "", id=self.id or ""
        )
        for name, value in self.events[0]:
            output = message.outputs.add()
            output.CopyFrom(_OUTPUTS[name])
            if raw:
                output.contents.SetInParent()
                message.raw_output_contents.append(struct.pack("<I", len(value)) + value)
            else:
                output.contents.bytes_contents.append(value)
        for name, parameter in self.event_parameters.items():
            field = "string_param" if isinstance(parameter, str) else "int64_param"
            setattr(message.parameters[name], field, parameter)
        return message


def _empty_output(name: str) -> pb.ModelInferResponse.InferOutputTensor:
    output = pb.ModelInferResponse.InferOutputTensor(name=name, shape=[1, 1], datatype="BYTES")
    output.parameters["content_type"].string_param = _CONTENT_TYPE["content_type"]
    return output


_OUTPUTS = {name: _empty_output(name) for name in OUTPUT_NAMES}

# MLServer's own serialisation takes 70 of the 200 µs per gRPC event, and MLServer has no hook to replace it. So the
# code below replaces two functions of MLServer with functions that also accept a `StreamedResponse`.
_encode_event = ServerSentEvent.encode
_convert_response = ModelInferResponseConverter.from_types


def _encode_any(event: ServerSentEvent) -> bytes:
    if isinstance(event.data, StreamedResponse):
        return event.data.as_server_sent_events()
    return _encode_event(event)


def _convert_any(response: InferenceResponse | StreamedResponse, use_raw: bool = False) -> pb.ModelInferResponse:
    if isinstance(response, StreamedResponse):
        return response.as_message(use_raw)
    return _convert_response(response, use_raw)


ServerSentEvent.encode = _encode_any  # type: ignore[method-assign,assignment]
ModelInferResponseConverter.from_types = staticmethod(_convert_any)  # type: ignore[method-assign,assignment]
