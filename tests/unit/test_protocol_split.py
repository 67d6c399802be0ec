"""Long chunks (contract §2): every event stays below 65,536 bytes as MLServer sends it, and nothing is lost."""

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_streaming.protocol import accumulate, encode_chunk, encode_error

# The first text that is drawn on a machine takes seconds: Hypothesis builds its table of Unicode.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LONG = {
    "text": "Grüße, 🙂 and some words. " * 800,
    "quotes": '"' * 20_000,
    "backslashes": "\\" * 20_000,
    "control characters": "\0\x1f" * 10_000,
    "emoji": "🙂" * 20_000,
}


def call(index, arguments, **extra):
    return {"index": index, **extra, "function": {"name": f"f{index}", "arguments": arguments}}


def chunk(*choices, **extra):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": choices, **extra}


def choice(delta, finish_reason=None, index=0, **extra):
    return {"index": index, "delta": delta, "finish_reason": finish_reason, **extra}


def logprobs(count):
    top = [{"token": '"', "logprob": -0.5, "bytes": [34]}] * 20
    return {
        "content": [{"token": f"{i}", "logprob": -0.25, "top_logprobs": top} for i in range(count)],
        "refusal": None,
    }


def pieces(big):
    """The chunks that a chunk is sent as, each checked for its size on the wire."""
    events = [dict(event) for event in encode_chunk(big)]
    assert [name for event in events for name, size in [("event", sse_size(event))] if size >= 65_536] == []
    return events, [orjson.loads(event["output_all"]) for event in events]


def sse_size(event, **parameters):
    outputs = [
        {
            "name": name,
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"content_type": "str"},
            "data": [value.decode()],
        }
        for name, value in event.items()
    ]
    response = {
        "model_name": "m" * 253,
        "model_version": "1",
        "id": "0" * 36,
        "parameters": parameters,
        "outputs": outputs,
    }
    return len(b"data: " + orjson.dumps(response) + b"\n\n")


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_text(text):
    big = chunk(choice({"role": "assistant", "content": text}, "stop"), usage={"total_tokens": 3})
    events, chunks = pieces(big)
    assert "".join(event["content"].decode() for event in events) == text
    assert max(len(event["content"].decode()) for event in events) <= 4096
    silent = [None] * (len(chunks) - 1)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [*silent, "stop"]
    assert [chunk["usage"] for chunk in chunks] == [*silent, {"total_tokens": 3}]
    assert [chunk["choices"][0]["delta"].get("role") for chunk in chunks] == ["assistant", *silent]
    assert accumulate(chunks) == accumulate([big])


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_tool_calls(text):
    calls = [call(0, text, id="a", type="function"), call(1, text, id="b", type="function")]
    big = chunk(choice({"content": text, "tool_calls": calls}, "tool_calls"))
    events, chunks = pieces(big)
    deltas = [delta for event in events for delta in orjson.loads(event.get("tool_calls", b"[]"))]
    assert [delta["index"] for delta in deltas] == sorted(delta["index"] for delta in deltas)
    assert max(len(delta["function"]["arguments"]) for delta in deltas) <= 4096
    assert accumulate(chunks) == accumulate([big])


def test_several_choices_and_logprobs():
    choices = [choice({"content": '"' * 3000}, "stop", index, logprobs=logprobs(60)) for index in range(3)]
    big = chunk(*choices)
    _, chunks = pieces(big)
    assert accumulate(chunks) == accumulate([big])


@patient
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, 2000), st.booleans())
def test_anything(text, times, called):
    delta = {"tool_calls": [call(0, text * times)]} if called else {"content": text * times}
    big = chunk(choice(delta, "stop"))
    _, chunks = pieces(big)
    assert accumulate(chunks) == accumulate([big])


def test_what_no_cut_can_shorten_is_sent_whole():
    big = chunk(choice({"content": "a"}), extension="x" * 70_000)
    [event] = encode_chunk(big)
    assert event[-1] == ("output_all", orjson.dumps(big))


def test_what_fits_is_one_event():
    big = chunk(choice({"content": "a" * 4096}))
    [event] = encode_chunk(big)
    assert event[1] == ("content", b"a" * 4096)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_an_error_fits_even_twice(text):
    event = dict(encode_error({"error": {"message": text, "type": text, "code": text}}))
    assert sse_size(event, error=event["output_all"].decode()) < 65_536
