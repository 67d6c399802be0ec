"""llama.cpp in this process, with the real small model."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.generation import Generation
from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError
from llm_streaming.protocol import accumulate

pytestmark = pytest.mark.asyncio(loop_scope="session")

HERE = Path()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine() -> AsyncIterator[LlamaCppEngine]:
    engine = await LlamaCppEngine.load(LlamaCppSettings(), HERE)
    yield engine
    await engine.close()


def asking(text: str, **parameters: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 24, **parameters}


# It goes on until it is stopped: the model may not end by itself.
def endless(text: str, max_tokens: int = 1500) -> dict[str, Any]:
    return asking(text, max_tokens=max_tokens, ignore_eos=True)


def prompt_of(words: int) -> str:
    return "hello " * words


async def collect(engine: LlamaCppEngine, request: dict[str, Any]) -> list[dict[str, Any]]:
    return [each async for each in engine.stream(request)]


async def text_of(engine: LlamaCppEngine, request: dict[str, Any]) -> str:
    return str(accumulate(await collect(engine, request))["choices"][0]["message"]["content"])


async def refused(engine: LlamaCppEngine, request: dict[str, Any]) -> tuple[str, int, str, str | None]:
    with pytest.raises(EngineError) as raised:
        await collect(engine, request)
    error = raised.value
    return str(error), error.status, error.type, error.code


async def test_a_stream_is_role_texts_finish_reason_and_usage(engine: LlamaCppEngine) -> None:
    chunks = await collect(engine, asking("Say hi.", max_tokens=5))
    assert {(each["object"], each["model"]) for each in chunks} == {("chat.completion.chunk", "SmolLM2-135M-Instruct")}
    assert len({each["id"] for each in chunks}) == 1
    deltas = [(choice["delta"], choice["finish_reason"]) for each in chunks for choice in each["choices"]]
    texts = deltas[1:-1]
    assert deltas[0] == ({"role": "assistant", "content": None}, None)
    assert [(list(delta), reason) for delta, reason in texts] == [(["content"], None)] * 5
    assert deltas[-1] == ({}, "length")
    assert [each["choices"] for each in chunks].index([]) == len(chunks) - 1
    usage = chunks[-1]["usage"]
    assert (usage["completion_tokens"], usage["prompt_tokens"] + 5) == (5, usage["total_tokens"])


async def test_complete_is_what_a_stream_adds_up_to(engine: LlamaCppEngine) -> None:
    request = asking("Name a colour.", temperature=0)
    whole = await engine.complete(request)
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"]["content"] == await text_of(engine, request) != ""


async def test_the_same_request_gets_the_same_answer_whatever_runs_beside_it(engine: LlamaCppEngine) -> None:
    request = asking("Tell me a story.")
    alone = await text_of(engine, request)
    again, other, *_ = await asyncio.gather(
        text_of(engine, request),
        text_of(engine, request | {"seed": 2}),
        *(text_of(engine, asking(f"Tell me story {i}.")) for i in range(3)),
    )
    nulls = await text_of(engine, request | {"seed": None, "temperature": None})
    assert (alone == again, alone == nulls, alone == other) == (True, True, False)


async def test_one_stalled_reader_holds_up_nobody(engine: LlamaCppEngine) -> None:
    stalled = engine.stream(endless("Count for ever."))
    await anext(stalled)
    answers = await asyncio.gather(*(text_of(engine, asking(f"What is {i} + {i}?")) for i in range(14)))
    assert [bool(each) for each in answers] == [True] * 14
    assert engine.running == 1
    await stalled.aclose()
    assert engine.running == 0


async def test_a_reader_that_comes_back_has_missed_nothing(engine: LlamaCppEngine) -> None:
    request = asking("Tell me a long story.", max_tokens=200, ignore_eos=True)
    stalled = engine.stream(request)
    chunks = [await anext(stalled)]
    await collect(engine, asking("Hi", max_tokens=150, ignore_eos=True))
    chunks += [each async for each in stalled]
    assert accumulate(chunks)["usage"]["completion_tokens"] == 200
    assert len(chunks) > 150


async def test_closing_in_mid_stream_ends_the_generation(engine: LlamaCppEngine) -> None:
    async with aclosing(engine.stream(endless("Count for ever."))) as chunks:
        for _ in range(4):
            await anext(chunks)
        assert engine.running == 1
    assert (engine.running, [each.name for each in threading.enumerate() if each.name == "llm-stream"]) == (0, [])


async def test_cancelling_while_the_prompt_is_read_ends_the_generation(engine: LlamaCppEngine) -> None:
    request = asking(prompt_of(1900))
    task = asyncio.create_task(collect(engine, request))
    await asyncio.sleep(0)  # lets the task start
    assert engine.running == 1
    beside = asyncio.create_task(text_of(engine, asking("Hi", max_tokens=2)))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await beside != ""
    assert engine.running == 0
    # llama.cpp keeps what it has read of a prompt: had it read on, this would all come from there.
    usage = (await collect(engine, asking(prompt_of(400), max_tokens=1)))[-1]["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"] / 2


async def test_prompts_are_read_one_after_another(engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    reading: list[int] = []  # for each batch of a prompt, whose it is
    emit = Generation._emit  # noqa: SLF001

    def noting(generation: Generation, chunk: bytes) -> bool:
        if b"prompt_progress" in chunk:
            reading.append(id(generation))
        return emit(generation, chunk)

    monkeypatch.setattr(Generation, "_emit", noting)
    prompts = [f"{number} {prompt_of(400)}" for number in range(4)]
    await asyncio.gather(*(collect(engine, asking(prompt, max_tokens=2)) for prompt in prompts))
    assert len(reading) >= 4 * 6  # 64 tokens a batch
    assert len([generation for generation, _ in groupby(reading)]) == 4


async def test_cancelling_while_waiting_for_a_slot(engine: LlamaCppEngine) -> None:
    holders = [engine.stream(endless(f"Count for ever, {i}.")) for i in range(8)]
    await asyncio.gather(*(anext(each) for each in holders))
    waiting = [asyncio.create_task(text_of(engine, asking("Hi", max_tokens=2))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert engine.running == 8
    await holders[0].aclose()
    assert await waiting[1] != ""
    await asyncio.gather(*(each.aclose() for each in holders))
    assert engine.running == 0


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("request_", "message", "code"),
    [
        (
            asking(prompt_of(3000)),
            "The prompt has 3031 tokens and the context holds 2048: shorten the messages, or raise n_ctx.",
            "context_length_exceeded",
        ),
        (
            asking("Hi", temprature=1),
            "llama.cpp has no parameter temprature (did you mean temperature?).",
            "unknown_parameter",
        ),
        (asking("Hi", n=2), "n is 2: give 1, because llama.cpp's chunks do not say which choice they belong to.", None),
        ({"messages": []}, "There are no messages: send at least one.", None),
        ({}, "There are no messages: send at least one.", None),
        ({"messages": "Hi"}, "messages is not a list of objects: give a list of messages.", None),
        (
            {"messages": [{"role": "user", "content": [IMAGE]}]},
            "llama.cpp refused the request: image input is not supported - "
            "hint: if this is unexpected, you may need to provide the mmproj.",
            None,
        ),
        (
            asking("\ud800"),
            "llama.cpp refused the request: str is not valid UTF-8: surrogates not allowed.",
            None,
        ),
        (
            {"messages": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "llama.cpp refused the request: Cannot have 2 or more assistant messages at the end of the list.",
            None,
        ),
        (
            asking("Hi", temperature="hot"),
            "temperature is 'hot': give a number from 0 to 2.",
            None,
        ),
    ],
)
async def test_refusals(engine: LlamaCppEngine, request_: dict[str, Any], message: str, code: str | None) -> None:
    assert await refused(engine, request_) == (message, 400, "invalid_request_error", code)
    assert engine.running == 0


async def test_tools_are_taken(engine: LlamaCppEngine) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    request = asking("What time is it?", tools=[tool], tool_choice="auto", parallel_tool_calls=False, n=1)
    assert (await collect(engine, request))[-1]["choices"] == []


async def test_a_schema_with_a_constraint_that_is_not_followed_is_answered_with_a_warning(
    engine: LlamaCppEngine,
) -> None:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    schema = {"type": "object", "properties": {"share": share}, "required": ["share"]}
    request = asking("What is a half?", json_schema=schema)
    assert engine.warnings(request) == [
        "The model does not follow these keywords of the request's schemas, so check the answer: maximum, minimum"
    ]
    assert list(json.loads(await text_of(engine, request))) == ["share"]


async def test_closing_the_engine_ends_running_and_waiting_streams() -> None:
    engine = await LlamaCppEngine.load(LlamaCppSettings(n_ctx=512, n_parallel=2), HERE)
    running = [engine.stream(endless("Count for ever.", max_tokens=400)) for _ in range(2)]
    await asyncio.gather(*(anext(each) for each in running))
    waiting = asyncio.create_task(collect(engine, asking("Hi")))
    await asyncio.sleep(0)
    await engine.close()
    await engine.close()
    unloaded = ("The model has been unloaded: load it again.", 503, "server_error", "model_unloaded")
    for stream in running:
        with pytest.raises(EngineError) as raised:
            _ = [each async for each in stream]
        assert (str(raised.value), raised.value.status) == unloaded[:2]
    with pytest.raises(EngineError) as raised:
        await waiting
    assert (str(raised.value), raised.value.status) == unloaded[:2]
    assert await refused(engine, asking("Hi")) == unloaded
    assert engine.running == 0


async def test_an_answer_ends_at_the_contexts_end_and_its_neighbour_does_not() -> None:
    settings = LlamaCppSettings(n_ctx=256, n_parallel=2, default_generate_kwargs={"max_tokens": 7})
    engine = await LlamaCppEngine.load(settings, HERE)
    full, short = await asyncio.gather(
        collect(engine, endless(prompt_of(150), max_tokens=256)),
        collect(engine, {**asking(prompt_of(150)), "max_tokens": None}),
    )
    await engine.close()
    assert (full[-2]["choices"][0]["finish_reason"], full[-1]["usage"]["total_tokens"]) == ("length", 256)
    assert short[-1]["usage"]["completion_tokens"] == 7


async def test_an_engine_can_be_closed_as_soon_as_it_is_loaded() -> None:
    """llama.cpp's server hung in most of such cases, and the event loop with it."""
    for _ in range(5):
        engine = await LlamaCppEngine.load(LlamaCppSettings(n_ctx=64, n_parallel=1), HERE)
        await asyncio.wait_for(engine.close(), 60)


async def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "half.gguf").write_bytes(small_model_path().read_bytes()[:100_000])
    with pytest.raises(EngineError) as raised:
        await LlamaCppEngine.load(LlamaCppSettings(model="half.gguf"), tmp_path)
    assert str(raised.value) == (
        f"llama.cpp cannot load {tmp_path}/half.gguf: the model must be a complete .gguf file."
    )


LEAVING = """
import asyncio
from pathlib import Path
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.generation import Generation
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

async def main():
    global engine, streams
    engine = await LlamaCppEngine.load(LlamaCppSettings(n_ctx=512, n_parallel=2), Path())
    request = {"messages": [{"role": "user", "content": "Count."}], "ignore_eos": True}
    streams = [engine.stream(request) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    print(engine.running)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


async def test_a_process_with_running_streams_ends_quietly() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LEAVING, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert (*await process.communicate(), process.returncode) == (b"2\n", b"", 0)
