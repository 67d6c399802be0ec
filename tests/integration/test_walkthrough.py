"""The client code of the original walkthrough. Only the import of `get_mesh_ip` differs."""

import json

import httpx
import pytest
from httpx_sse import connect_sse
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse

from llm_streaming import get_mesh_ip
from llm_streaming.mesh.base import Mesh

OPENAI_REQUEST = {
    "inputs": [
        {"name": "role", "shape": [2], "datatype": "BYTES", "data": ["system", "user"]},
        {
            "name": "content",
            "shape": [2],
            "datatype": "BYTES",
            "data": [
                json.dumps(["You are a helpful assistant"]),
                json.dumps(["Does bad weather imporve productivity?"]),
            ],
        },
        {"name": "type", "shape": [2], "datatype": "BYTES", "data": [json.dumps(["text"]), json.dumps(["text"])]},
    ],
}
LOCAL_REQUEST = {
    "inputs": [
        {"name": "role", "shape": [1], "datatype": "BYTES", "data": ["user"]},
        {"name": "content", "shape": [1], "datatype": "BYTES", "data": ["Does money buy happiness?"]},
        {"name": "type", "shape": [1], "datatype": "BYTES", "data": ["text"]},
    ],
}
WALKTHROUGHS = pytest.mark.parametrize(
    ("model", "request_body"),
    [("openai-chat-completions", OPENAI_REQUEST), ("local-chat-completions-cpu", LOCAL_REQUEST)],
)


def stream(model: str, body: dict, endpoint: str = "infer_stream") -> list[InferenceResponse]:
    address = f"http://{get_mesh_ip()}/v2/models/{model}/{endpoint}"
    with httpx.Client() as client, connect_sse(client, "POST", address, json=body) as event_source:
        return [InferenceResponse.model_validate_json(sse.data) for sse in event_source.iter_sse()]


def texts(responses: list[InferenceResponse]) -> list[str]:
    return [StringCodec.decode_output(response.outputs[1])[0] for response in responses]


@WALKTHROUGHS
def test_the_answer_comes_in_many_events(mesh: Mesh, model: str, request_body: dict) -> None:
    found = [text for text in texts(stream(model, request_body)) if text]
    assert len(found) > 20
    assert max(map(len, found)) < 20  # an event holds a token, not the whole answer
    assert len("".join(found).split()) > 20


@WALKTHROUGHS
def test_every_event_has_the_outputs_of_the_contract(mesh: Mesh, model: str, request_body: dict) -> None:
    responses = stream(model, request_body)
    shapes = {
        tuple((output.name, str(output.datatype), tuple(output.shape)) for output in response.outputs)
        for response in responses
    }
    assert shapes == {
        (
            ("role", "BYTES", (1, 1)),
            ("content", "BYTES", (1, 1)),
            ("type", "BYTES", (1, 1)),
            ("output_all", "BYTES", (1, 1)),
        )
    }
    chunks = [json.loads(StringCodec.decode_output(response.outputs[3])[0]) for response in responses]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]] in (
        ["stop"],
        ["length"],
    )
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 20


@WALKTHROUGHS
def test_streamed_and_whole_answers_are_the_same(mesh: Mesh, model: str, request_body: dict) -> None:
    """With the same seed and question, every endpoint returns the same text."""
    request_body = {**request_body, "parameters": {"llm_parameters": {"max_tokens": 24}}}

    def whole(endpoint: str) -> str:
        answer = httpx.post(f"http://{mesh.address}/v2/models/{model}/{endpoint}", json=request_body, timeout=60)
        return texts([InferenceResponse.model_validate_json(answer.text)])[0]

    answers = {
        "infer_stream": "".join(texts(stream(model, request_body))),
        "generate_stream": "".join(texts(stream(model, request_body, "generate_stream"))),
        "versions/1/infer_stream": "".join(texts(stream(model, request_body, "versions/1/infer_stream"))),
        "versions/1/infer": whole("versions/1/infer"),
        "infer": whole("infer"),
        "generate": whole("generate"),
    }
    assert answers == dict.fromkeys(answers, answers["infer_stream"])


def test_the_two_models_answer_differently(mesh: Mesh) -> None:
    answers = {
        "".join(texts(stream("openai-chat-completions", OPENAI_REQUEST))),
        "".join(texts(stream("local-chat-completions-cpu", LOCAL_REQUEST))),
    }
    assert len(answers) == 2


def test_metadata_names_the_tensors(mesh: Mesh) -> None:
    found = httpx.get(f"http://{mesh.address}/v2/models/local-chat-completions-cpu").json()
    assert [(tensor["name"], tensor["shape"]) for tensor in found["outputs"]] == [
        (name, [1, 1]) for name in ("role", "content", "type", "tool_calls", "output_all")
    ]
    assert [tensor["name"] for tensor in found["inputs"]] == [
        "role",
        "content",
        "type",
        "tool_calls",
        "tool_call_id",
        "tools",
        "parallel_tool_calls",
        "tool_choice",
    ]
