"""The Local runtime on vLLM, with the real small model, through every door."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_streaming import AsyncGrpcChatClient
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.protocol import accumulate
from tests.support.doors import DOORS, Door, door
from tests.vllm.conftest import MODEL

QUESTION = [{"role": "user", "content": "Name a colour."}]
MODES = ("stream", "complete")
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(params=DOORS)
def through(request: pytest.FixtureRequest, mesh: EmbeddedMesh) -> Door:
    return door(request.param, mesh)


@pytest.fixture
def http(mesh: EmbeddedMesh) -> Door:
    return door("http", mesh)


def ask(door: Door, mode: str, messages: list[dict[str, Any]] = QUESTION, **parameters: Any) -> dict[str, Any]:
    """One completion, however it came."""
    if mode == "complete":
        return door.complete(MODEL, messages, **parameters)
    return accumulate(door.stream(MODEL, messages, **parameters))


def text_of(completion: dict[str, Any]) -> str:
    return str(completion["choices"][0]["message"]["content"])


def gist(completion: dict[str, Any]) -> tuple:
    """What has to be the same however an answer comes."""
    choice = completion["choices"][0]
    return choice["message"]["role"], choice["message"]["content"], choice["finish_reason"], completion["usage"]


def running(mesh: EmbeddedMesh) -> float:
    """How many requests vLLM has taken and not ended, by its own metrics."""
    text = httpx.get(f"http://{mesh.metrics_address('local')}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in ("vllm:num_requests_running", "vllm:num_requests_waiting", "gen_ai_server_active_requests")
    )


def is_idle(mesh: EmbeddedMesh) -> bool:
    return wait_until(lambda: running(mesh) == 0, timeout=60)


def extra(kind: str, **parameters: Any) -> dict[str, Any]:
    """Parameters that OpenAI's client has no names for."""
    return {"extra_body": parameters} if kind == "openai" else parameters


def test_every_way_gives_the_same_answer(mesh: EmbeddedMesh) -> None:
    """The settings fix the seed; without them two answers at this temperature would hardly be the same."""
    asked: dict[str, Any] = {"max_tokens": 12, "temperature": 1.5}
    answers = {(kind, mode): gist(ask(door(kind, mesh), mode, **asked)) for kind in DOORS for mode in MODES}
    expected = answers["http", "complete"]
    assert (expected[0], bool(expected[1]), expected[2]) == ("assistant", True, "length")
    assert expected[3]["completion_tokens"] == 12
    assert answers == dict.fromkeys(answers, expected)


def test_another_seed_gives_another_answer(http: Door) -> None:
    def answer(**parameters: Any) -> str:
        return text_of(ask(http, "stream", max_tokens=24, temperature=1.5, **parameters))

    first, again, other = answer(seed=7), answer(seed=7), answer(seed=8)
    assert (first == again, first == other) == (True, False)


def test_a_stream_is_role_texts_finish_reason_and_usage(through: Door) -> None:
    chunks = list(through.stream(MODEL, QUESTION, max_tokens=5))
    assert {(one["object"], one["model"]) for one in chunks} == {("chat.completion.chunk", "SmolLM2-135M-Instruct")}
    assert len({one["id"] for one in chunks}) == 1
    choices = [choice for one in chunks for choice in one["choices"]]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["length"]
    assert choices[-1]["finish_reason"] == "length"
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == text_of(accumulate(chunks)) != ""
    assert [one["choices"] for one in chunks].index([]) == len(chunks) - 1
    usage = chunks[-1]["usage"]
    assert (usage["completion_tokens"], usage["prompt_tokens"] + 5) == (5, usage["total_tokens"])


@each_mode
def test_parallel_requests_get_their_own_answers(through: Door, mode: str) -> None:
    # The model cannot but repeat what its answer has to be.
    words = [f"stream {number}" for number in range(16)]

    def read(word: str) -> tuple[str, int]:
        only = {"type": "json_schema", "json_schema": {"name": "w", "schema": {"type": "string", "enum": [word]}}}
        answer = ask(through, mode, max_tokens=24, response_format=only)
        return json.loads(text_of(answer)), answer["usage"]["completion_tokens"] > 0

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, words)) == [(word, True) for word in words]


@pytest.mark.parametrize("kind", DOORS)
def test_a_client_that_leaves_a_stream_ends_it(mesh: EmbeddedMesh, kind: str) -> None:
    chunks = door(kind, mesh).stream(MODEL, QUESTION, max_tokens=1500, **extra(kind, ignore_eos=True))
    next(chunks)
    assert running(mesh) > 0
    chunks.close()
    assert is_idle(mesh)


def test_a_client_that_leaves_a_whole_answer_over_grpc_ends_it(mesh: EmbeddedMesh) -> None:
    async def leave() -> None:
        async with AsyncGrpcChatClient(mesh.grpc_address) as client:
            asking = asyncio.create_task(client.complete(MODEL, QUESTION, max_tokens=1500, ignore_eos=True))
            assert await asyncio.to_thread(wait_until, lambda: running(mesh) > 0, timeout=60)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(leave())
    assert is_idle(mesh)


def test_a_stop_string_ends_the_answer_and_is_not_in_it(through: Door) -> None:
    whole = text_of(ask(through, "stream", max_tokens=24))
    stop = whole.split()[4]
    answer = ask(through, "stream", max_tokens=24, stop=[stop])
    assert text_of(answer) == whole[: whole.index(stop)]
    assert answer["choices"][0]["finish_reason"] == "stop"


