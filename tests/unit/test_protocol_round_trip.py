"""Whatever is sent arrives: over REST, over gRPC, and through a translator that writes JSON as Go does."""

import json
from dataclasses import replace
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_streaming.protocol import ChatRequest, Tensor, decode_request, encode_request
from llm_streaming.protocol import json as protocol_json

# The first text that is drawn on a machine takes seconds: Hypothesis builds its table of Unicode.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

text = st.text(st.characters(exclude_categories=["Cs"]))
lookalike = st.sampled_from(["", '["a"]', "{}", "[", "null", '"', "\\", "<&>", "\u2028", "🙂", "\0"])
string = text | lookalike
word = st.sampled_from(["a", "b<&>", "url", "détail"])
number = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
value = st.recursive(
    st.none() | st.booleans() | number | string,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(word, inner, max_size=3),
    max_leaves=5,
)
obj = st.dictionaries(word, value, max_size=3)

text_part = st.builds(lambda value: {"type": "text", "text": value}, string)
object_part = st.builds(lambda kind, value: {"type": kind, kind: value}, st.sampled_from(["image_url", "file"]), obj)
content = st.none() | string | st.lists(text_part | object_part, max_size=3)
call = st.builds(
    lambda call_id, name, arguments, extra: {
        **extra,
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    string,
    string,
    string,
    obj,
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": content},
    optional={
        "tool_calls": st.none() | st.lists(call, max_size=2),
        "tool_call_id": st.none() | string,
        "name": string,
        "refusal": st.none(),
    },
)
requests = st.builds(
    ChatRequest,
    messages=st.lists(message, min_size=1, max_size=4),
    tools=st.none() | st.lists(obj, max_size=2),
    tool_choice=st.none() | st.sampled_from(["auto", "none", "required"]) | obj,
    parallel_tool_calls=st.none() | st.booleans(),
    parameters=obj,
    outputs=st.none() | st.lists(st.sampled_from(["content", "output_all"]), unique=True).map(tuple),
)


def normal(request):
    """The request as it can be told on the wire."""
    return ChatRequest(
        messages=[normal_message(message) for message in request.messages],
        tools=request.tools or None,
        tool_choice=request.tool_choice if request.tools else None,
        parallel_tool_calls=request.parallel_tool_calls if request.tools else None,
        parameters=request.parameters,
        outputs=request.outputs or None,
    )


def normal_message(message):
    """Empty contents are alike, a lone text part is a string, and only what the translator keeps is kept."""
    content = message["content"] or ""
    if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
        content = content[0]["text"]
    calls, call_id = message.get("tool_calls"), message.get("tool_call_id")
    return {
        "role": message["role"],
        "content": None if calls and not content else content,
        **({"tool_calls": calls} if calls else {}),
        **({"tool_call_id": call_id} if call_id else {}),
    }


def without_lone_empty_texts(request):
    """Several parts, all of them empty texts, of the only message: the wire leaves their tensor out."""
    [message] = request.messages if len(request.messages) == 1 else [{"content": None}]
    parts = message["content"]
    if isinstance(parts, list) and all(part.get("text") == "" for part in parts):
        return ChatRequest([{**message, "content": ""}], *fields(request)[1:])
    return request


def fields(request):
    return [getattr(request, name) for name in ChatRequest.__slots__]


def received(body, element=str):
    """What a runtime reads from a body that went over the wire as JSON."""
    body = json.loads(json.dumps(body))
    inputs = [
        Tensor.from_parts(tensor["name"], tensor["datatype"], tensor["shape"], [element(x) for x in tensor["data"]])
        for tensor in body["inputs"]
    ]
    outputs = [output["name"] for output in body["outputs"]] if "outputs" in body else None
    return decode_request(inputs, body.get("parameters"), outputs)


def go_json(value, _where):
    """JSON as Go's encoding/json writes it after reading it: keys sorted, ``<>&`` escaped, numbers through float64."""
    line = json.dumps(through_float(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return line.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("\u2028", "\\u2028")


def through_float(value):
    if isinstance(value, dict):
        return {name: through_float(item) for name, item in value.items()}
    if isinstance(value, list):
        return [through_float(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


@patient
@given(requests)
def test_over_rest(request):
    assert received(encode_request(request)) == normal(without_lone_empty_texts(request))


@patient
@given(requests)
def test_over_grpc(request):
    assert received(encode_request(request), str.encode) == normal(without_lone_empty_texts(request))


@patient
@given(requests)
def test_without_tensors(request):
    """OpenAI's own path, where no tensor is made."""
    body = {"model": "m", "stream": True, **request.as_openai()}
    assert ChatRequest.from_openai(body) == replace(normal(request), outputs=None)


@patient
@given(requests)
def test_through_the_translator(request):
    with patch.object(protocol_json, "dumps", go_json):
        body = encode_request(request)
    assert received(body) == normal(without_lone_empty_texts(request))
