"""OpenAI's API on a model's own path: what its client does not show, read raw."""

import json
from typing import Any

import httpx
import pytest

from tests.support.provider import CUT, Reply, answer, chunk, line, sse, streamed
from tests.support.scripted import Scripted

QUESTION = [{"role": "user", "content": "Raw?"}]


def post(scripted: Scripted, endpoint: str = "infer_stream", **body: Any) -> httpx.Response:
    url = f"http://{scripted.mesh.address}/v2/models/{scripted.model}/{endpoint}/chat/completions"
    return httpx.post(url, json={"model": scripted.model, "messages": QUESTION, **body}, timeout=60)


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_is_the_providers_chunks_and_done(scripted: Scripted, usage: bool) -> None:
    scripted.replies["Raw?"] = streamed("a", "b")
    response = post(scripted, stream=True, stream_options={"include_usage": usage})
    chunks = answer("a", "b") if usage else answer("a", "b")[:-1]
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.content == b"".join(b"data: %b\n\n" % line(one) for one in chunks) + b"data: [DONE]\n\n"


def test_a_stream_that_fails_ends_with_the_error_and_without_done(scripted: Scripted) -> None:
    scripted.replies["Raw?"] = Reply([sse(chunk({"content": "a"})), CUT])
    *_, last = post(scripted, stream=True).text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: ")) == {
        "error": {
            "message": "The provider closed the connection before the answer was complete.",
            "type": "connection_error",
            "code": None,
        }
    }


@pytest.mark.parametrize("endpoint", ["infer", "infer_stream"])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": "other"}, "model: expected 'scripted', as in the path, but got 'other'"),
        ({"messages": []}, "messages: expected at least one, but got none"),
        (
            {"messages": [{"content": "x"}]},
            "message 0, role: expected system, developer, user, assistant or tool, but got None",
        ),
    ],
)
def test_a_malformed_body_is_refused(scripted: Scripted, endpoint: str, body: dict[str, Any], message: str) -> None:
    response = post(scripted, endpoint, **body)
    assert (response.status_code, response.json()) == (
        400,
        {"error": {"message": message, "type": "invalid_request_error", "code": None}},
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": 5}, "messages: expected a list, but got 5"),
        ({"tools": 5}, "tools: expected a list, but got 5"),
        ({"stream_options": "x"}, "stream_options: expected an object, but got 'x'"),
    ],
)
def test_a_body_of_the_wrong_kinds_is_refused(scripted: Scripted, body: dict[str, Any], message: str) -> None:
    response = post(scripted, **body)
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)


def test_chunks_of_other_makers_pass(scripted: Scripted) -> None:
    """Without id, model or created, with choices that are null, and with usage where OpenAI has none."""
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]},
        {"choices": None},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "x_maker": {"usage": {"total_tokens": 1}}},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": None}},
    ]
    scripted.replies["Raw?"] = Reply([sse(one) for one in chunks])
    response = post(scripted, stream=True, stream_options={"include_usage": True})
    assert response.content == b"".join(b"data: %b\n\n" % line(one) for one in chunks) + b"data: [DONE]\n\n"


def test_a_malformed_chunk_ends_the_stream_with_an_error(scripted: Scripted) -> None:
    scripted.replies["Raw?"] = Reply([sse(chunk({"content": "a"})), sse(chunk({"content": 5}))])
    *_, last = post(scripted, stream=True).text.strip().split("\n\n")
    assert json.loads(last.removeprefix("data: "))["error"]["message"] == (
        "The provider sent a malformed answer: expected content as a string or null, but got 5."
    )


def test_a_body_that_is_no_object_is_refused(scripted: Scripted) -> None:
    url = f"http://{scripted.mesh.address}/v2/models/{scripted.model}/infer/chat/completions"
    response = httpx.post(url, content=b"[1]", headers={"content-type": "application/json"})
    message = "the body: expected a JSON object, but got b'[1]'"
    assert (response.status_code, response.json()["error"]["message"]) == (400, message)


def test_a_rate_limit_keeps_its_hint(scripted: Scripted) -> None:
    error = {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": None}}
    scripted.replies["Raw?"] = Reply([line(error)], 429, {"content-type": "application/json", "retry-after": "7"})
    response = post(scripted, stream=True)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")


def test_the_path_goes_with_the_model(scripted: Scripted) -> None:
    """A model that is deployed again under the same name is reached by the same path."""
    manifest = {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "twice"},
        "spec": {"storageUri": "models/scripted", "requirements": ["scripted"]},
    }
    url = f"http://{scripted.mesh.address}/v2/models/twice/infer_stream/chat/completions"
    statuses = []
    for _ in range(2):
        scripted.mesh.apply(manifest)
        scripted.mesh.wait("twice")
        scripted.replies["Raw?"] = streamed("a")
        statuses.append(httpx.post(url, json={"model": "twice", "messages": QUESTION}).status_code)
        scripted.mesh.delete(manifest)
        statuses.append(httpx.post(url, json={"model": "twice", "messages": QUESTION}).status_code)
    assert statuses == [200, 404, 200, 404]
