"""Requests that are too large or malformed get a 4xx and a sentence, and cost nobody else anything."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

from llm_streaming import ChatClient, GrpcChatClient
from llm_streaming.errors import InferenceError
from tests.support.doors import DOORS, Failure, door
from tests.support.provider import Reply, accumulated, streamed
from tests.support.scripted import Scripted

JSON = {"content-type": "application/json"}
GZIP = {**JSON, "content-encoding": "gzip"}
MIB = 1024**2


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


def tensor(name: str, *elements: str) -> dict[str, Any]:
    return {"name": name, "shape": [len(elements)], "datatype": "BYTES", "data": list(elements)}


def request(parameters: Any = None, **more: Any) -> bytes:
    """The body of a request to MLServer's own paths."""
    body = {"inputs": [tensor("role", "user"), tensor("content", "Hello!")], "parameters": parameters or {}, **more}
    return json.dumps(body).encode()


def openai_request(**parameters: Any) -> bytes:
    body = {"model": Scripted.model, "messages": [{"role": "user", "content": "Hello!"}], **parameters}
    return json.dumps(body).encode()


@pytest.fixture(autouse=True)
def no_traceback(scripted: Scripted) -> Iterator[None]:
    """Check that a test adds no traceback to the server's log."""
    before = len(scripted.log())
    yield
    assert "Traceback" not in scripted.log()[before:]


TOO_LARGE = "the body is larger than 16 MiB: send a smaller request"
TOO_MANY = "the body contains more than 500,000 JSON values: send a smaller request"
TOO_DEEP = "nested deeper than 100 levels, which is the most that is accepted"

# The headers and the body of each request, and the status and the sentence on MLServer's own paths.
MALFORMED: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "parameters nested 400 deep": (JSON, request({"llm_parameters": {"x": nested(400)}}), 422, f"the body: {TOO_DEEP}"),
    "parameters as a string, nested 400 deep": (
        JSON,
        request({"llm_parameters": json.dumps({"x": nested(400)})}),
        422,
        f"the request: {TOO_DEEP}",
    ),
    "a tensor nested 900 deep": (
        JSON,
        json.dumps({"inputs": [{**tensor("role"), "data": nested(900)}]}).encode(),
        422,
        f"the body: {TOO_DEEP}",
    ),
    "JSON that is not UTF-8": (JSON, b'{"a":"\xff"}', 422, 'the body: expected UTF-8, but got b\'{"a":"\\xff"}\''),
    "JSON that ends early": (JSON, b'{"a":', 422, "the body: expected JSON, but got b'{\"a\":'"),
    "half a surrogate": (JSON, b'{"a":"\\ud83d"}', 422, 'the body: expected JSON, but got b\'{"a":"\\\\ud83d"}\''),
    "not gzip": (GZIP, b"abc", 422, "the body: expected gzip, as in the header content-encoding"),
    "a gzip bomb": (GZIP, gzip.compress(bytes(200 * MIB)), 413, TOO_LARGE),
    "17 MiB": (JSON, b'{"inputs":"' + b"a" * 17 * MIB + b'"}', 413, TOO_LARGE),
    "a million values": (JSON, b'{"inputs":[' + b"1," * 1_000_000 + b"1]}", 413, TOO_MANY),
    "a tensor of 10,001 elements": (
        JSON,
        json.dumps({"inputs": [tensor("role", *["user"] * 10_001)]}).encode(),
        422,
        "tensor 'role': more than 10000 elements, which is the maximum",
    ),
    "a newline in the id": (
        JSON,
        request(id="a\r\nset-cookie: b"),
        422,
        r"id: expected at most 200 printable ASCII characters, but got 'a\r\nset-cookie: b'",
    ),
    "a long id": (
        JSON,
        request(id="a" * 201),
        422,
        f"id: expected at most 200 printable ASCII characters, but got '{'a' * 59}…",
    ),
}


@pytest.mark.parametrize(("headers", "body", "status", "message"), MALFORMED.values(), ids=MALFORMED)
def test_mlservers_paths_refuse_a_malformed_request(
    scripted: Scripted, headers: dict[str, str], body: bytes, status: int, message: str
) -> None:
    url = f"http://{scripted.mesh.address}/v2/models/{scripted.model}/infer"
    response = httpx.post(url, headers=headers, content=body, timeout=60)
    assert (response.status_code, response.json()) == (status, {"error": message})


OPENAI_MALFORMED: dict[str, tuple[dict[str, str], bytes, int, str]] = {
    "parameters nested 400 deep": (JSON, openai_request(x=nested(400)), 400, f"the body: {TOO_DEEP}"),
    "JSON that is not UTF-8": MALFORMED["JSON that is not UTF-8"],
    "17 MiB": MALFORMED["17 MiB"],
    "a gzip bomb": MALFORMED["a gzip bomb"],
    "a million values": (JSON, openai_request(x=[1] * 1_000_000), 413, TOO_MANY),
}


