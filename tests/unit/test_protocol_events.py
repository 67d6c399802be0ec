"""What a client makes of inference responses, its own runtimes' and others'."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import (
    ChatEvent,
    Completion,
    decode_completion,
    decode_event,
    encode_chunk,
    encode_completion,
    encode_error,
)
from llm_streaming.protocol.response import select

# The first text that is drawn on a machine takes seconds: Hypothesis builds its table of Unicode.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def response(event, decode=bytes.decode, **parameters):
    outputs = [
        {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [decode(value)]}
        for name, value in dict(event).items()
    ]
    return {"model_name": "m", "id": "1", "parameters": parameters, "outputs": outputs}


def chunk(delta, finish_reason=None, **extra):
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **extra}


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
calls = st.lists(st.builds(lambda arguments: {**CALL, "function": {"name": "f", "arguments": arguments}}, text))


@patient
@given(text, st.sampled_from([None, "stop"]), st.none() | st.just({"total_tokens": 3}), calls)
def test_what_a_runtime_sends_arrives(content, finish_reason, usage, calls):
    raw = chunk({"content": content, "tool_calls": calls}, finish_reason, usage=usage)
    [event] = encode_chunk(raw)
    expected = ChatEvent(content, finish_reason, usage, calls, raw)
    assert decode_event(response(event)) == expected
    assert decode_event(response(event, bytes)) == expected  # over gRPC
    assert decode_event(response(select(event, ["output_all"]))) == expected


@patient
@given(text, calls)
def test_a_whole_answer_arrives(content, calls):
    message = {"role": "assistant", "content": content, "tool_calls": calls}
    raw = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}
    event = encode_completion(raw)
    assert decode_completion(response(event)) == Completion(content, "stop", {"total_tokens": 3}, calls, raw)
    assert decode_event(response(event)) == ChatEvent(content, "stop", {"total_tokens": 3}, calls, raw)


OTHERS = [("role", b"assistant"), ("content", b"Hi"), ("type", b"text")]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (OTHERS, ChatEvent("Hi", None, None, [], {})),
        ([*OTHERS, ("tool_calls", json.dumps([CALL]).encode())], ChatEvent("Hi", None, None, [CALL], {})),
        ([("tool_calls", b"")], ChatEvent("", None, None, [], {})),
        ([("output_all", b'{"choices":[]}')], ChatEvent("", None, None, [], {"choices": []})),
        ([], ChatEvent("", None, None, [], {})),
    ],
)
def test_other_servers(event, expected):
    assert decode_event(response(event)) == expected


def test_outputs_that_nobody_knows():
    scores = {"name": "scores", "shape": [1], "datatype": "FP32", "data": [0.5]}
    content = {"name": "content", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    assert decode_event({"outputs": [scores, content]}) == ChatEvent("ab", None, None, [], {})


def caught_error(message):
    with pytest.raises(EngineError) as caught:
        decode_event(message)
    error = caught.value
    return str(error), error.status, error.type, error.code


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("authentication_error", "invalid_api_key", 401),
        ("permission_error", None, 403),
        ("not_found_error", None, 404),
        ("invalid_request_error", "context_length_exceeded", 422),
        ("rate_limit_error", None, 429),
        ("tokens", "rate_limit_exceeded", 429),
        ("timeout", None, 504),
        ("server_error", "timeout", 504),
        ("server_error", None, 500),
        ("something_new", "anything", 500),
    ],
)
def test_errors(kind, code, status):
    event = encode_error({"error": {"message": "It failed.", "type": kind, "code": code}})
    expected = ("It failed.", status, kind, code)
    assert caught_error(response(event)) == expected
    assert caught_error(response([], error=dict(event)["output_all"].decode())) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"error": {"message": "No."}}, ("No.", 500, "server_error", None)),
        ({"message": "No.", "type": "timeout", "code": 504}, ("No.", 504, "timeout", "504")),
        ('{"error":"No."}', ("No.", 500, "server_error", None)),
        ("plain words", ("plain words", 500, "server_error", None)),
        (b"\xff", ("\ufffd", 500, "server_error", None)),
    ],
)
def test_errors_of_others(error, expected):
    assert caught_error(response(OTHERS, error=error)) == expected


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"error": "no such model"}, "response: expected a list of outputs, but got None"),
        (response([("output_all", b"{")]), "output 'output_all': expected a JSON object, but got '{'"),
        (response([("tool_calls", b"{}")]), "tensor 'tool_calls': expected a JSON list of objects, but got '{}'"),
        (response([("tool_calls", b"[1]")]), "tensor 'tool_calls': expected a JSON list of objects, but got '[1]'"),
        (
            {"outputs": [{"name": "content", "shape": [1], "datatype": "FP32", "data": [1.0]}]},
            "tensor 'content': expected datatype BYTES, but got 'FP32'",
        ),
    ],
)
def test_malformed(message, complaint):
    with pytest.raises(ProtocolError) as caught:
        decode_event(message)
    assert str(caught.value) == complaint
