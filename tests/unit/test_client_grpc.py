"""Both gRPC clients get the events and exceptions of the HTTP clients from a scripted server."""

import json
import threading
from typing import Any

import grpc
import pytest

from llm_streaming import AsyncGrpcChatClient, GrpcChatClient, protocol
from llm_streaming.client.grpc import MessageTimeout
from llm_streaming.client.inference_pb2 import ModelInferResponse
from llm_streaming.errors import InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent
from tests.support import both_clients
from tests.support.both_clients import BROKE_OFF, CHUNKS, EVENTS, Read
from tests.support.grpc_server import HANG, ScriptedServer, Step, message, scripted
from tests.support.provider import answer, chunk, line

Status = grpc.StatusCode


def events(*chunks: dict[str, Any], raw: bool = False) -> list[bytes]:
    return [message(event, raw=raw) for one in chunks for event in protocol.encode_chunk(one)]


def error_event(words: str, kind: str, code: str | None = None) -> bytes:
    event = protocol.encode_error({"error": {"message": words, "type": kind, "code": code}})
    return message(event, error=dict(event)["output_all"].decode())


both_readers = both_clients.both_readers(GrpcChatClient, AsyncGrpcChatClient)


def stream(read: Read, *steps: Step, **arguments: Any) -> tuple[list[ChatEvent], ScriptedServer]:
    seen: list[ChatEvent] = []
    with scripted(*steps) as server:
        read(server.address, seen, **arguments)
    return seen, server


@both_readers
@pytest.mark.parametrize("raw", [False, True])
def test_events_arrive_unchanged(read: Read, raw: bool) -> None:
    seen, _ = stream(read, *events(*CHUNKS, raw=raw))
    assert seen == EVENTS


@both_readers
def test_the_request_is_the_contracts(read: Read) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    _, server = stream(read, *events(*answer("x")), tools=[tool], tool_choice="auto", max_tokens=3, stop=["é"])
    [call] = server.calls
    assert call.method == "ModelStreamInfer"
    assert call.metadata["seldon-model"] == "m"
    assert (call.request.model_name, len(call.request.id)) == ("m", 32)
    assert [
        (tensor.name, tensor.datatype, list(tensor.shape), list(tensor.contents.bytes_contents))
        for tensor in call.request.inputs
    ] == [
        ("role", "BYTES", [1], [b"user"]),
        ("content", "BYTES", [1], [b"Hello!"]),
        ("type", "BYTES", [1], [b"text"]),
        ("tools", "BYTES", [1], [json.dumps(tool, separators=(",", ":")).encode()]),
        ("tool_choice", "BYTES", [1], [b"auto"]),
    ]
    parameters = '{"max_tokens":3,"stop":["é"]}'
    found = {name: value.string_param for name, value in call.request.parameters.items()}
    assert found == {"llm_parameters": parameters, "kwargs": parameters}


