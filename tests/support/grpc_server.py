"""A gRPC server that answers by script, with MLServer's messages."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any

import grpc
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.types import Datatype, InferenceResponse, Parameters, ResponseOutput, TensorData

from llm_streaming import protocol

HANG = object()
"""A step of a script: the server sends nothing until the client has left."""

SERVICE = "inference.GRPCInferenceService"

Step = bytes | tuple[grpc.StatusCode, str] | Callable[[], object] | object
"""A message, the status to fail with, a function to call, or `HANG`."""


@dataclass
class Call:
    """A call of a method that the server received; `ended` is set at its end."""

    method: str
    metadata: dict[str, str]
    request: Any
    ended: threading.Event = field(default_factory=threading.Event)


class ScriptedServer:
    """A server that answers every call with the same steps.

    Args:
        steps: the steps.

    Attributes:
        address: the ``host:port`` of the server.
        calls: the calls that it received.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.calls: list[Call] = []
        self._steps = steps
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        methods = {
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._unary),
        }
        service = grpc.method_handlers_generic_handler(SERVICE, methods)
        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[service], options=unlimited)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def stop(self) -> threading.Event:
        """Cancel all calls; the event is set when the server has stopped."""
        return self.server.stop(None)

    def _stream(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return self._answer("ModelStreamInfer", next(requests), context)

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return next(self._answer("ModelInfer", request, context), b"")

    def _answer(self, method: str, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        call = Call(method, dict(context.invocation_metadata()), pb.ModelInferRequest.FromString(request))
        context.add_callback(call.ended.set)
        self.calls.append(call)
        for step in self._steps:
            if step is HANG:
                call.ended.wait()
            elif isinstance(step, bytes):
                yield step
            elif callable(step):
                step()
            else:
                assert isinstance(step, tuple)
                context.abort(*step)


@contextlib.contextmanager
def scripted(*steps: Step) -> Iterator[ScriptedServer]:
    """Run the server."""
    server = ScriptedServer(steps)
    server.server.start()
    try:
        yield server
    finally:
        server.stop().wait()


def message(event: protocol.Event, *, raw: bool = False, **parameters: Any) -> bytes:
    """Serialise an inference response as MLServer does."""
    outputs = [
        ResponseOutput(
            name=name,
            shape=[1, 1],
            datatype=Datatype.BYTES,
            data=TensorData(root=[value]),
            parameters=Parameters(content_type="str"),
        )
        for name, value in event
    ]
    response = InferenceResponse(model_name="m", id="1", outputs=outputs, parameters=Parameters(**parameters))
    return ModelInferResponseConverter.from_types(response, use_raw=raw).SerializeToString()
