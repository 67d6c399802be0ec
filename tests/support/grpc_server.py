"""A gRPC server that answers by script, with MLServer's own messages."""

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

Step = bytes | tuple[grpc.StatusCode, str] | Callable[[], object] | object
"""A message, the status to fail with, a function to call, or `HANG`."""


@dataclass
class Call:
    """A call that the server received; `ended` is set at its end."""

    method: str
    metadata: dict[str, str]
    request: Any
    ended: threading.Event = field(default_factory=threading.Event)


class ScriptedServer(grpc.GenericRpcHandler):
    """Answers every call with the same steps.

    Attributes:
        address: its ``host:port``.
        calls: the calls that it received.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.calls: list[Call] = []
        self._steps = steps
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self], options=unlimited)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"

    def stop(self) -> threading.Event:
        """Cancel all calls; the event is set when the server has stopped."""
        return self.server.stop(None)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        def stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            call = Call(
                details.method, dict(context.invocation_metadata()), pb.ModelInferRequest.FromString(next(requests))
            )
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
                    context.abort(*step)

        def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
            return next(stream(iter((request,)), context), b"")

        match details.method.rpartition("/"):
            case "/inference.GRPCInferenceService", _, "ModelStreamInfer":
                return grpc.stream_stream_rpc_method_handler(stream)
            case "/inference.GRPCInferenceService", _, "ModelInfer":
                return grpc.unary_unary_rpc_method_handler(unary)
        return None


@contextlib.contextmanager
def scripted(*steps: Step) -> Iterator[ScriptedServer]:
    """Run the server."""
    server = ScriptedServer(steps)
    server.server.start()
    try:
        yield server
    finally:
        server.stop().wait()


def message(event: protocol.Event, *, raw: bool = False, **parameters: str) -> bytes:
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
