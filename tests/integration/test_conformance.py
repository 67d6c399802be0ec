"""One contract through every door: HTTP, gRPC and OpenAI's client; both runtimes; streamed and whole."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from llm_streaming.mesh.base import Mesh
from llm_streaming.protocol import accumulate
from tests.conftest import CPU, OPENAI
from tests.support.doors import DOORS, Door, door
from tests.support.provider import Reply, accumulated, chunk, sse, streamed
from tests.support.scripted import Scripted

QUESTION = [{"role": "user", "content": "Name a colour."}]
MODES = ("stream", "complete")


@pytest.fixture(params=DOORS)
def through(request: pytest.FixtureRequest, mesh: Mesh) -> Door:
    return door(request.param, mesh)


@pytest.fixture(params=DOORS)
def to_script(request: pytest.FixtureRequest, scripted: Scripted) -> Door:
    return door(request.param, scripted.mesh)


def ask(door: Door, mode: str, model: str, messages: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    """One completion, however it came."""
    if mode == "complete":
        return door.complete(model, messages, **parameters)
    return accumulate(door.stream(model, messages, **parameters))


def gist(completion: dict[str, Any]) -> tuple:
    """What has to be the same however an answer comes: the prompt's cached share is not."""
    choice = completion["choices"][0]
    usage = {name: completion["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return choice["message"]["role"], choice["message"]["content"], choice["finish_reason"], usage


@pytest.mark.parametrize("model", [CPU, OPENAI])
def test_every_way_gives_the_same_answer(mesh: Mesh, model: str) -> None:
    answers = {
        (kind, mode): gist(ask(door(kind, mesh), mode, model, QUESTION, max_tokens=12))
        for kind in DOORS
        for mode in MODES
    }
    expected = answers["http", "complete"]
    assert expected[1]
    assert expected[2] == "length"
    assert expected[3]["completion_tokens"] == 12
    assert answers == dict.fromkeys(answers, expected)


CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "You are brief."},
    {"role": "developer", "content": "Answer in English."},
    {"role": "user", "content": [{"type": "text", "text": "Name a colour."}, {"type": "text", "text": "Or two."}]},
    {"role": "assistant", "content": "Red <&> 🙂."},
    {"role": "user", "content": "Another?"},
]


@pytest.mark.parametrize("mode", MODES)
def test_a_conversation_arrives_as_it_was_sent(scripted: Scripted, to_script: Door, mode: str) -> None:
    scripted.replies["Another?"] = reply_in(mode, "Blue", ".")
    answered = ask(to_script, mode, scripted.model, CONVERSATION)
    assert answered["choices"][0]["message"]["content"] == "Blue."
    assert scripted.last_request()["messages"] == CONVERSATION


def test_the_small_model_takes_a_conversation(through: Door) -> None:
    messages = [message for message in CONVERSATION if message["role"] != "developer"]
    completion = ask(through, "stream", CPU, messages, max_tokens=6)
    assert completion["choices"][0]["message"]["content"]


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather <somewhere>",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALLS: list[dict[str, Any]] = [
    {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
    {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
]


def interleaved_calls() -> Reply:
    """Two tool calls whose arguments come in turns."""
    heads = [
        {"index": index, **call, "function": {"name": "weather", "arguments": ""}} for index, call in enumerate(CALLS)
    ]
    halves = [
        {"index": index, "function": {"arguments": call["function"]["arguments"][half]}}
        for half in (slice(0, 7), slice(7, None))
        for index, call in enumerate(CALLS)
    ]
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None},
        *({"tool_calls": [one]} for one in (*heads, *halves)),
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}
    chunks = [*map(chunk, deltas), chunk({}, "tool_calls"), chunk(usage=usage)]
    return Reply([sse(one) for one in chunks])


def reply_in(mode: str, *tokens: str) -> Reply:
    if mode == "stream":
        return streamed(*tokens)
    return Reply([accumulated(*tokens)], headers={"content-type": "application/json"})


