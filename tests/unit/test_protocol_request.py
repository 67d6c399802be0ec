"""Requests, row by row of the contract's table (§1): what is sent, and what it is read as."""

import pytest

from llm_streaming.protocol import ChatRequest, Tensor, decode_request, encode_request

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}}
CALL_JSON = '{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\\"city\\":\\"Köln\\"}"}}'
CALL_TWICE = (
    '["{\\"id\\":\\"call_1\\",\\"type\\":\\"function\\",\\"function\\":{\\"name\\":\\"weather\\",'
    '\\"arguments\\":\\"{\\\\\\"city\\\\\\":\\\\\\"Köln\\\\\\"}\\"}}"]'
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
LOOK = {"type": "text", "text": "look"}
TOOL = {"type": "function", "function": {"name": "weather"}}


def tensors(**columns):
    return [Tensor(name, tuple(data)) for name, data in columns.items()]


def user(content):
    return {"role": "user", "content": content}


# messages, what is sent, and what is read where that is not the same
TABLE = {
    "one message": ([user("Hello!")], {"role": ["user"], "content": ["Hello!"], "type": ["text"]}, None),
    "one message that looks like a list": (
        [user('["Hello!"]')],
        {"role": ["user"], "content": ['["Hello!"]'], "type": ["text"]},
        None,
    ),
    "one message, two parts": (
        [user([LOOK, IMAGE])],
        {"role": ["user"], "content": ["look", '{"url":"https://x/y.png"}'], "type": ["text", "image_url"]},
        None,
    ),
    "one message, one part of text": (
        [user([LOOK])],
        {"role": ["user"], "content": ["look"], "type": ["text"]},
        [user("look")],
    ),
    "one message, text that looks like an object": (
        [user([{"type": "text", "text": "{}"}, IMAGE])],
        {"role": ["user"], "content": ["{}", '{"url":"https://x/y.png"}'], "type": ["text", "image_url"]},
        None,
    ),
    "one message with two calls": (
        [{"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}],
        {"role": ["assistant"], "type": ["text"], "tool_calls": [CALL_JSON, CALL_JSON]},
        None,
    ),
    "one message of a tool": (
        [{"role": "tool", "content": "12 °C", "tool_call_id": "call_1"}],
        {"role": ["tool"], "content": ["12 °C"], "type": ["text"], "tool_call_id": ["call_1"]},
        None,
    ),
    "one null": ([user(None)], {"role": ["user"], "type": ["text"]}, [user("")]),
    "one empty": ([user("")], {"role": ["user"], "type": ["text"]}, None),
    "one without parts": ([user([])], {"role": ["user"]}, [user("")]),
    "one without content": ([{"role": "user"}], {"role": ["user"], "type": ["text"]}, [user("")]),
    "name and refusal are dropped": (
        [{"role": "user", "content": "Hi", "name": "Ada", "refusal": None, "tool_calls": None}],
        {"role": ["user"], "content": ["Hi"], "type": ["text"]},
        [user("Hi")],
    ),
    "two messages": (
        [{"role": "system", "content": "Be brief."}, user("Hello!")],
        {"role": ["system", "user"], "content": ['["Be brief."]', '["Hello!"]'], "type": ['["text"]', '["text"]']},
        None,
    ),
    "two messages, object part encoded twice": (
        [{"role": "developer", "content": "Be brief."}, user([LOOK, IMAGE])],
        {
            "role": ["developer", "user"],
            "content": ['["Be brief."]', '["look","{\\"url\\":\\"https://x/y.png\\"}"]'],
            "type": ['["text"]', '["text","image_url"]'],
        },
        None,
    ),
    "two messages, null and no parts": (
        [user(None), user([])],
        {"role": ["user", "user"], "content": ['[""]', ""], "type": ['["text"]', ""]},
        [user(""), user("")],
    ),
    "two messages without parts": ([user([]), user([])], {"role": ["user", "user"]}, [user(""), user("")]),
    "calls among several": (
        [
            user("Weather?"),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "content": "12 °C", "tool_call_id": "call_1"},
        ],
        {
            "role": ["user", "assistant", "tool"],
            "content": ['["Weather?"]', '[""]', '["12 °C"]'],
            "type": ['["text"]', '["text"]', '["text"]'],
            "tool_calls": ["", CALL_TWICE, ""],
            "tool_call_id": ["", "", "call_1"],
        },
        None,
    ),
}


@pytest.mark.parametrize(("messages", "sent", "read"), TABLE.values(), ids=TABLE)
def test_table(messages, sent, read):
    body = encode_request(ChatRequest(messages))
    assert body == {"inputs": [tensor.as_json() for tensor in tensors(**sent)]}
    assert decode_request(tensors(**sent)) == ChatRequest(read or messages)


# What hand-written clients send beside the table, and can mean only one thing.
LENIENT = {
    "one message encoded as a list": ({"role": ["user"], "content": ['["Hi"]'], "type": ['["text"]']}, [user("Hi")]),
    "one empty message with a list as type": ({"role": ["user"], "type": ['["text"]']}, [user("")]),
    "one message without type": ({"role": ["user"], "content": ['["Hi"]']}, [user('["Hi"]')]),
    "one message with an empty type": ({"role": ["user"], "content": ["Hi"], "type": [""]}, [user("Hi")]),
    "several without type": ({"role": ["user"] * 2, "content": ['["a"]', '["b"]']}, [user("a"), user("b")]),
    "several with a raw type": (
        {"role": ["user"] * 2, "content": ['["a"]', '["b","c"]'], "type": ["text", "text"]},
        [user("a"), user([{"type": "text", "text": "b"}, {"type": "text", "text": "c"}])],
    ),
    "a bare image address": (
        {"role": ["user"], "content": ["https://x/y.png"], "type": ["image_url"]},
        [user([IMAGE])],
    ),
    "a part of another type that is text": (
        {"role": ["assistant"], "content": ["{no}"], "type": ["refusal"]},
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "{no}"}]}],
    ),
    "calls of one message as a list": (
        {"role": ["assistant"], "tool_calls": [CALL_TWICE]},
        [{"role": "assistant", "content": None, "tool_calls": [CALL]}],
    ),
    "calls among several encoded once": (
        {"role": ["user", "assistant"], "tool_calls": ["", f"[{CALL_JSON}]"]},
        [user(""), {"role": "assistant", "content": None, "tool_calls": [CALL]}],
    ),
    "text beside calls stays": (
        {"role": ["assistant"], "content": ["Let me see"], "tool_calls": [CALL_JSON]},
        [{"role": "assistant", "content": "Let me see", "tool_calls": [CALL]}],
    ),
    "empty tensors": ({"role": ["user"], "content": [], "type": [], "tool_calls": []}, [user("")]),
}


