"""Chunks of one stream ⇒ the answer they make."""

import pytest

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import accumulate
from llm_streaming.protocol.chunks import keep_alive_chunk

KEEP_ALIVE = keep_alive_chunk("made-up", "m", 1)


def chunk(*choices, **extra):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices, **extra}


def choice(delta, finish_reason=None, index=0, **extra):
    return {"index": index, "delta": delta, "finish_reason": finish_reason, **extra}


def completion(*choices, **extra):
    return {"id": "c1", "object": "chat.completion", "created": 7, "model": "m", "choices": list(choices), **extra}


def result(message, finish_reason, index=0, logprobs=None):
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def call(index, arguments, name=None, **extra):
    return {"index": index, "function": {"name": name, "arguments": arguments}, **extra}


def test_text_with_usage_and_keep_alives():
    stream = [
        KEEP_ALIVE,
        chunk(choice({"role": "assistant", "content": ""}), system_fingerprint=None, usage=None),
        chunk(choice({"content": "Hel"}), system_fingerprint="fp"),
        KEEP_ALIVE,
        chunk(choice({"content": "lo"})),
        chunk(choice({}, "stop")),
        chunk(usage={"total_tokens": 3}),
    ]
    message = {"role": "assistant", "content": "Hello"}
    whole = completion(result(message, "stop"), system_fingerprint="fp", usage={"total_tokens": 3})
    assert accumulate(stream) == whole


def test_tool_calls_in_turns():
    stream = [
        chunk(choice({"content": None, "tool_calls": [call(0, "", "f", id="a", type="function")]})),
        chunk(choice({"tool_calls": [call(0, '{"x"'), call(1, "{", "g", id="b", type="function")]})),
        chunk(choice({"tool_calls": [call(1, "}"), call(0, ":1}")]})),
        chunk(choice({}, "tool_calls")),
    ]
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    assert accumulate(stream) == completion(result(message, "tool_calls"))


def test_choices_logprobs_and_other_texts():
    stream = [
        chunk(choice({"content": "b"}, index=1), choice({"reasoning_content": "so"})),
        chunk(choice({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None})),
        chunk(choice({"content": "z"}, "length", logprobs={"content": [{"token": "z"}], "refusal": None})),
        chunk(choice({"refusal": "no"}, "stop", index=1, logprobs=None)),
    ]
    first = {"role": "assistant", "content": "az", "reasoning_content": "so"}
    second = {"role": "assistant", "content": "b", "refusal": "no"}
    logprobs = {"content": [{"token": "a"}, {"token": "z"}], "refusal": None}
    assert accumulate(stream) == completion(result(first, "length", 0, logprobs), result(second, "stop", 1))


@pytest.mark.parametrize("stream", [[], [KEEP_ALIVE], [chunk(usage={"total_tokens": 3})]])
def test_nothing_to_make_an_answer_of(stream):
    with pytest.raises(ProtocolError) as caught:
        accumulate(stream)
    assert str(caught.value) == "engine stream: expected at least one chunk with a choice, but found none"