@each_mode
def test_logprobs_come_back(through: Door, mode: str) -> None:
    completion = ask(through, mode, max_tokens=4, logprobs=True, top_logprobs=2)
    found = completion["choices"][0]["logprobs"]["content"]
    assert [len(one["top_logprobs"]) >= 2 for one in found] == [True] * 4
    assert "".join(one["token"] for one in found) == text_of(completion)


@each_mode
def test_several_choices_come_whole(through: Door, mode: str) -> None:
    completion = ask(through, mode, n=3, max_tokens=8, temperature=1.5)
    choices = completion["choices"]
    assert [(choice["index"], choice["finish_reason"]) for choice in choices] == [(n, "length") for n in range(3)]
    assert len({choice["message"]["content"] for choice in choices}) > 1
    assert completion["usage"]["completion_tokens"] == 24


SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "green"]}, "warm": {"type": "boolean"}},
    "required": ["colour", "warm"],
    "additionalProperties": False,
}


@each_mode
def test_an_answer_fits_its_schema(through: Door, mode: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "colour", "schema": SCHEMA}}
    answer = json.loads(text_of(ask(through, mode, response_format=wanted, max_tokens=64)))
    assert list(answer) == ["colour", "warm"]
    assert (answer["colour"] in ("red", "green"), type(answer["warm"])) == (True, bool)


# Strict, for the model would call it with anything.
TOOL = {
    "type": "function",
    "function": {"name": "paint", "description": "Paint the wall", "parameters": SCHEMA, "strict": True},
}


@each_mode
@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "paint"}}], ids=["any", "one"]
)
def test_a_forced_call_is_made(through: Door, mode: str, choice: Any) -> None:
    completion = ask(through, mode, tools=[TOOL], tool_choice=choice, max_tokens=128)
    [call] = completion["choices"][0]["message"]["tool_calls"]
    assert (call["type"], call["function"]["name"]) == ("function", "paint")
    assert list(json.loads(call["function"]["arguments"])) == ["colour", "warm"]


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_a_call_that_need_not_be_made_is_not_made(through: Door, choice: str) -> None:
    """By a model that has never heard of tools: the parser that the settings name lets its text pass."""
    message = ask(through, "stream", tools=[TOOL], tool_choice=choice, max_tokens=8)["choices"][0]["message"]
    assert (bool(message["content"]), message.get("tool_calls")) == (True, None)


def test_a_conversation_is_taken(through: Door) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": [{"type": "text", "text": "Name a colour."}, {"type": "text", "text": "Or two."}]},
        {"role": "assistant", "content": "Red <&> 🙂."},
        {"role": "user", "content": "Another?"},
    ]
    assert text_of(ask(through, "stream", messages, max_tokens=6))


LONG = [{"role": "user", "content": "hello " * 3000}]
_INVALID = "invalid_request_error"  # where there is no code, the type tells
REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str, str]] = {
    "too long": (LONG, {"max_tokens": 4}, "maximum context length is 2048 tokens", "context_length_exceeded"),
    "unknown": (
        QUESTION,
        {"max_tokns": 3},
        "vLLM has no parameter max_tokns (did you mean max_tokens?).",
        "unknown_parameter",
    ),
    "out of range": (QUESTION, {"temperature": 5}, "temperature is 5: give a number from 0 to 2.", _INVALID),
    "mistyped": (QUESTION, {"temperature": "hot"}, "temperature is 'hot': give a number from 0 to 2.", _INVALID),
    "schema": (
        QUESTION,
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        "type of the schema in response_format is 'nonsense': give one or several of array, boolean, integer, ",
        _INVALID,
    ),
    "too many logprobs": (
        QUESTION,
        {"top_logprobs": 99},
        "top_logprobs is 99: give an integer from 0 to 20.",
        _INVALID,
    ),
    "image": (
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
        {},
        "SmolLM2-135M-Instruct is not a multimodal model",
        _INVALID,
    ),
}


@each_mode
@pytest.mark.parametrize("kind", DOORS)
@pytest.mark.parametrize("why", REFUSED)
def test_a_request_that_cannot_be_answered_is_refused_in_a_sentence(
    mesh: EmbeddedMesh, kind: str, mode: str, why: str
) -> None:
    messages, parameters, sentence, code = REFUSED[why]
    through = door(kind, mesh)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each door has its own
        ask(through, mode, messages, **extra(kind, **parameters))
    failure = through.failure(raised.value)
    assert sentence in failure.message
    assert "\n" not in failure.message
    if kind == "openai":
        assert (failure.status, failure.code) == (400, code)


def test_refusals_leave_one_line_each_in_the_log(mesh: EmbeddedMesh, http: Door) -> None:
    before = len(mesh.logs(MODEL).splitlines())
    with pytest.raises(Exception, match="maximum context length"):
        ask(http, "complete", LONG)
    assert len(mesh.logs(MODEL).splitlines()) - before == 1


def test_it_listens_on_loopback_alone(mesh: EmbeddedMesh) -> None:
    server = server_of(mesh)
    addresses = {
        listening.laddr.ip
        for process in [server, *server.children(recursive=True)]
        for listening in process.net_connections("inet")
        if listening.status == psutil.CONN_LISTEN
    }
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def server_of(mesh: EmbeddedMesh) -> psutil.Process:
    """MLServer's process."""
    repository = str(mesh.mlserver("local").repository)
    return next(one for one in psutil.process_iter(["cmdline"]) if repository in (one.info["cmdline"] or ()))
