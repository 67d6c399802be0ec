"""Many users at once, and requests that blocked or ended vLLM's engine, beside a neighbour who is answered."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.support.doors import Door, door
from tests.vllm.conftest import MODEL
from tests.vllm.test_conformance import QUESTION, ask, is_idle, text_of


@pytest.fixture
def http(mesh: EmbeddedMesh) -> Door:
    return door("http", mesh)


def test_five_users_with_long_prompts_get_their_answers(mesh: EmbeddedMesh, http: Door) -> None:
    """With chunked prefill the second of three such prompts ended vLLM's engine, because its answer has a seed."""
    prompts = [[{"role": "user", "content": f"user {number} " + "sea and sky " * 480}] for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda prompt: ask(http, "stream", prompt, max_tokens=4, ignore_eos=True), prompts))
    assert [answer["usage"]["prompt_tokens"] > 1400 for answer in answers] == [True] * 5
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [4] * 5
    assert httpx.get(f"http://{mesh.address}/v2/models/{MODEL}/ready").status_code == 200


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def wanted(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def tools(count: int) -> dict[str, Any]:
    one = {"type": "function", "function": {"name": "paint", "parameters": {"type": "object"}}}
    return {"tools": [one] * count, "tool_choice": "required"}


NAMES = [f"p{number}" for number in range(100_000)]
LOOP = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
NOT_TAKEN = "is not taken: it can cost other users their answers; leave it out."
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "1,000 answers: engine_dead": ({"n": 1000}, "n is 1000: give an integer from 1 to 16."),
    "beams: 15 s": ({"use_beam_search": True, "n": 4}, f"use_beam_search {NOT_TAKEN}"),
    "a prompt that is cut": ({"truncate_prompt_tokens": -1}, f"truncate_prompt_tokens {NOT_TAKEN}"),
    "a priority": ({"priority": 5}, f"priority {NOT_TAKEN}"),
    "100,000 choices: for ever": (
        {"structured_outputs": {"choice": NAMES}},
        ": give 1 to 500 strings, 15000 characters in all.",
    ),
    "a regular expression: for ever": (
        {"structured_outputs": {"regex": "(.{1,1000}){1,1000}"}},
        "structured_outputs.regex repeats more than 100 times, or 200 in all: lower the numbers.",
    ),
    "1 MB of a regular expression: 11 s": (
        {"structured_outputs": {"regex": "a?" * 500_000}},
        "structured_outputs.regex has more than 200 characters: shorten it.",
    ),
    "nested 400 deep: 27 s": (
        wanted(nested(400)),
        "the body: nested deeper than 100 levels, which is the most that is accepted",
    ),
    "nested 40 deep": (
        wanted(nested(40)),
        "response_format is nested more than 32 levels deep: send fewer levels.",
    ),
    "2,000 properties: 19 s": (
        wanted({"properties": {name: {} for name in NAMES[:2000]}}),
        "The schema in response_format has 2000 properties in one place: use at most 256.",
    ),
    "a reference to itself: 500": (
        wanted(LOOP),
        "The schema in response_format refers in a circle without an end (#/$defs/A → #/$defs/A): break the circle.",
    ),
    "3,000 tools: 1.9 GB": (tools(3000), "tools is not a list of at most 128 tools: give one."),
    "20,000 biases: 180 KB of message": (
        {"logit_bias": dict.fromkeys(NAMES[:20_000], 1)},
        "give an object with at most 1024 names of 64 characters, each with a number from -100 to 100.",
    ),
}


@pytest.mark.parametrize("kind", ["http", "openai"])
@pytest.mark.parametrize("why", ATTACKS)
def test_an_attack_is_refused_at_once(mesh: EmbeddedMesh, kind: str, why: str) -> None:
    parameters, sentence = ATTACKS[why]
    through = door(kind, mesh)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each door has its own
        ask(through, "stream", **({"extra_body": parameters} if kind == "openai" else parameters))
    failure = through.failure(raised.value)
    assert failure.message.endswith(sentence)
    assert len(failure.message) < 400


def test_a_token_outside_the_vocabulary_is_refused_in_a_short_sentence(http: Door) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each door has its own
        ask(http, "stream", logit_bias={str(10**6 + number): 1 for number in range(1000)})
    assert 50 < len(http.failure(raised.value).message) < 320


TAKEN: dict[str, dict[str, Any]] = {
    "as deep as it goes": wanted(nested(13)),
    "1,024 properties": wanted({"anyOf": [
        {"type": "object", "properties": {name: {"type": "string"} for name in NAMES[:256]}, "required": NAMES[:256]}
    ] * 4}),
    "500 choices": {"structured_outputs": {"choice": [f"sentence {number} about the sea" for number in range(500)]}},
    "128 tools": tools(128),
    "constraints that vLLM does not follow": wanted({"type": "object", "properties": {
        "tags": {"type": "array", "items": {"type": "string", "format": "email"}, "uniqueItems": True},
        "share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.5},
    }}),
    "long strings": wanted({"type": "array", "items": {"type": "string", "maxLength": 1000}, "maxItems": 500}),
    "a long pattern": wanted({"type": "string", "pattern": f"^{'[a-z]{0,25}' * 8}$"}),
    "arrays": wanted({"type": "array", "minItems": 500, "items": {"type": "array", "minItems": 500, "items": {}}}),
}  # fmt: skip


@pytest.mark.parametrize("why", TAKEN)
def test_what_is_taken_does_not_block_a_neighbour(mesh: EmbeddedMesh, http: Door, why: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, http, "stream", max_tokens=16, **TAKEN[why])
        second = pool.submit(ask, http, "stream", QUESTION, max_tokens=16)
        assert first.result(60)["usage"]["completion_tokens"] > 0
        assert text_of(second.result(60)) != ""
    assert is_idle(mesh)