@pytest.mark.parametrize("endpoint", ["infer", "infer_stream"])
@pytest.mark.parametrize(("headers", "body", "status", "message"), OPENAI_MALFORMED.values(), ids=OPENAI_MALFORMED)
def test_openais_path_refuses_a_malformed_request(
    scripted: Scripted, headers: dict[str, str], body: bytes, status: int, message: str, endpoint: str
) -> None:
    url = f"http://{scripted.mesh.address}/v2/models/{scripted.model}/{endpoint}/chat/completions"
    response = httpx.post(url, headers=headers, content=body, timeout=60)
    error = {"message": message, "type": "invalid_request_error", "code": None}
    assert (response.status_code, response.json()) == (status, {"error": error})


def test_compressed_requests_are_read(scripted: Scripted) -> None:
    scripted.replies["Hello!"] = Reply([accumulated("a")], headers=JSON)
    url = f"http://{scripted.mesh.address}/v2/models/{scripted.model}/infer"
    assert httpx.post(url, headers=GZIP, content=gzip.compress(request()), timeout=60).status_code == 200


@pytest.mark.parametrize("client", [ChatClient, GrpcChatClient])
def test_our_clients_say_that_a_request_is_too_large(scripted: Scripted, client: Any) -> None:
    address = scripted.mesh.address if client is ChatClient else scripted.mesh.grpc_address
    with client(address) as chat, pytest.raises(InferenceError) as raised:
        chat.complete(scripted.model, [{"role": "user", "content": "a" * 17 * MIB}])
    assert raised.value.status == 413


def test_a_newline_in_the_id_is_refused_over_grpc(scripted: Scripted) -> None:
    scripted.replies["Hello!"] = streamed("a")
    tensors = [
        pb.ModelInferRequest.InferInputTensor(
            name=name, datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[value])
        )
        for name, value in (("role", b"user"), ("content", b"Hello!"))
    ]
    asked = pb.ModelInferRequest(model_name=scripted.model, id="a\nb", inputs=tensors)
    metadata = (("seldon-model", scripted.model),)
    with grpc.insecure_channel(scripted.mesh.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as whole:
            stub.ModelInfer(asked, metadata=metadata, timeout=60)
        with pytest.raises(grpc.RpcError) as streaming:
            list(stub.ModelStreamInfer(iter([asked]), metadata=metadata, timeout=60))
    message = r"id: expected at most 200 printable ASCII characters, but got 'a\nb'"
    assert [(each.value.code().name, each.value.details()) for each in (whole, streaming)] == [
        ("FAILED_PRECONDITION", message)
    ] * 2


@pytest.mark.parametrize("mode", ["stream", "complete"])
@pytest.mark.parametrize("kind", DOORS)
def test_half_a_surrogate_in_a_providers_error_arrives_as_text(scripted: Scripted, kind: str, mode: str) -> None:
    text = f"surrogate {kind} {mode}"
    error = {"message": "Half \ud83d.", "type": "t", "code": "c\x1b"}
    body = json.dumps({"error": error}).encode()
    scripted.replies[text] = Reply([body], 429, {**JSON, "retry-after": "9" * 400})
    client, messages = door(kind, scripted.mesh), [{"role": "user", "content": text}]
    with pytest.raises(Exception, match="Half") as raised:  # noqa: PT012 - one call or the other
        if mode == "stream":
            list(client.stream(scripted.model, messages))
        else:
            client.complete(scripted.model, messages)
    shown = client.failure(raised.value)
    code = None if mode == "complete" and kind != "openai" else r"c\x1b"
    assert shown == Failure(r"Half \ud83d.", 500 if (kind, mode) == ("grpc", "complete") else 429, code)


@pytest.mark.parametrize("client", [ChatClient, GrpcChatClient])
def test_a_misspelled_parameter_is_reported_and_sent(scripted: Scripted, client: Any) -> None:
    address = scripted.mesh.address if client is ChatClient else scripted.mesh.grpc_address
    warning = r"OpenAI's API has no parameter max_token \(did you mean max_tokens\?\); it was sent as it is"
    with client(address) as chat:
        scripted.replies["near"] = streamed("a")
        with pytest.warns(UserWarning, match=warning) as streaming:
            events = list(chat.stream(scripted.model, [{"role": "user", "content": "near"}], max_token=5, top_k=3))
        scripted.replies["near"] = Reply([accumulated("a")], headers=JSON)
        with pytest.warns(UserWarning, match=warning) as whole:
            answered = chat.complete(scripted.model, [{"role": "user", "content": "near"}], max_token=5, top_k=3)
    assert ("".join(event.content for event in events), answered.content) == ("a", "a")
    own = [[each.filename for each in given if each.category is UserWarning] for given in (streaming, whole)]
    assert [len(names) for names in own] == [1, 1]
    assert own[0] == [__file__]
    assert scripted.last_request()["max_token"] == 5
