"""An event as MLServer's answer: the slow way for whole answers, and a fast one for streams.

Building the pydantic models of an event and turning them into JSON costs more than all else that happens to an event
here: without it a relay went from 16,000 to 43,000 events/s. And on its way out each answer passes a dozen layers of
MLServer, FastAPI and uvicorn and ends in a system call: over REST, events that are there together go together.
`StreamedResponse` is what MLServer reads of them, ready made; the tests hold it to `whole_response`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import orjson
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.types import Datatype, InferenceResponse, Parameters, ResponseOutput, TensorData

from llm_streaming.protocol import OUTPUT_NAMES, Event

_CONTENT_TYPE = {"content_type": "str"}


def whole_response(model: str, version: str | None, event: Event) -> InferenceResponse:
    """The response of a unary call."""
    outputs = [
        ResponseOutput(
            name=name,
            shape=[1, 1],
            datatype=Datatype.BYTES,
            data=TensorData(root=[value]),
            parameters=Parameters.model_validate(_CONTENT_TYPE),
        )
        for name, value in event
    ]
    return InferenceResponse(model_name=model, model_version=version, outputs=outputs)


class Stream:
    """What the responses of one stream share.

    MLServer adds CloudEvents headers to the parameters of each event, which over REST would be 400 bytes in every one.
    `parameters` takes them, once for the stream, so that gRPC's trailing metadata still has them.

    Args:
        model: the model's name.
        version: the model's version.
        joined: whether one response may hold several events, which REST's server-sent events allow and gRPC does not.
    """

    def __init__(self, model: str, version: str | None, *, joined: bool = False) -> None:
        self.model = model
        self.version = version
        self.joined = joined
        self.parameters = Parameters(headers={})

    def respond(self, *events: Event) -> list[StreamedResponse]:
        """The responses of events that are there together."""
        if self.joined:
            return [StreamedResponse(self, events, {})]
        return [StreamedResponse(self, (event,), {}) for event in events]

    def respond_with(self, event: Event, **told: str | int) -> StreamedResponse:
        """The response of one event, with `told` among its parameters."""
        return StreamedResponse(self, (event,), told)


class StreamedResponse:
    """What MLServer reads of an `InferenceResponse`, and no more."""

    __slots__ = ("events", "id", "model_name", "model_version", "parameters", "told")

    def __init__(self, stream: Stream, events: Sequence[Event], told: dict[str, str | int]) -> None:
        self.model_name = stream.model
        self.model_version = stream.version
        self.parameters = stream.parameters
        self.id: str | None = None  # MLServer sets it
        self.events = events
        self.told = told

    @property
    def outputs(self) -> list[ResponseOutput]:
        """The outputs of the event, for who calls a runtime without MLServer's servers."""
        return whole_response(self.model_name, self.model_version, self.events[0]).outputs

    def model_dump(self) -> orjson.Fragment:
        """The response as MLServer's REST server serialises it; between events stands what it puts around one."""
        return orjson.Fragment(b"\n\ndata: ".join(orjson.dumps(self._as_json(event)) for event in self.events))

    def _as_json(self, event: Event) -> dict[str, Any]:
        outputs = [
            {
                "name": name,
                "shape": [1, 1],
                "datatype": "BYTES",
                "parameters": _CONTENT_TYPE,
                "data": [value.decode()],
            }
            for name, value in event
        ]
        return {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "id": self.id,
            "parameters": self.told,
            "outputs": outputs,
        }

    def as_message(self, raw: bool) -> pb.ModelInferResponse:
        """The response as MLServer's gRPC server sends it; `raw`, where a request came with raw contents."""
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
        for name, told in self.told.items():
            field = "string_param" if isinstance(told, str) else "int64_param"
            setattr(message.parameters[name], field, told)
        return message


def _empty_output(name: str) -> pb.ModelInferResponse.InferOutputTensor:
    output = pb.ModelInferResponse.InferOutputTensor(name=name, shape=[1, 1], datatype="BYTES")
    output.parameters["content_type"].string_param = _CONTENT_TYPE["content_type"]
    return output


_OUTPUTS = {name: _empty_output(name) for name in OUTPUT_NAMES}
_convert = ModelInferResponseConverter.from_types


def _convert_response(response: InferenceResponse | StreamedResponse, use_raw: bool = False) -> pb.ModelInferResponse:
    if isinstance(response, StreamedResponse):
        return response.as_message(use_raw)
    return _convert(response, use_raw)


# MLServer leaves no other way to hand its gRPC server a message: its own conversion takes 70 µs of an event's 200.
ModelInferResponseConverter.from_types = staticmethod(_convert_response)  # type: ignore[method-assign,assignment]
