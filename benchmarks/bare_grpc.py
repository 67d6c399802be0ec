"""A gRPC server that only sends prepared bytes, to measure the speed of grpc.aio itself as a reference.

``python -m benchmarks.bare_grpc`` prints its port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from benchmarks.provider import HOST
from benchmarks.reference_models import llm_parameters, token_response


async def _stream(requests: AsyncIterator[bytes], _context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
    from mlserver.grpc.dataplane_pb2 import ModelInferRequest

    payload = ModelInferRequestConverter.to_types(ModelInferRequest.FromString(await anext(requests)))
    message: Any = ModelInferResponseConverter.from_types(token_response("bare", "1"))
    response = message.SerializeToString()
    for _ in range(llm_parameters(payload)["max_tokens"]):
        yield response


async def main() -> None:
    """Print the port and serve until the process is stopped."""
    handler = grpc.stream_stream_rpc_method_handler(_stream)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelStreamInfer": handler})]
    )
    print(server.add_insecure_port(f"{HOST}:0"), flush=True)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())
