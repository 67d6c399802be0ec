"""What each client sees of each failure, streamed and whole, and what the server's log says."""

import asyncio
from dataclasses import dataclass

import openai
import pytest

from llm_streaming import ChatClient
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.processes.ports import wait_until
from tests.support.doors import DOORS, Failure, door
from tests.support.provider import CUT, Reply, chunk, failed, sse
from tests.support.scripted import Scripted

SO_FAR = sse(chunk({"content": "so far"}))


@dataclass(frozen=True)
class Case:
    """What the provider does, and what becomes of it.

    Args:
        streamed: its reply to a request for a stream.
        message: the words that every client is told.
        status: OpenAI's status for it, which OpenAI's client sees.
        code: OpenAI's code, or type where it has none.
        partial: the text that came before.
        whole: its reply to a request for a whole answer; the same by default.
    """

    streamed: Reply
    message: str
    status: int
    code: str
    partial: str = ""
    whole: Reply | None = None
    model: str = Scripted.model


def refusal(status: int, message: str, kind: str, code: str | None = None, **headers: str) -> Reply:
    return failed(status, {"error": {"message": message, "type": kind, "code": code}}, **headers)


BROKE_OFF = "The provider closed the connection before the answer was complete."
GARBAGE = "The provider sent something that is not a JSON object."

CASES = {
    "refused request": Case(
        refusal(400, "Bad value.", "invalid_request_error", "bad_value"), "Bad value.", 400, "bad_value"
    ),
    "unknown model": Case(
        refusal(404, "No such model.", "invalid_request_error", "no_model"), "No such model.", 404, "no_model"
    ),
    "context too long": Case(
        refusal(400, "Too long.", "invalid_request_error", "context_length_exceeded"),
        "Too long.",
        400,
        "context_length_exceeded",
    ),
    "authentication": Case(
        refusal(401, "Wrong key.", "authentication_error", "invalid_api_key"), "Wrong key.", 401, "invalid_api_key"
    ),
    "rate limit": Case(
        refusal(429, "Slow down.", "rate_limit_error", "rate_limit_exceeded", retry_after="7"),
        "Slow down. (Try again after 7 s.)",
        429,
        "rate_limit_exceeded",
    ),
    "provider's own failure": Case(refusal(503, "Overloaded.", "server_error"), "Overloaded.", 503, "server_error"),
    "time-out": Case(
        Reply([asyncio.Event()]), "The provider did not answer in time.", 504, "timeout", model=Scripted.impatient
    ),
    "silence in mid-stream": Case(
        Reply([SO_FAR, asyncio.Event()]),
        "The provider did not answer in time.",
        504,
        "timeout",
        "so far",
        whole=Reply([b"{", asyncio.Event()]),
        model=Scripted.impatient,
    ),
    "connection lost": Case(
        Reply([SO_FAR, CUT]), BROKE_OFF, 502, "connection_error", "so far", whole=Reply([b'{"id":', CUT])
    ),
    "malformed chunk": Case(
        Reply([SO_FAR, b"data: {oops\n\n"]), GARBAGE, 502, "server_error", "so far", whole=Reply([b"<html>"])
    ),
    "half a character": Case(
        Reply([SO_FAR, b'data: {"choices":[{"delta":{"content":"\xc3"}}]}\n\n']),
        GARBAGE,
        502,
        "server_error",
        "so far",
        whole=Reply([b'{"id":"\xc3"}']),
    ),
    "an error among the chunks": Case(
        Reply([SO_FAR, sse({"error": {"message": "Crashed.", "type": "server_error", "code": "crash"}})]),
        "Crashed.",
        500,
        "crash",
        "so far",
        whole=Reply([b'{"error":{"message":"Crashed.","type":"server_error","code":"crash"}}']),
    ),
}


