"""The MLServer runtimes, called as MLServer calls them, with a scripted provider behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mlserver.errors import MLServerError
from mlserver.settings import ModelParameters, ModelSettings
from mlserver.types import InferenceRequest, InferenceResponse, Parameters

from llm_streaming.protocol import ChatRequest, encode_request
from llm_streaming.runtimes.responses import StreamedResponse
from mlserver_llm_api import LLMRuntime
from mlserver_llm_local.runtime import Local
from tests.support.provider import Provider, Reply, answer, chunk, failed, line, sse, streamed

MESSAGES = [{"role": "user", "content": "Hello!"}]


def runtime(kind: type, **extra: Any) -> Any:
    return kind(ModelSettings(name="m", implementation=kind, parameters=ModelParameters(version="1", extra=extra)))


def api(base_url: str, **config: Any) -> LLMRuntime:
    return runtime(LLMRuntime, provider_id="openai", config={"model_id": "gpt", "base_url": base_url, **config})


def payload(**request: Any) -> InferenceRequest:
    return InferenceRequest.model_validate({"id": "1", **encode_request(ChatRequest(MESSAGES, **request))})


async def once(request: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    yield request


def outputs_of(response: InferenceResponse) -> dict[str, str]:
    return {output.name: output.data.root[0].decode() for output in response.outputs}


def events_of(*responses: StreamedResponse) -> list[dict[str, str]]:
    return [{name: value.decode() for name, value in event} for response in responses for event in response.events]


async def stream(
    model: Any, request: InferenceRequest, seen: list[StreamedResponse] | None = None
) -> list[StreamedResponse]:
    seen = [] if seen is None else seen
    async for response in model.predict_stream(once(request)):
        seen.append(response)
    return seen


async def test_each_chunk_becomes_an_event_after_one_that_comes_at_once() -> None:
    async with Provider(streamed("Hel", "lo")) as provider:
        model = api(provider.base_url)
        assert await model.load()
        first, *rest = events_of(*await stream(model, payload()))
        await model.unload()
    empty = {"role": "assistant", "content": "", "type": "text"}
    assert {name: first[name] for name in empty} == empty
    alive = json.loads(first["output_all"])
    assert (alive["id"], alive["model"], alive["choices"]) == (
        "chatcmpl-1",
        "m",
        [{"index": 0, "delta": {}, "finish_reason": None}],
    )
    assert rest == [
        {"role": "assistant", "content": text, "type": "text", "output_all": line(one).decode()}
        for text, one in zip(("", "Hel", "lo", "", ""), answer("Hel", "lo"), strict=True)
    ]


@pytest.mark.parametrize("element", [str, str.encode], ids=["REST", "gRPC"])
async def test_over_rest_events_that_wait_go_together(element: Any) -> None:
    """Over gRPC, where elements of tensors are bytes, a response holds one event."""
    async with Provider(Reply([b"".join(streamed("Hel", "lo").steps)])) as provider:
        model = api(provider.base_url)
        await model.load()
        request = payload()
        for one in request.inputs:
            one.data.root = [element(each) for each in one.data.root]
        responses = await stream(model, request)
        await model.unload()
    assert [event["content"] for event in events_of(*responses)] == ["", "", "Hel", "lo", "", ""]
    assert (len(responses) < 6) == (element is str)


async def test_a_silent_provider_gets_keep_alives_with_the_streams_id() -> None:
    released = asyncio.Event()
    script = [sse(chunk({"content": "x"}, id="theirs")), released, sse(chunk({}, "stop"))]
    async with Provider(Reply(script)) as provider:
        model = api(provider.base_url, keep_alive=0.1)
        await model.load()
        ids = []
        async for response in model.predict_stream(once(payload())):
            for event in events_of(response):
                said = json.loads(event["output_all"])
                ids.append((said["id"], said["choices"][0]["delta"]))
            if ids.count(("theirs", {})) == 3:
                released.set()
        await model.unload()
    assert ids[0] == ("chatcmpl-1", {})
    assert [one for one in ids if one[0] == "theirs"][:4] == [("theirs", {"content": "x"}), *[("theirs", {})] * 3]


async def test_the_provider_gets_the_request_and_never_the_headers() -> None:
    async with Provider(streamed("x")) as provider:
        model = api(provider.base_url, llm_parameters={"temperature": 0.5, "top_p": 0.9})
        await model.load()
        request = payload(parameters={"temperature": 0.1, "made_up": 1})
        headers = {"authorization": "Bearer secret-of-the-client"}
        request.parameters = Parameters.model_validate({**dict(request.parameters or {}), "headers": headers})
        await stream(model, request)
        await model.unload()
        sent = provider.requests[0]
    assert sent.body == {
        "model": "gpt",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.1,
        "top_p": 0.9,
        "made_up": 1,
    }
    assert "secret-of-the-client" not in str(sent.headers)


async def test_only_the_outputs_asked_for_are_sent() -> None:
    async with Provider(streamed("x")) as provider:
        model = api(provider.base_url)
        await model.load()
        responses = await stream(model, payload(outputs=("content",)))
        await model.unload()
    assert events_of(*responses) == [{"content": text} for text in ("", "", "x", "", "")]


FAILURES: dict[str, tuple[Reply, dict[str, Any], int]] = {
    "refused": (
        failed(400, {"error": {"message": "Too long.", "type": "invalid_request_error", "code": "too_long"}}),
        {"message": "Too long.", "type": "invalid_request_error", "code": "too_long"},
        422,
    ),
    "unknown model": (
        failed(404, {"error": {"message": "No such model.", "type": "invalid_request_error", "code": "no_model"}}),
        {"message": "No such model.", "type": "invalid_request_error", "code": "no_model"},
        422,
    ),
    "rate limit": (
        failed(429, {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": None}}),
        {"message": "Slow down.", "type": "rate_limit_error", "code": None},
        429,
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failed_stream_says_why_and_then_breaks(failure: str) -> None:
    reply, error, status = FAILURES[failure]
    async with Provider(reply) as provider:
        model = api(provider.base_url, max_retries=0)
        await model.load()
        seen: list[StreamedResponse] = []
        with pytest.raises(MLServerError) as raised:
            await stream(model, payload(), seen)
        await model.unload()
    [last] = events_of(seen[-1])
    assert (str(raised.value), raised.value.status_code) == (error["message"], status)
    assert (last["role"], last["content"], last["type"]) == ("assistant", "", "text")
    assert json.loads(last["output_all"]) == {"error": error}
    assert seen[-1].event_parameters == {"error": last["output_all"], "status": status}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failed_call_has_a_status_that_sc2_does_not_retry(failure: str) -> None:
    reply, error, status = FAILURES[failure]
    async with Provider(reply) as provider:
        model = api(provider.base_url, max_retries=0)
        await model.load()
        with pytest.raises(MLServerError) as raised:
            await model.predict(payload())
        await model.unload()
    assert (str(raised.value), raised.value.status_code) == (error["message"], status)


async def test_a_malformed_request_is_refused_before_anyone_is_asked() -> None:
    async with Provider() as provider:
        model = api(provider.base_url)
        await model.load()
        request = payload()
        request.inputs[0].data.root[0] = "wizard"
        with pytest.raises(MLServerError, match=r"^tensor 'role'\[0\]: expected .* but got 'wizard'$") as raised:
            await model.predict(request)
        await model.unload()
    assert (raised.value.status_code, provider.requests) == (422, [])


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        ("The server is stopping.", "The server is stopping.", None),
        (None, "The model has been unloaded: load it again.", "model_unloaded"),
    ],
)
async def test_running_and_later_calls_end_with_the_reason(reason: str | None, message: str, code: str | None) -> None:
    async with Provider(Reply([asyncio.Event()]), Reply([asyncio.Event()])) as provider:
        model = api(provider.base_url, max_retries=0)
        await model.load()
        seen: list[StreamedResponse] = []
        running = [
            asyncio.create_task(model.predict(payload())),
            asyncio.create_task(stream(model, payload(), seen)),
        ]
        await provider.request(1)
        if reason:
            model.end_streams(reason)
            running.append(asyncio.create_task(model.predict(payload())))
        else:
            await model.unload()
        failures = await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 60)
        await model.unload()
    assert [(str(each), each.status_code) for each in failures if isinstance(each, MLServerError)] == [
        (message, 503)
    ] * len(running)
    [last] = events_of(seen[-1])
    assert json.loads(last["output_all"]) == {"error": {"message": message, "type": "server_error", "code": code}}


async def test_an_unexpected_exception_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    model = api("http://127.0.0.1:1/v1")
    await model.load()
    request = payload()
    request.inputs = None  # type: ignore[assignment]
    with pytest.raises(MLServerError) as raised:
        await model.predict(request)
    await model.unload()
    assert (str(raised.value), raised.value.status_code) == (
        "the server failed unexpectedly: see the server's log",
        500,
    )


async def test_a_whole_answer() -> None:
    completion = {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    }
    async with Provider(Reply([line(completion)], headers={"content-type": "application/json"})) as provider:
        model = api(provider.base_url)
        await model.load()
        response = await model.predict(payload())
        await model.unload()
    assert (response.model_name, response.model_version) == ("m", "1")
    assert outputs_of(response) == {
        "role": "assistant",
        "content": "Hi",
        "type": "text",
        "output_all": line(completion).decode(),
    }


@pytest.mark.parametrize(
    ("kind", "extra", "message"),
    [
        (LLMRuntime, {}, "model-settings.json: parameters.extra.config is missing"),
        (
            LLMRuntime,
            {"config": {"model_id": "m", "base_ulr": "x"}},
            "model-settings.json: there is no setting parameters.extra.config.base_ulr (did you mean base_url?)",
        ),
        (
            LLMRuntime,
            {"provider_id": "azure", "config": {"model_id": "m"}},
            "model-settings.json: parameters.extra.provider_id: Input should be 'openai', but got 'azure'",
        ),
        (
            LLMRuntime,
            {"config": {"model_id": "m"}, "keep_alive": "0.0001"},
            "model-settings.json: parameters.extra.config.keep_alive: Input should be greater than or equal to 0.1, "
            "but got '0.0001'",
        ),
        (
            Local,
            {"backend": "llamacpp", "config": {"model_settings": {"n_cxt": 3}}},
            "model-settings.json: there is no setting parameters.extra.config.model_settings.n_cxt "
            "(did you mean n_ctx?)",
        ),
    ],
)
async def test_wrong_settings_are_named(kind: type, extra: dict[str, Any], message: str) -> None:
    model = runtime(kind, **extra)
    with pytest.raises(MLServerError) as raised:
        await model.load()
    assert (str(raised.value), raised.value.status_code) == (message, 422)


async def test_a_models_own_parameters_arrive_as_strings_and_go_first() -> None:
    model = runtime(LLMRuntime, keep_alive="7", config={"model_id": "m", "keep_alive": 1})
    await model.load()
    assert model.keep_alive == 7
    await model.unload()


async def test_a_loaded_model_describes_its_tensors() -> None:
    model = api("http://127.0.0.1:1/v1")
    await model.load()
    await model.unload()
    inputs = ["role", "content", "type", "tool_calls", "tool_call_id", "tools", "parallel_tool_calls", "tool_choice"]
    outputs = ["role", "content", "type", "tool_calls", "output_all"]
    found = [
        [json.loads(one.model_dump_json(exclude_none=True)) for one in some]
        for some in (model.inputs or [], model.outputs or [])
    ]
    assert found == [
        [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in inputs],
        [{"name": name, "datatype": "BYTES", "shape": [1, 1]} for name in outputs],
    ]


async def test_a_model_whose_engine_has_died_is_not_ready_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model = api("http://127.0.0.1:1/v1")
    seen = [model.ready]
    model.ready = await model.load()
    seen.append(model.ready)
    monkeypatch.setattr(type(model.opened()), "alive", False)
    seen.append(model.ready)
    await model.unload()
    assert seen == [False, True, False]
