"""Both HTTP clients get the same events and exceptions from a scripted server."""

import asyncio
import json
from typing import Any

import pytest

from llm_streaming import AsyncChatClient, AsyncGrpcChatClient, ChatClient, GrpcChatClient, protocol
from llm_streaming.client.http import base_url_of
from llm_streaming.errors import InferenceError, ProtocolError
from llm_streaming.protocol import ChatEvent, Completion
from tests.support import both_clients
from tests.support.both_clients import BROKE_OFF, CHUNKS, EVENTS, MESSAGES, Complete, Read
from tests.support.provider import CUT, Provider, Reply, answer, chunk, failed, line, provider_in_thread, sse


def response(event: protocol.Event, **parameters: str) -> dict[str, Any]:
    """Make an inference response as MLServer does."""
    outputs = [
        {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "str"},
            "data": [value.decode()],
        }
        for name, value in event
    ]
    return {"model_name": "m", "id": "1", "parameters": parameters, "outputs": outputs}


def events(*chunks: dict[str, Any]) -> list[bytes]:
    return [sse(response(event)) for one in chunks for event in protocol.encode_chunk(one)]


def error_event(message: str, kind: str, code: str | None = None) -> bytes:
    event = protocol.encode_error({"error": {"message": message, "type": kind, "code": code}})
    return sse(response(event, error=dict(event)["output_all"].decode()))


both_readers = both_clients.both_readers(ChatClient, AsyncChatClient)
both_callers = both_clients.both_callers(ChatClient, AsyncChatClient)


def address_of(provider: Provider) -> str:
    return provider.base_url.removeprefix("http://").removesuffix("/v1")


def stream(reply: Reply, read: Read, **arguments: Any) -> tuple[list[ChatEvent], Provider]:
    seen: list[ChatEvent] = []
    with provider_in_thread(reply) as (provider, _):
        read(address_of(provider), seen, **arguments)
    return seen, provider


@both_readers
def test_events_arrive_unchanged(read: Read) -> None:
    seen, _ = stream(Reply(events(*CHUNKS)), read)
    assert seen == EVENTS


@both_readers
def test_events_survive_any_cut_of_the_bytes(read: Read) -> None:
    whole = b"".join(events(*answer("a🙂", "b")))
    pieces = [whole[start : start + 7] for start in range(0, len(whole), 7)]
    seen, _ = stream(Reply(pieces), read)
    assert "".join(event.content for event in seen) == "a🙂b"


@both_readers
def test_the_request_is_the_contracts(read: Read) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    _, provider = stream(Reply(events(*answer("x"))), read, tools=[tool], tool_choice="auto", max_tokens=3)
    request = provider.requests[0]
    assert request.path == "/v2/models/m/infer_stream"
    assert [(tensor["name"], tensor["shape"], tensor["data"]) for tensor in request.body["inputs"]] == [
        ("role", [1], ["user"]),
        ("content", [1], ["Hello!"]),
        ("type", [1], ["text"]),
        ("tools", [1], [json.dumps(tool, separators=(",", ":"))]),
        ("tool_choice", [1], ["auto"]),
    ]
    assert request.body["parameters"] == {"llm_parameters": {"max_tokens": 3}, "kwargs": {"max_tokens": 3}}


FAILURES = {
    "an error event": (
        Reply([*events(chunk({"content": "so far"})), error_event("Too long.", "invalid_request_error", "too_long")]),
        ("Too long.", 422, "too_long", "so far"),
    ),
    "an error event without a code": (
        Reply([error_event("Slow down.", "rate_limit_error")]),
        ("Slow down.", 429, "rate_limit_error", ""),
    ),
    "a connection that breaks": (
        Reply([*events(chunk({"content": "so far"})), CUT]),
        (
            BROKE_OFF.format("RemoteProtocolError"),
            None,
            None,
            "so far",
        ),
    ),
    "a stream that just ends": (
        Reply(events(chunk({"content": "so far"}))),
        ("the stream of model 'm' ended without a finish_reason: the answer is not complete", None, None, "so far"),
    ),
    "no events at all": (
        Reply([]),
        ("the stream of model 'm' ended without a finish_reason: the answer is not complete", None, None, ""),
    ),
    "an event that is not JSON": (
        Reply([*events(chunk({"content": "so far"})), b"data: {oops\n\n"]),
        ("expected an inference response, a JSON object, but got '{oops'", None, None, "so far"),
    ),
    "a line without end": (
        Reply([*events(chunk({"content": "so far"})), b"data: ", *[b"x" * 65_536] * 1000]),
        ("the server sent an event of more than 4 MB: see the server's log", None, None, "so far"),
    ),
    "an event without end": (
        Reply([*events(chunk({"content": "so far"})), *[b"data: " + b"x" * 65_536 + b"\n"] * 1000]),
        ("the server sent an event of more than 4 MB: see the server's log", None, None, "so far"),
    ),
    "an HTTP error in words": (failed(429, {"error": "slow down"}), ("slow down", 429, None, "")),
    "an HTTP error without words": (
        Reply([b" "], 503, {}),
        ("the call to model 'm' failed with HTTP 503", 503, None, ""),
    ),
    "a model that is not there": (
        Reply([], 404, {}),
        ("model 'm' is not deployed here: apply its manifest and wait until it is ready", 404, None, ""),
    ),
}