def failure_of(kind: str, mode: str, scripted: Scripted, text: str, model: str = Scripted.model) -> tuple[Failure, str]:
    """What a client is told of a failure, and the text that it had been told before."""
    client, messages = door(kind, scripted.mesh), [{"role": "user", "content": text}]
    seen: list[str] = []
    with pytest.raises((InferenceError, openai.APIError)) as raised:  # noqa: PT012 - one call or the other
        if mode == "complete":
            client.complete(model, messages)
        else:
            seen.extend(one["choices"][0]["delta"].get("content", "") for one in client.stream(model, messages))
    partial = "".join(seen)
    if isinstance(raised.value, InferenceError):
        assert raised.value.partial == partial
    return client.failure(raised.value), partial


def expected_of(case: Case, kind: str, mode: str) -> tuple[Failure, str]:
    if kind == "openai":
        begun = mode == "stream" and case.partial  # the status line has gone out with the first chunk
        return Failure(case.message, None if begun else case.status, case.code), case.partial if begun else ""
    status = 422 if case.status in (400, 404) else case.status  # on those SC2's agent would reload the model
    if mode == "stream":
        return Failure(case.message, status, case.code), case.partial
    # Whole answers carry MLServer's own errors: words and a status, of which its gRPC server knows 422 and 500.
    return Failure(case.message, status if kind == "http" or status == 422 else 500, None), ""


@pytest.mark.parametrize("mode", ["stream", "complete"])
@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("name", CASES)
def test_every_client_is_told_what_went_wrong(scripted: Scripted, name: str, kind: str, mode: str) -> None:
    case = CASES[name]
    text = f"{name} {kind} {mode}"
    scripted.replies[text] = case.whole if mode == "complete" and case.whole else case.streamed
    assert failure_of(kind, mode, scripted, text, case.model) == expected_of(case, kind, mode)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_stream_says_when_to_ask_again(scripted: Scripted, kind: str) -> None:
    scripted.replies[f"again {kind}"] = refusal(429, "Slow down.", "requests", retry_after="6.5")
    with pytest.raises(InferenceError) as raised:
        list(door(kind, scripted.mesh).stream(scripted.model, [{"role": "user", "content": f"again {kind}"}]))
    assert raised.value.retry_after == 7  # whole seconds, because gRPC carries no others


def test_the_log_has_one_line_for_a_failure_and_no_traceback(scripted: Scripted) -> None:
    logged = len(scripted.log())
    ways = [(kind, mode) for kind in DOORS for mode in ("stream", "complete")]
    for kind, mode in ways:
        scripted.replies[f"log {kind} {mode}"] = refusal(400, f"Refused {kind} {mode}.", "invalid_request_error")
        failure_of(kind, mode, scripted, f"log {kind} {mode}")
    assert wait_until(lambda: all(f"Refused {kind} {mode}." in scripted.log() for kind, mode in ways), timeout=60)
    lines = {
        (kind, mode): [line for line in scripted.log().splitlines() if f"Refused {kind} {mode}." in line]
        for kind, mode in ways
    }
    assert {way: len(found) for way, found in lines.items()} == dict.fromkeys(ways, 1)
    assert "Traceback" not in scripted.log()[logged:]


def test_a_stream_that_just_ends_is_not_an_answer(scripted: Scripted) -> None:
    scripted.replies["ends"] = Reply([SO_FAR])
    message = "The provider ended the stream before the answer was complete."
    assert {kind: failure_of(kind, "stream", scripted, "ends") for kind in DOORS} == {
        "http": (Failure(message, 502, "server_error"), "so far"),
        "grpc": (Failure(message, 502, "server_error"), "so far"),
        "openai": (Failure(message, None, "server_error"), "so far"),
    }


def test_a_provider_that_is_silent_for_long_is_waited_for(scripted: Scripted) -> None:
    """Empty events keep the stream alive meanwhile: here four times, until the test lets the provider go on."""
    released = asyncio.Event()
    usage = chunk(usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2})
    scripted.replies["slow"] = Reply([SO_FAR, released, sse(chunk({}, "stop")), sse(usage)])
    with ChatClient(scripted.mesh.address) as client:
        alive = 0
        for event in client.stream(scripted.model, [{"role": "user", "content": "slow"}]):
            alive += event.raw["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
            if alive == 4:
                scripted.call_soon(released.set)
    assert alive >= 4
