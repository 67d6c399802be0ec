"""What a server counts of its requests, on MLServer's own /metrics."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_streaming import ChatClient
from llm_streaming.errors import InferenceError
from llm_streaming.manifests import Model
from tests.support.provider import Reply, accumulated, failed, streamed
from tests.support.scripted import Scripted


def figures(scripted: Scripted, model: str) -> dict[tuple[str, ...], float]:
    """Counts, sums of whole numbers, and the gauge, by name and by the label that is not the model."""
    text = httpx.get(f"http://{scripted.mesh.metrics_address('api')}/metrics").text
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if sample.name.startswith("gen_ai_") and labels.pop("gen_ai_request_model", "") == model:
                found[sample.name.removeprefix("gen_ai_"), *labels.values()] = sample.value
    kept = ("_count", "usage_sum", "active_requests")
    return {names: value for names, value in found.items() if names[0].endswith(kept)}


def test_requests_tokens_and_errors_are_counted(scripted: Scripted) -> None:
    manifest = Model(name="counted", storage_uri="models/scripted", requirements=("scripted",)).as_dict()
    scripted.mesh.apply(manifest)
    scripted.mesh.wait("counted")
    client = ChatClient(scripted.mesh.address)

    def message(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    scripted.replies |= {
        "three": streamed("a", "b", "c"),
        "one": streamed("a"),
        "whole": Reply([accumulated("a", "b")], headers={"content-type": "application/json"}),
        "refused": failed(429, {"error": {"message": "No.", "type": "rate_limit_error", "code": "too_many"}}),
    }
    for text in ("three", "one"):
        list(client.stream("counted", message(text)))
    client.complete("counted", message("whole"))
    with pytest.raises(InferenceError):
        list(client.stream("counted", message("refused")))
    path = f"http://{scripted.mesh.address}/v2/models/counted/infer"
    no_role = {"inputs": [{"name": "content", "shape": [1], "datatype": "BYTES", "data": ["Hi"]}]}
    statuses = [
        httpx.post(path, json=no_role).status_code,
        httpx.post(f"{path}/chat/completions", json={"model": "another"}).status_code,
        httpx.post(
            f"{path}/chat/completions", content=b"no JSON", headers={"content-type": "application/json"}
        ).status_code,
    ]
    assert statuses == [422, 400, 400]
    found = figures(scripted, "counted")
    scripted.mesh.delete(manifest)
    assert found == {
        ("server_request_duration_seconds_count", ""): 3,
        ("server_request_duration_seconds_count", "too_many"): 1,
        ("server_request_duration_seconds_count", "invalid_request_error"): 3,
        ("server_time_to_first_token_seconds_count",): 2,
        ("server_time_per_output_token_seconds_count",): 1,  # one token has none after it
        ("client_token_usage_count", "input"): 3,
        ("client_token_usage_count", "output"): 3,
        ("client_token_usage_sum", "input"): 3,
        ("client_token_usage_sum", "output"): 6,
        ("server_active_requests",): 0,
    }