@both_readers
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_one_sentence_and_loses_nothing(read: Read, failure: str) -> None:
    reply, expected = FAILURES[failure]
    seen: list[ChatEvent] = []
    with provider_in_thread(reply) as (provider, _), pytest.raises(InferenceError) as failed:
        read(address_of(provider), seen)
    error = failed.value
    assert (error.message, error.status, error.code, error.partial) == expected
    assert "".join(event.content for event in seen) == error.partial


@both_readers
def test_an_address_without_a_server(read: Read) -> None:
    with provider_in_thread() as (provider, _):
        address = address_of(provider)
    with pytest.raises(InferenceError) as failed:
        read(address, [])
    assert (
        str(failed.value)
        == f"no server answers at http://{address}: check that the mesh is open and the address is right"
    )


@both_readers
def test_a_malformed_message_is_refused_before_it_is_sent(read: Read) -> None:
    with provider_in_thread() as (provider, _), pytest.raises(ProtocolError, match="message 0"):
        read(address_of(provider), [], messages=[{"role": "wizard", "content": "Hello!"}])
    assert provider.requests == []


def test_leaving_the_loop_ends_the_stream() -> None:
    with provider_in_thread(respond=lambda _: Reply([*events(chunk({"content": "x"})), asyncio.Event()])) as (
        provider,
        loop,
    ):
        with ChatClient(address_of(provider)) as client:
            for _ in client.stream("m", MESSAGES):
                break
        left = asyncio.run_coroutine_threadsafe(provider.requests[0].disconnected.wait(), loop)
        assert left.result(timeout=60)


@both_callers
def test_a_whole_answer(complete: Complete) -> None:
    completion = protocol.accumulate(answer("Hel", "lo"))
    body = response(protocol.encode_completion(completion))
    with provider_in_thread(Reply([line(body)], headers={"content-type": "application/json"})) as (provider, _):
        found = complete(address_of(provider))
    assert provider.requests[0].path == "/v2/models/m/infer"
    assert found == Completion("Hello", "stop", completion["usage"], [], completion)


@both_callers
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (failed(422, {"error": "tensor 'role' is missing"}), ("tensor 'role' is missing", 422)),
        (Reply([b"<html>"], 200, {}), ("expected an inference response, a JSON object, but got '<html>'", 200)),
    ],
)
def test_a_whole_answer_that_fails(complete: Complete, reply: Reply, expected: tuple[str, int]) -> None:
    with provider_in_thread(reply) as (provider, _), pytest.raises(InferenceError) as failed:
        complete(address_of(provider))
    assert (failed.value.message, failed.value.status) == expected


@both_readers
def test_an_address_may_be_a_url(read: Read) -> None:
    with provider_in_thread(Reply(events(*answer("x")))) as (provider, _):
        seen: list[ChatEvent] = []
        read(f"http://{address_of(provider)}/", seen)
    assert "".join(event.content for event in seen) == "x"


@pytest.mark.parametrize("client", [ChatClient, AsyncChatClient])
@pytest.mark.parametrize("address", ["", "http://", "127.0.0.1:port", "ftp://127.0.0.1:21", "http://[::1"])
def test_a_malformed_address_is_refused(client: type, address: str) -> None:
    with pytest.raises(InferenceError) as refused:
        client(address)
    assert str(refused.value) == f"{address!r} is not an address: pass the mesh's host:port, as in mesh.address"


def test_both_forms_of_an_address() -> None:
    forms = ("127.0.0.1:80", "http://127.0.0.1:80/", "https://mesh.example", "[::1]:80")
    expected = ["http://127.0.0.1:80", "http://127.0.0.1:80", "https://mesh.example", "http://[::1]:80"]
    assert [base_url_of(form) for form in forms] == expected


@pytest.mark.parametrize("client", [ChatClient, AsyncChatClient, GrpcChatClient, AsyncGrpcChatClient])
@pytest.mark.parametrize("token", ["secret\n", "sécret", "two\nlines"])
def test_a_token_that_no_header_can_have(client: type, token: str) -> None:
    with pytest.raises(InferenceError) as refused:
        client("127.0.0.1:9", token=token)
    assert str(refused.value) == ("the token has a line break or another character that HTTP forbids: pass mesh.token")
