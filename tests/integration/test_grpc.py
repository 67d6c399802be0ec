"""The gRPC clients against both models of the walkthroughs, through Envoy and directly at MLServer."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

from llm_streaming import AsyncChatClient, AsyncGrpcChatClient, ChatClient, GrpcChatClient
from llm_streaming.client.grpc_messages import decode_message, encode_message
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.protocol import ChatEvent, decode_completion
from tests.conftest import CPU, OPENAI

MESSAGES = [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Does money buy happiness?"}]
SERVERS = {CPU: "local", OPENAI: "api"}
ADDRESSES = ("envoy", "mlserver")
both_models = pytest.mark.parametrize("model", [CPU, OPENAI])
both_addresses = pytest.mark.parametrize("address", ADDRESSES)


def http(mesh: Mesh) -> ChatClient:
    return ChatClient(mesh.address)


def over_grpc(mesh: Mesh) -> GrpcChatClient:
    return GrpcChatClient(mesh.grpc_address)


def address_of(mesh: EmbeddedMesh, address: str, model: str) -> str:
    if address == "envoy":
        return mesh.grpc_address
    return f"unix:{mesh.mlserver(SERVERS[model]).socket('grpc:0')}"


def comparable(events: Iterator[ChatEvent] | list[ChatEvent]) -> tuple[str, list[str], list[int]]:
    """Return the parts of an answer that are always the same: its text, its finish_reasons and its token counts."""
    seen = list(events)
    return (
        "".join(event.content for event in seen),
        [event.finish_reason for event in seen if event.finish_reason],
        [event.usage["total_tokens"] for event in seen if event.usage],
    )


async def collect(events: AsyncIterator[ChatEvent]) -> list[ChatEvent]:
    return [event async for event in events]


@both_addresses
@both_models
def test_the_transport_makes_no_difference(mesh: EmbeddedMesh, model: str, address: str) -> None:
    target = address_of(mesh, address, model)

    async def asynchronous() -> tuple[list[ChatEvent], list[ChatEvent]]:
        async with AsyncChatClient(mesh.address) as plain, AsyncGrpcChatClient(target) as client:
            return (
                await collect(plain.stream(model, MESSAGES, max_tokens=24)),
                await collect(client.stream(model, MESSAGES, max_tokens=24)),
            )

    with http(mesh) as plain, GrpcChatClient(target) as client:
        expected = comparable(plain.stream(model, MESSAGES, max_tokens=24))
        found = comparable(client.stream(model, MESSAGES, max_tokens=24))
        whole = client.complete(model, MESSAGES, max_tokens=24)
    text, reasons, [tokens] = expected
    assert len(text.split()) > 5
    assert found == expected
    assert [comparable(events) for events in asyncio.run(asynchronous())] == [expected, expected]
    assert (whole.content, [whole.finish_reason]) == (text, reasons)
    assert whole.raw["object"] == "chat.completion"
    assert whole.usage is not None
    assert whole.usage["total_tokens"] == tokens


@both_models
def test_an_answer_comes_in_many_events(mesh: Mesh, model: str) -> None:
    with over_grpc(mesh) as client:
        texts = [event.content for event in client.stream(model, MESSAGES, max_tokens=24) if event.content]
    assert len(texts) > 10
    assert max(map(len, texts)) < 20


def fields(error: InferenceError) -> tuple[str, int | None, str | None, str]:
    return error.message, error.status, error.code, error.partial


def failure(
    client: ChatClient | GrpcChatClient, method: str, model: str, *, content: str = "Hello!", **parameters: object
) -> InferenceError:
    call = getattr(client, method)
    with pytest.raises(InferenceError) as failed:
        list(call(model, [{"role": "user", "content": content}], **parameters))
    return failed.value


@pytest.mark.parametrize("method", ["stream", "complete"])
@both_models
def test_a_question_too_long_is_refused_alike(mesh: Mesh, model: str, method: str) -> None:
    long = "word " * 5_000
    with http(mesh) as plain, over_grpc(mesh) as client:
        expected = failure(plain, method, model, content=long)
        found = failure(client, method, model, content=long)
    assert found.status == 422
    assert fields(found) == fields(expected)


@pytest.mark.parametrize("method", ["stream", "complete"])
def test_a_refused_parameter_is_refused_alike(mesh: Mesh, method: str) -> None:
    with http(mesh) as plain, over_grpc(mesh) as client:
        expected = failure(plain, method, CPU, max_tokns=3)
        found = failure(client, method, CPU, max_tokns=3)
    assert "max_tokns" in found.message
    assert fields(found) == fields(expected)


@pytest.mark.parametrize("method", ["stream", "complete"])
def test_an_unknown_model_is_unknown_alike(mesh: Mesh, method: str) -> None:
    with http(mesh) as plain, over_grpc(mesh) as client:
        expected = failure(plain, method, "nobody")
        found = failure(client, method, "nobody")
    words = "model 'nobody' is not deployed here: apply its manifest and wait until it is ready"
    assert fields(found) == fields(expected) == (words, 404, None, "")


@pytest.mark.parametrize("method", ["stream", "complete"])
def test_mlserver_itself_says_that_a_model_is_unknown(mesh: EmbeddedMesh, method: str) -> None:
    with GrpcChatClient(address_of(mesh, "mlserver", CPU)) as client:
        found = failure(client, method, "nobody")
    assert fields(found) == ("Model nobody with version  not found", 404, None, "")


@pytest.mark.parametrize("method", ["stream", "complete"])
def test_a_large_request_arrives(mesh: Mesh, method: str) -> None:
    """Requests beyond gRPC's default limit of 4 MB reach the model, which refuses the messages."""
    messages = [{"role": "user", "content": "x" * 5_000_000}]
    with over_grpc(mesh) as client, pytest.raises(InferenceError, match="messages has 5000004 characters") as failed:
        list(getattr(client, method)(CPU, messages))
    assert failed.value.status == 422


def test_leaving_early_leaves_the_model_free(mesh: Mesh) -> None:
    with over_grpc(mesh) as client:
        for event in client.stream(CPU, MESSAGES, max_tokens=2_000):
            if event.content:
                break
        assert client.complete(CPU, MESSAGES, max_tokens=1).finish_reason == "length"


@pytest.mark.parametrize("raw", [False, True])
def test_mlservers_client_and_ours_exchange_the_same_messages(mesh: Mesh, raw: bool) -> None:
    """MLServer's own stub accepts our requests, and we read the responses that it gets, typed and raw."""
    body = {"inputs": [{"name": "role", "datatype": "BYTES", "shape": [1], "data": ["user"]}]}
    body["inputs"].append({"name": "content", "datatype": "BYTES", "shape": [1], "data": ["Hello!"]})
    request = pb.ModelInferRequest.FromString(encode_message(CPU, body))
    request.parameters["kwargs"].string_param = '{"max_tokens": 5}'
    if raw:
        for tensor in request.inputs:
            [element] = tensor.contents.bytes_contents
            request.raw_input_contents.append(len(element).to_bytes(4, "little") + element)
            tensor.ClearField("contents")
    with grpc.insecure_channel(mesh.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, metadata=(("seldon-model", CPU),))
    assert bool(answer.raw_output_contents) == raw
    found = decode_completion(decode_message(answer.SerializeToString()))
    assert found.raw["choices"][0]["message"]["content"] == found.content
    assert found.usage is not None
    assert (found.finish_reason, found.usage["completion_tokens"]) == ("length", 5)
