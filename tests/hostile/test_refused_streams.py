"""Streams that the mesh refuses at once, while their clients still send: each client is told why."""

import asyncio
from collections import Counter

from llm_streaming import AsyncChatClient, AsyncGrpcChatClient
from llm_streaming.client.base import AsyncClient
from llm_streaming.errors import InferenceError
from tests.support.scripted import Scripted

AT_ONCE = 50
QUESTION = [{"role": "user", "content": "x" * 2000}]
NOT_DEPLOYED = "model 'nobody' is not deployed here: apply its manifest and wait until it is ready"


async def refusal_of(client: AsyncClient) -> tuple[str, int | None]:
    try:
        async for _ in client.stream("nobody", QUESTION):
            pass
    except InferenceError as error:
        return error.message, error.status
    return "an answer", 200


async def test_every_refused_stream_says_why(scripted: Scripted) -> None:
    for client in (AsyncChatClient(scripted.mesh.address), AsyncGrpcChatClient(scripted.mesh.grpc_address)):
        async with client:
            refusals = [await asyncio.gather(*(refusal_of(client) for _ in range(AT_ONCE))) for _ in range(4)]
        told = Counter(refusal for together in refusals for refusal in together)
        assert told == {(NOT_DEPLOYED, 404): 4 * AT_ONCE}
