"""Answers as events (contract §2 and §3): outputs, their order, and when the engine's own line is sent."""

import orjson
import pytest

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import encode_chunk, encode_completion, encode_error
from llm_streaming.protocol.chunks import check_chunk, keep_alive_chunk
from llm_streaming.protocol.response import select

HELLO = '{"id":"c1","choices":[{"index":0,"delta":{"content":"Hällo"},"finish_reason":null}]}'.encode()
CALL = b'{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}'
CALLING = b'{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[' + CALL + b"]}}]}"
USAGE = b'{"id":"c1","choices":[],"usage":{"total_tokens":3}}'
SECOND = b'{"choices":[{"index":1,"delta":{"content":"other"}}]}'
SPACED = b'{"choices": [{"index": 0, "delta": {"content": "a"}}]}'


def event(line, content="", *extra):
    return [("role", b"assistant"), ("content", content.encode()), ("type", b"text"), *extra, ("output_all", line)]


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        pytest.param(HELLO, event(HELLO, "Hällo"), id="text"),
        pytest.param(CALLING, event(CALLING, "", ("tool_calls", b"[" + CALL + b"]")), id="tool call"),
        pytest.param(USAGE, event(USAGE), id="usage"),
        pytest.param(SECOND, event(SECOND), id="another choice is not the text"),
        pytest.param(SPACED, event(SPACED.replace(b": ", b":").replace(b", ", b","), "a"), id="compact"),
        pytest.param(b" " + HELLO + b"\n", event(HELLO, "Hällo"), id="blanks around it"),
        pytest.param(b'{\n "choices": []\n}', event(b'{"choices":[]}'), id="several lines"),
        pytest.param(
            b'{"choices":[{"delta":{"content":"\\u00e4\\ud83d\\ude42"}}]}',
            event('{"choices":[{"delta":{"content":"ä🙂"}}]}'.encode(), "ä🙂"),
            id="escapes become UTF-8",
        ),
        pytest.param(
            b'{"choices":[{"index":1,"delta":{"content":"a","tool_calls":null}}]}',
            event(b'{"choices":[{"index":1,"delta":{"content":"a"}}]}'),
            id="null tool_calls",
        ),
    ],
)
def test_chunk(chunk, expected):
    assert encode_chunk(orjson.loads(chunk)) == [expected]


def test_keep_alive():
    line = (
        b'{"id":"c1","object":"chat.completion.chunk","created":7,"model":"m",'
        b'"choices":[{"index":0,"delta":{},"finish_reason":null}]}'
    )
    assert encode_chunk(keep_alive_chunk("c1", "m", 7)) == [event(line)]


def test_completion():
    message = b'{"role":"assistant","content":null,"tool_calls":[' + CALL + b"]}"
    line = b'{"object":"chat.completion","choices":[{"index":0,"message":' + message + b"}]}"
    assert encode_completion(orjson.loads(line)) == event(line, "", ("tool_calls", b"[" + CALL + b"]"))


def test_completion_without_tool_calls():
    line = b'{"choices":[{"message":{"content":"a","tool_calls":null}}]}'
    assert encode_completion(orjson.loads(line)) == event(b'{"choices":[{"message":{"content":"a"}}]}', "a")


def test_long_completion_is_one_event():
    line = b'{"choices":[{"message":{"content":"' + b"a" * 100_000 + b'"}}]}'
    assert encode_completion(orjson.loads(line)) == event(line, "a" * 100_000)


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (b'{"choices":3}', "choices as a list of objects, but got 3"),
        (b'{"choices":[3]}', "choices as a list of objects, but got [3]"),
        (b'{"choices":[{"delta":"a"}]}', "delta as an object, but got 'a'"),
        (b'{"choices":[{"delta":{"content":["a"]}}]}', "content as a string or null, but got ['a']"),
        (b'{"choices":[{"delta":{"tool_calls":{"a":1}}}]}', "tool_calls as a list of objects, but got {'a': 1}"),
        (b'{"choices":[{"delta":{"tool_calls":[{"function":"f"}]}}]}', "function as an object, but got 'f'"),
        (
            b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{}}}]}}]}',
            "arguments as a string or null, but got {}",
        ),
        (b'{"usage":3}', "usage as an object, but got 3"),
    ],
)
def test_malformed_chunk(chunk, message):
    with pytest.raises(ProtocolError) as caught:
        check_chunk(orjson.loads(chunk), "a chunk")
    assert str(caught.value) == f"a chunk: expected {message}"


def test_error():
    error = EngineError("Too long.", type="invalid_request_error", code="context_length_exceeded").as_openai()
    error["error"]["secret"] = "key"
    line = b'{"error":{"message":"Too long.","type":"invalid_request_error","code":"context_length_exceeded"}}'
    assert encode_error(error) == event(line)


def test_error_that_utf8_cannot_hold_and_without_end():
    [*_, (_, line)] = encode_error({"error": {"message": "\ud83d" + "a" * 5000, "type": "server_error", "code": None}})
    assert orjson.loads(line) == {"error": {"message": r"\ud83d" + "a" * 994, "type": "server_error", "code": None}}


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (None, ["role", "content", "type", "output_all"]),
        (("output_all", "content"), ["content", "output_all"]),
        (("tool_calls",), []),
    ],
)
def test_select(asked, names):
    assert [name for name, _ in select(event(HELLO, "Hällo"), asked)] == names
