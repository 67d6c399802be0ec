"""Malformed requests: each raises an exception whose message says where, what was expected and what was found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatRequest, Tensor, decode_request, encode_request

A_ROLE = "system, developer, user, assistant or tool"
A_LIST = "a JSON list of strings, such as '[\"Hello\"]',"
A_CALL = 'a tool call, such as {"id": "…", "type": "function", "function": {"name": "…", "arguments": "…"}},'
A_PART = 'an object with a type, such as {"type": "text", "text": "Hello"},'
INPUTS = "role, content, type, tool_calls, tool_call_id, tools, parallel_tool_calls, tool_choice"
OUTPUTS = "role, content, type, tool_calls, output_all"
TWO = ["user", "user"]


def complaint(call, *args):
    with pytest.raises(ProtocolError) as caught:
        call(*args)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({"content": ["Hi"]}, "tensor 'role': expected one element for each message, but it is missing"),
        ({"role": []}, "tensor 'role': expected one element for each message, but it is missing"),
        ({"role": ["bot"]}, f"tensor 'role'[0]: expected {A_ROLE}, but got 'bot'"),
        ({"role": ["user"], "prompt": ["Hi"]}, f"tensor 'prompt': unknown, expected one of {INPUTS}"),
        (
            {"role": TWO, "content": ['["Hello"]', "Hello"]},
            f"tensor 'content'[1]: expected {A_LIST} but got 'Hello'",
        ),
        ({"role": TWO, "content": ["[1]", ""]}, f"tensor 'content'[0]: expected {A_LIST} but got '[1]'"),
        ({"role": TWO, "content": ["null", ""]}, f"tensor 'content'[0]: expected {A_LIST} but got 'null'"),
        (
            {"role": TWO, "content": ['["a"]']},
            "tensor 'content': expected 2 elements, one for each message, but got 1",
        ),
        (
            {"role": TWO, "content": ['["a"]', '["b"]'], "type": ["text"]},
            "tensor 'type': expected 2 elements, one for each message, but got 1",
        ),
        (
            {"role": TWO, "content": ['["a"]', '["b"]'], "type": ["text", '["text","text"]']},
            "tensor 'type'[1]: expected 1 part type, one for each part, but got 2",
        ),
        (
            {"role": TWO, "content": ['["a"]', '["b"]'], "type": ["text", "[text]"]},
            f"tensor 'type'[1]: expected {A_LIST} but got '[text]'",
        ),
        (
            {"role": ["user"], "content": ["a", "b"], "type": ["text"]},
            "tensor 'type': expected 2 part types, one for each part, but got 1",
        ),
        (
            {"role": ["user"], "content": ["Hi"], "type": ['["text"]']},
            f"tensor 'content'[0]: expected {A_LIST} but got 'Hi'",
        ),
        (
            {"role": ["user"], "content": ["a", "b"], "type": ["text", '"text"']},
            "tensor 'type'[1]: expected a part type, such as 'text', but got '\"text\"'",
        ),
        (
            {"role": ["user"], "content": ["a", '{"url"'], "type": ["text", "image_url"]},
            "tensor 'content'[1]: expected a JSON object for a part of type 'image_url', but got '{\"url\"'",
        ),
        (
            {"role": ["assistant"], "tool_calls": ["weather"]},
            f"tensor 'tool_calls'[0]: expected {A_CALL} but got 'weather'",
        ),
        (
            {"role": TWO, "tool_calls": ["", '[{"id": "1"}]']},
            f"tensor 'tool_calls'[1]: expected {A_CALL} but got {{'id': '1'}}",
        ),
        (
            {"role": TWO, "tool_calls": ["", '["oops"]']},
            f"tensor 'tool_calls'[1]: expected {A_CALL} but got 'oops'",
        ),
        (
            {"role": ["assistant"], "tool_calls": ['{"id":"1","type":"function","function":{"name":"f"}}']},
            f"tensor 'tool_calls'[0]: expected {A_CALL} but got "
            "{'id': '1', 'type': 'function', 'function': {'name': 'f'}}",
        ),
        (
            {"role": TWO, "tool_calls": ["[]"]},
            "tensor 'tool_calls': expected 2 elements, one for each message, but got 1",
        ),
        (
            {"role": ["tool"], "tool_call_id": ["a", "b"]},
            "tensor 'tool_call_id': expected 1 element, one for each message, but got 2",
        ),
        ({"role": ["user"], "tools": ["{}", "[]"]}, "tensor 'tools'[1]: expected a JSON object, but got '[]'"),
        (
            {"role": ["user"], "parallel_tool_calls": ["True"]},
            "tensor 'parallel_tool_calls'[0]: expected 'true' or 'false', but got 'True'",
        ),
        (
            {"role": ["user"], "parallel_tool_calls": ["true", "true"]},
            "tensor 'parallel_tool_calls': expected one element, but got 2",
        ),
        (
            {"role": ["user"], "tool_choice": ["{"]},
            "tensor 'tool_choice'[0]: expected a word, such as 'auto', or a JSON object, but got '{'",
        ),
        (
            {"role": ["user"], "tool_choice": [""]},
            "tensor 'tool_choice'[0]: expected a word, such as 'auto', or a JSON object, but got ''",
        ),
        (
            {"role": TWO, "content": ["", "x" * 61]},
            f"tensor 'content'[1]: expected {A_LIST} but got '{'x' * 59}…",
        ),
    ],
)
def test_tensors(sent, message):
    inputs = [Tensor(name, tuple(data)) for name, data in sent.items()]
    assert complaint(decode_request, inputs) == message


def test_duplicate_tensor():
    message = "tensor 'role': given twice, but allowed only once"
    assert complaint(decode_request, [Tensor("role", ("user",)), Tensor("role", ("user",))]) == message


@pytest.mark.parametrize(
    ("parameters", "got"),
    [({"kwargs": "{"}, "'{'"), ({"kwargs": "[1]"}, "'[1]'"), ({"kwargs": [1]}, "[1]"), ({"kwargs": True}, "True")],
)
def test_parameters(parameters, got):
    message = f"parameter 'kwargs': expected an object, or a JSON string that contains an object, but got {got}"
    assert complaint(decode_request, [Tensor("role", ("user",))], parameters) == message


def test_outputs():
    message = f"outputs: expected only names from {OUTPUTS}, but got 'contents'"
    assert complaint(decode_request, [Tensor("role", ("user",))], None, ["content", "contents"]) == message
    assert complaint(encode_request, ChatRequest([{"role": "user"}], outputs=("contents",))) == message


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: expected at least one, but got none"),
        (["Hi"], "message 0: expected an object with role and content, but got 'Hi'"),
        ([{"content": "Hi"}], f"message 0, role: expected {A_ROLE}, but got None"),
        ([{"role": "user"}, {"role": "bot"}], f"message 1, role: expected {A_ROLE}, but got 'bot'"),
        (
            [{"role": "user", "content": 3}],
            "message 0: expected content that is a string, a list of parts or null, but got 3",
        ),
        ([{"role": "user", "content": ["Hi"]}], f"message 0, part 0: expected {A_PART} but got 'Hi'"),
        (
            [{"role": "user", "content": [{"text": "Hi"}]}],
            f"message 0, part 0: expected {A_PART} but got {{'text': 'Hi'}}",
        ),
        (
            [{"role": "user", "content": [{"type": "text"}]}],
            "message 0, part 0: expected a string under 'text', but got None",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": 1}]}],
            "message 0, part 0: expected a string or an object under 'image_url', but got 1",
        ),
        (
            [{"role": "user", "content": "\ud83d"}],
            "message 0: expected text that UTF-8 can encode, but found a lone surrogate at character 0",
        ),
        (
            [{"role": "user", "content": [{"type": "file", "file": {"id": 2**64}}]}],
            "message 0, part 0: expected a JSON-serializable value: Integer exceeds 64-bit range",
        ),
        ([{"role": "tool", "tool_call_id": 1}], "message 0: expected a tool_call_id that is a string, but got 1"),
        ([{"role": "assistant", "tool_calls": {}}], "message 0: expected tool_calls as a list, but got {}"),
        (
            [{"role": "assistant", "tool_calls": [{"id": 1}]}],
            f"message 0, tool call 0: expected {A_CALL} but got {{'id': 1}}",
        ),
    ],
)
def test_messages_that_cannot_be_sent(messages, message):
    assert complaint(encode_request, ChatRequest(messages)) == message
    if "JSON-serializable" not in message:  # a body that was parsed from JSON is always serializable
        assert complaint(ChatRequest.from_openai, {"messages": messages}) == message


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tools": {}}, "tools: expected a list, but got {}"),
        ({"tools": [{}, "f"]}, "tool 1: expected an object, but got 'f'"),
        (
            {"tools": [{}], "tool_choice": ["auto"]},
            "tool_choice: expected a word, such as 'auto', or a JSON object, but got ['auto']",
        ),
        (
            {"tools": [{}], "tool_choice": ""},
            "tool_choice: expected a word, such as 'auto', or a JSON object, but got ''",
        ),
        (
            {"tools": [{}], "parallel_tool_calls": "true"},
            "parallel_tool_calls: expected true or false, but got 'true'",
        ),
    ],
)
def test_tools_that_cannot_be_sent(keys, message):
    messages = [{"role": "user"}]
    assert complaint(encode_request, ChatRequest(messages, **keys)) == message
    assert complaint(ChatRequest.from_openai, {"messages": messages, **keys}) == message


def test_messages_that_are_no_list():
    assert complaint(ChatRequest.from_openai, {"messages": 5}) == "messages: expected a list, but got 5"
    assert complaint(ChatRequest.from_openai, {}) == "messages: expected at least one, but got none"


elements = st.sampled_from(["", "Hi", "text", "[", "[]", '[""]', '["text"]', '["image_url"]', '["{"]', "{}", "null"])
names = st.sampled_from(["content", "type", "tool_calls", "tool_call_id", "tools", "tool_choice"])
columns = st.dictionaries(names, st.lists(elements, max_size=3))


@given(st.sampled_from([["user"], TWO]), columns, st.dictionaries(st.just("kwargs"), elements))
def test_any_tensors_decode_to_what_can_be_sent_or_are_refused(roles, columns, parameters):
    inputs = [Tensor(name, tuple(data)) for name, data in {"role": roles, **columns}.items()]
    try:
        request = decode_request(inputs, parameters)
    except ProtocolError:
        return
    assert encode_request(request)["inputs"][0] == Tensor("role", tuple(roles)).as_json()
