"""Requests that ended, blocked or filled llama.cpp: each is refused at once, and a neighbour is answered.

The figures are CPU seconds of a request alone, measured before the limits existed; "for ever" took more than 10 s.
"""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llm_streaming.engines.bounds.values import read_parameters
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTION = [{"role": "user", "content": "Write about the sea."}]
PATIENCE = 60.0  # seconds until a test fails


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[LlamaCppEngine]:
    engine = await LlamaCppEngine.load(LlamaCppSettings(n_parallel=3, n_threads=1), Path())
    yield engine
    await engine.close()


def strings(**schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": {"type": "string", **schema}}, "required": ["a"]}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


def doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"D{number}": {"anyOf": [{"$ref": f"#/$defs/D{number + 1}"}] * 2} for number in range(levels)
    }
    return {"$ref": "#/$defs/D0", "$defs": {**definitions, f"D{levels}": {"type": "string"}}}


def objects(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def tool(schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "paint", "parameters": schema}}


NAMES = [f"p{number}" for number in range(10_000)]
STALLS = 'root ::= ("a"? "b"? [a-z]*)' + ' ("a"? "b"? [a-z]*)' * 39
SCHEMAS = {
    "minLength > maxLength: 4 GB in 8 s": strings(minLength=5, maxLength=3),
    "minItems > maxItems: 4 GB in 8 s": {"type": "array", "items": {}, "minItems": 5, "maxItems": 3},
    "a{5,3}: 4 GB in 8 s": strings(pattern="^a{5,3}$"),
    "repetitions inside each other: for ever": strings(pattern="^(([a-z ]{0,30}){0,30}){0,30}$"),
    "a star inside a repetition: for ever": strings(pattern="^([a-z]*){1,20}x$"),
    "optional letters: for ever": strings(pattern="^(a?){500}a{500}$"),
    "33 stars: for ever": strings(pattern=f"^{'[a-z]*' * 33}$"),
    "nested 1,000 deep": nested(1000),
    "nested 100,000 deep: SIGSEGV": nested(100_000),
    "2,000 optional properties: for ever": {"type": "object", "properties": {name: {} for name in NAMES[:2000]}},
    "10,000 words: for ever": {"enum": NAMES},
    "a circle of references": {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
    "doubling definitions: for ever": doubling(60),
    "5,000 branches: 6 s": {"anyOf": [strings()] * 5000},
    "minLength 10,000": strings(minLength=10_000),
    "minimum > maximum: 500 in mid-stream": {"type": "integer", "minimum": 5, "maximum": 3},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "grammar: 200,000 parentheses: SIGSEGV": {"grammar": f"root ::= {'(' * 200_000}"},
    "grammar: ambiguous: for ever": {"grammar": STALLS},
    "grammar: 80,000 alternatives: for ever": {"grammar": "root ::= " + " | ".join(['"a"'] * 80_000)},
    "samplers: infill: for ever": {"samplers": ["infill"]},
    "samplers: a string: for ever": {"samplers": "i"},
    "dry_penalty_last_n: 4.7 GB": {"dry_penalty_last_n": 2**31 - 1},
    "repeat_last_n: 5 GB": {"repeat_last_n": 2**31 - 1},
    "dry_sequence_breakers: 1,000: 9 s": {"dry_sequence_breakers": [str(number) for number in range(1000)]},
    "top_logprobs: 250 MB": {"logprobs": True, "top_logprobs": 49_152},
    "logit_bias: 1 million: 10 s": {"logit_bias": dict.fromkeys(map(str, range(1_000_000)), 1)},
    "messages: 20,000: 8 s": {"messages": QUESTION * 20_000},
    "messages: 5 MB: 4 s": {"messages": [{"role": "user", "content": "x" * 5_000_000}]},
    "chat_template_kwargs: 100,000 deep: SIGSEGV": {"chat_template_kwargs": {"a": nested(100_000)}},
    "tools: 3,000": {"tools": [tool({})] * 3000},
    **{
        f"response_format: {why}": {"response_format": {"type": "json_object", "schema": one}}
        for why, one in SCHEMAS.items()
    },
    **{f"json_schema: {why}": {"json_schema": one} for why, one in SCHEMAS.items()},
    **{f"tools: {why}": {"tools": [tool(one)], "tool_choice": "none"} for why, one in SCHEMAS.items()},
}


async def answer(engine: LlamaCppEngine, **parameters: Any) -> str:
    request = {"messages": QUESTION, "max_tokens": 24, **parameters}
    completion = await asyncio.wait_for(engine.complete(request), PATIENCE)
    return str(completion["choices"][0]["message"]["content"])


@pytest.mark.parametrize("why", PARAMETERS)
async def test_an_attack_is_refused_before_llamacpp_sees_it(engine: LlamaCppEngine, why: str) -> None:
    neighbour = asyncio.create_task(answer(engine))
    used = time.process_time()
    with pytest.raises(EngineError) as raised:
        read_parameters(PARAMETERS[why], LlamaCppSettings().readers(set()))
    assert time.process_time() - used < 5
    with pytest.raises(EngineError) as refused:
        await answer(engine, **PARAMETERS[why])
    message = str(refused.value)
    assert (message, refused.value.status) == (str(raised.value), 400)
    assert len(message) < 400
    assert "\n" not in message
    assert await neighbour != ""


TAKEN: dict[str, dict[str, Any]] = {
    "as deep as it goes": nested(13),
    "1,024 properties": objects({f"o{number}": objects({key: {} for key in NAMES[:255]}) for number in range(4)}),
    "256 optional properties, four times": {"anyOf": [
        {"type": "object", "properties": {name: {"type": "string"} for name in NAMES[:256]}} for _ in range(4)
    ]},
    "500 sentences": {"enum": [f"sentence number {number} about it" for number in range(450)]},
    "arrays in arrays": {"type": "array", "maxItems": 500, "items": {"type": "array", "minItems": 500, "items": {}}},
    "branches in an array": {"type": "array", "items": {"anyOf": [{"type": "string"}] * 32}},
    "doubling definitions": {"anyOf": [doubling(5)["$defs"]["D0"]] * 32, "$defs": doubling(5)["$defs"]},
    "long strings": {"type": "array", "items": {"type": "string", "minLength": 100, "maxLength": 1000}, "minItems": 2},
    "eight repetitions": strings(pattern=f"^{'[a-z]{0,25}' * 8}$"),
    "eight stars": strings(pattern=f"^{'[a-z]*' * 8}$"),
    "branches of spaces": strings(pattern=f"^({'|'.join(' ' * number for number in range(1, 15))}){{1,50}}b$"),
    "ambiguous branches": strings(pattern=f"^({'|'.join(['[a-z][a-z]'] * 14)}){{1,50}}$"),
}  # fmt: skip


@pytest.mark.parametrize("why", TAKEN)
async def test_what_is_taken_does_not_block_a_neighbour(engine: LlamaCppEngine, why: str) -> None:
    """The worst that the limits let pass, by CPU seconds: the machine may be busy with other things."""
    used = time.process_time()
    first, second = await asyncio.gather(answer(engine, json_schema=TAKEN[why]), answer(engine))
    assert (bool(first), bool(second)) == (True, True)
    assert time.process_time() - used < 10


STALLED = """
import asyncio, sys
from pathlib import Path
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

async def main():
    settings = LlamaCppSettings(n_ctx=512, n_parallel=2, allow_grammar=True, stall_timeout=float(sys.argv[1]))
    engine = await LlamaCppEngine.load(settings, Path())
    request = {"messages": [{"role": "user", "content": "Write."}], "max_tokens": 24, "grammar": GRAMMAR}
    stalled = asyncio.create_task(engine.complete(request))
    await asyncio.sleep(3)
    print("started", flush=True)
    if sys.argv[2] == "close":
        await engine.close()
        try:
            await stalled
        except Exception as error:
            print(error, flush=True)
    elif sys.argv[2] == "wait":
        await stalled

asyncio.run(main())
"""


async def stall(seconds: float, then: str) -> tuple[str, str, int | None]:
    """Run an engine that really stalls in a process of its own, and return its output, its errors and its end."""
    script = STALLED.replace("GRAMMAR", repr(STALLS))
    arguments = [sys.executable, "-c", script, str(seconds), then]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
    try:
        output, errors = await asyncio.wait_for(process.communicate(), 4 * PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode(), errors.decode(), process.returncode


async def test_the_watchdog_ends_a_process_whose_llamacpp_has_stalled() -> None:
    output, errors, status = await stall(6, "wait")
    assert (output, status) == ("started\n", -signal.SIGKILL)
    [line] = errors.splitlines()
    assert line.startswith("llama.cpp has stalled: it made no progress for ")
    assert "requests with these parameters: grammar, max_tokens, messages, seed. This server ends now" in line


async def test_an_engine_that_has_stalled_can_be_closed_and_its_process_ends() -> None:
    output, errors, status = await stall(600, "close")
    assert (output, errors, status) == ("started\nThe model has been unloaded: load it again.\n", "", 0)


async def test_a_process_with_a_stalled_engine_ends_when_it_exits() -> None:
    assert await stall(600, "exit") == ("started\n", "", 0)