SO_FAR = events(chunk({"content": "so far"}))[0]
UNFINISHED = "the stream of model 'm' ended without a finish_reason: the answer is not complete"
NOT_DEPLOYED = "model 'm' is not deployed here: apply its manifest and wait until it is ready"
RAW = ModelInferResponse(outputs=[{"name": "content", "datatype": "BYTES", "shape": [1, 1]}])
FAILURES: dict[str, tuple[list[Step], tuple[str, int | None, str | None, str]]] = {
    "an error event": (
        [
            SO_FAR,
            error_event("Too long.", "invalid_request_error", "too_long"),
            (Status.FAILED_PRECONDITION, "Too long."),
        ],
        ("Too long.", 422, "too_long", "so far"),
    ),
    "an error event without a code": (
        [error_event("Slow down.", "rate_limit_error"), (Status.UNKNOWN, "Slow down.")],
        ("Slow down.", 429, "rate_limit_error", ""),
    ),
    "a failure without an event": ([SO_FAR, (Status.INTERNAL, "oh")], ("oh", 500, None, "so far")),
    "a connection that breaks": (
        [SO_FAR, (Status.UNAVAILABLE, "x")],
        (BROKE_OFF.format("UNAVAILABLE"), None, None, "so far"),
    ),
    "a stream that is reset": (
        [SO_FAR, (Status.INTERNAL, "Received RST_STREAM with error code 2")],
        (BROKE_OFF.format("INTERNAL"), None, None, "so far"),
    ),
    "a cancellation by the server": (
        [SO_FAR, (Status.CANCELLED, "")],
        (BROKE_OFF.format("CANCELLED"), None, None, "so far"),
    ),
    "a stream that just ends": ([SO_FAR], (UNFINISHED, None, None, "so far")),
    "no events at all": ([], (UNFINISHED, None, None, "")),
    "an event that is no message": (
        [SO_FAR, b"\xff oops"],
        ("expected an inference response, a ModelInferResponse, but got b'\\xff oops'", None, None, "so far"),
    ),
    "raw contents cut short": (
        [ModelInferResponse(outputs=RAW.outputs, raw_output_contents=[b"\x05\0\0\0four"]).SerializeToString()],
        ("tensor 'content': expected 9 bytes of raw contents, but got 8", None, None, ""),
    ),
    "raw contents without a length": (
        [ModelInferResponse(outputs=RAW.outputs, raw_output_contents=[b"\x05"]).SerializeToString()],
        ("tensor 'content': expected 4 bytes of raw contents, but got 1", None, None, ""),
    ),
    "raw contents too many": (
        [ModelInferResponse(outputs=RAW.outputs, raw_output_contents=[b"", b""]).SerializeToString()],
        ("response: expected 1 raw contents, one for each output, but got 2", None, None, ""),
    ),
    "a status without words": (
        [(Status.UNAVAILABLE, "")],
        ("the call to model 'm' failed with gRPC status UNAVAILABLE", 503, None, ""),
    ),
    "a model that Envoy has no route to": ([(Status.UNIMPLEMENTED, "")], (NOT_DEPLOYED, 404, None, "")),
    "a model that MLServer does not know": (
        [(Status.NOT_FOUND, "Model m not found")],
        ("Model m not found", 404, None, ""),
    ),
    "a request too large": (
        [(Status.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (5 vs. 4)")],
        ("SERVER: Received message larger than max (5 vs. 4)", 413, None, ""),
    ),
}


@both_readers
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_sentence_and_loses_nothing(read: Read, failure: str) -> None:
    steps, expected = FAILURES[failure]
    seen: list[ChatEvent] = []
    with scripted(*steps) as server, pytest.raises(InferenceError) as failed:
        read(server.address, seen)
    error = failed.value
    assert (error.message, error.status, error.code, error.partial) == expected
    assert "".join(event.content for event in seen) == error.partial


@both_readers
def test_a_server_that_dies(read: Read) -> None:
    with scripted(SO_FAR, lambda: server.stop(), HANG) as server, pytest.raises(InferenceError) as failed:
        read(server.address, [])
    assert (failed.value.message, failed.value.partial) == (BROKE_OFF.format("UNAVAILABLE"), "so far")


@both_readers
def test_silence_ends_the_call(read: Read) -> None:
    with scripted(SO_FAR, HANG) as server, pytest.raises(InferenceError) as failed:
        read(server.address, [], timeout=0.3)
    assert failed.value.message == f"{server.address} sent nothing for longer than the client's timeout"
    assert (failed.value.status, failed.value.partial) == (None, "so far")
    assert server.calls[0].ended.wait(60)


def test_a_slow_reader_is_not_silence() -> None:
    call = iter((b"1", b"2"))  # an iterator has no method to cancel it
    with MessageTimeout(call, 0.05) as timeout:
        while timeout.next_message():
            threading.Event().wait(0.2)
    assert not timeout.expired


@both_readers
def test_an_address_without_a_server(read: Read) -> None:
    with scripted() as server:
        pass
    with pytest.raises(InferenceError) as failed:
        read(f"http://{server.address}/", [])
    assert (
        failed.value.message
        == f"no server answers at {server.address}: check that the mesh is open and the address is right"
    )
    assert failed.value.status is None


@both_readers
def test_a_malformed_message_is_refused_before_it_is_sent(read: Read) -> None:
    with scripted() as server, pytest.raises(ProtocolError, match="message 0"):
        read(server.address, [], messages=[{"role": "wizard", "content": "Hello!"}])
    assert server.calls == []


@both_readers
def test_messages_may_be_large(read: Read) -> None:
    large = "x" * 10_000_000
    event = [("role", b"assistant"), ("content", large.encode()), ("output_all", line(chunk({}, "stop")))]
    seen, server = stream(read, message(event), messages=[{"role": "user", "content": large}])
    assert [event.content for event in seen] == [large]
    assert list(server.calls[0].request.inputs[1].contents.bytes_contents) == [large.encode()]