def test_a_tool_call_goes_round(scripted: Scripted, to_script: Door) -> None:
    question = {"role": "user", "content": "Weather?"}
    scripted.replies["Weather?"] = interleaved_calls()
    asked = ask(
        to_script, "stream", scripted.model, [question], tools=[TOOL], tool_choice="auto", parallel_tool_calls=True
    )
    assert asked["choices"][0]["message"]["tool_calls"] == CALLS
    assert asked["choices"][0]["finish_reason"] == "tool_calls"
    request = scripted.last_request()
    assert (request["tools"], request["tool_choice"], request["parallel_tool_calls"]) == ([TOOL], "auto", True)

    called = {"role": "assistant", "content": None, "tool_calls": CALLS}
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"It rains ({call['id']})."} for call in CALLS
    ]
    scripted.replies[results[-1]["content"]] = streamed("Rain.")
    final = ask(to_script, "stream", scripted.model, [question, called, *results], tools=[TOOL])
    assert final["choices"][0]["message"]["content"] == "Rain."
    assert scripted.last_request()["messages"] == [question, called, *results]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_forced_call_is_refused_where_it_would_be_ignored(through: Door, choice: Any) -> None:
    with pytest.raises(Exception, match="give auto or none, because "):
        ask(through, "stream", CPU, QUESTION, tools=[TOOL], tool_choice=choice)


IMAGE = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
LOOK = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "Look!"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
    }
]


def test_an_image_reaches_a_provider(scripted: Scripted, to_script: Door) -> None:
    scripted.replies["Look!"] = streamed("Nice.")
    ask(to_script, "stream", scripted.model, LOOK)
    assert scripted.last_request()["messages"] == LOOK


def test_an_image_is_refused_by_a_model_that_cannot_see(through: Door) -> None:
    with pytest.raises(Exception, match="image input is not supported"):
        ask(through, "stream", CPU, LOOK)


SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 7,
    "max_completion_tokens": 7,
    "n": 1,
    "stop": ["x", "y"],
    "seed": 3,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_object"},
    "user": "u",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "reasoning_effort": "low",
}


@pytest.mark.parametrize("mode", MODES)
def test_every_sampling_parameter_arrives(scripted: Scripted, to_script: Door, mode: str) -> None:
    scripted.replies["Name a colour."] = reply_in(mode, "Red")
    ask(to_script, mode, scripted.model, QUESTION, **SAMPLING)
    request = scripted.last_request()
    assert {name: request.get(name) for name in SAMPLING} == SAMPLING
    streaming = {"stream": True, "stream_options": {"include_usage": True}} if mode == "stream" else {}
    assert {name: request[name] for name in ("stream", "stream_options") if name in request} == streaming


def test_logprobs_come_back(through: Door) -> None:
    completion = ask(through, "stream", CPU, QUESTION, max_tokens=3, logprobs=True, top_logprobs=1)
    found = completion["choices"][0]["logprobs"]["content"]
    assert "".join(one["token"] for one in found) == completion["choices"][0]["message"]["content"]


def test_leaving_stops_the_provider(scripted: Scripted, to_script: Door) -> None:
    """The client reads one chunk and goes; the provider, which would be silent for ever, sees it leave."""
    scripted.replies["Name a colour."] = Reply([sse(chunk({"content": "Red"})), asyncio.Event()])
    chunks = to_script.stream(scripted.model, QUESTION)
    assert next(chunks)["choices"][0]["delta"] == {"content": "Red"}
    chunks.close()
    scripted.wait_for_disconnection()


def test_a_hundred_streams_get_their_own_tokens(scripted: Scripted, to_script: Door) -> None:
    texts = [f"stream {number}" for number in range(100)]
    for text in texts:
        scripted.replies[text] = streamed(*(f"{text}.{index} " for index in range(20)))
    scripted.replies["left early"] = Reply([sse(chunk({"content": "x"})), asyncio.Event()])

    def read(text: str) -> str:
        return str(
            ask(to_script, "stream", scripted.model, [{"role": "user", "content": text}])["choices"][0]["message"][
                "content"
            ]
        )

    early = to_script.stream(scripted.model, [{"role": "user", "content": "left early"}])
    next(early)
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(read, texts))
    early.close()
    assert answers == ["".join(f"{text}.{index} " for index in range(20)) for text in texts]