@pytest.mark.parametrize(("sent", "read"), LENIENT.values(), ids=LENIENT)
def test_leniency(sent, read):
    assert decode_request(tensors(**sent)) == ChatRequest(read)


def test_everything_beside_the_messages():
    request = ChatRequest([user("Hi")], [TOOL], "auto", False, {"temperature": 0.5, "stop": ["a"]}, ("content",))
    sampling = {"temperature": 0.5, "stop": ["a"]}
    body = encode_request(request)
    assert body == {
        "inputs": [
            {"name": "role", "shape": [1], "datatype": "BYTES", "data": ["user"]},
            {"name": "content", "shape": [1], "datatype": "BYTES", "data": ["Hi"]},
            {"name": "type", "shape": [1], "datatype": "BYTES", "data": ["text"]},
            {
                "name": "tools",
                "shape": [1],
                "datatype": "BYTES",
                "data": ['{"type":"function","function":{"name":"weather"}}'],
            },
            {"name": "parallel_tool_calls", "shape": [1], "datatype": "BYTES", "data": ["false"]},
            {"name": "tool_choice", "shape": [1], "datatype": "BYTES", "data": ["auto"]},
        ],
        "parameters": {"llm_parameters": sampling, "kwargs": sampling},
        "outputs": [{"name": "content"}],
    }
    inputs = [Tensor.from_json(tensor) for tensor in reversed(body["inputs"])]
    assert decode_request(inputs, body["parameters"], ["content"]) == request


def test_tool_switches_are_sent_only_beside_tools():
    assert encode_request(ChatRequest([user("Hi")], [], "auto", True)) == encode_request(ChatRequest([user("Hi")]))


@pytest.mark.parametrize(
    ("element", "choice"),
    [
        ("required", "required"),
        ('"auto"', "auto"),
        ('{"type":"function","function":{"name":"weather"}}', TOOL),
        ("null", None),
    ],
)
def test_tool_choice(element, choice):
    request = decode_request(tensors(role=["user"], tools=["{}"], tool_choice=[element]))
    assert request == ChatRequest([user("")], [{}], choice)


@pytest.mark.parametrize(("element", "parallel"), [("true", True), ("false", False), ("null", None)])
def test_parallel_tool_calls(element, parallel):
    request = decode_request(tensors(role=["user"], parallel_tool_calls=[element]))
    assert request == ChatRequest([user("")], parallel_tool_calls=parallel)


@pytest.mark.parametrize(
    ("parameters", "prefer", "read"),
    [
        ({"llm_parameters": {"n": 1}, "kwargs": {"n": 2}}, "llm_parameters", {"n": 1}),
        ({"llm_parameters": {"n": 1}, "kwargs": {"n": 2}}, "kwargs", {"n": 2}),
        ({"kwargs": {"n": 2}}, "llm_parameters", {"n": 2}),
        ({"llm_parameters": {"n": 1}, "kwargs": {}}, "kwargs", {"n": 1}),
        ({"llm_parameters": '{"n":1,"stop":["a"]}'}, "kwargs", {"n": 1, "stop": ["a"]}),
        ({"llm_parameters": {"stream": True, "stream_options": {"include_usage": True}, "n": 1}}, "kwargs", {"n": 1}),
        ({"headers": {"authorization": "Bearer secret"}}, "llm_parameters", {}),
        (None, "llm_parameters", {}),
    ],
)
def test_parameters(parameters, prefer, read):
    assert decode_request(tensors(role=["user"]), parameters, prefer=prefer).parameters == read


def test_the_path_decides_about_streaming():
    body = encode_request(ChatRequest([user("Hi")], parameters={"stream": True, "stream_options": {}, "seed": 1}))
    assert body["parameters"] == {"llm_parameters": {"seed": 1}, "kwargs": {"seed": 1}}
