"""Measures the embedded engine's speed through the mesh, compared with the same engine in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import endpoints
from benchmarks.deployment import apply, model_settings, port_of, start_mesh
from benchmarks.endpoints import Endpoint, user_message
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import ROOT, RUNNER, Stopwatch, interleave, log
from benchmarks.model_speed import QUESTION, Speed, speed_figures
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

MODEL = "local-chat-completions-cpu"
_PARAMETERS: dict[str, Any] = {"max_tokens": 40, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
_TARGETS = {1: Target("ratio", 0.97), 8: Target("ratio", 0.95)}


@dataclass(frozen=True)
class _Answer:
    """The time at which a request was sent, and the chunks of its answer, each with its time of arrival."""

    started: float
    chunks: list[tuple[float, dict[str, Any]]]


def measure(full: bool) -> list[Figure]:
    """Measure 1 and 8 streams, and also 4 if `full`."""
    figures = []
    with start_mesh() as mesh:
        apply(mesh, MODEL)
        engine = load_engine()
        endpoint = endpoints.over_http(port_of(mesh), MODEL)
        for streams in (1, 4, 8) if full else (1, 8):
            log(f"engine: {count(streams, 'stream')}")
            variants: dict[str, Callable[[], Speed]] = {
                "mesh": partial(_through_mesh, endpoint, streams),
                "process": partial(_in_process, engine, streams),
            }
            if streams == 1:
                interleave(variants, 1)  # to warm up
            speeds = interleave(variants, _rounds(streams, full))
            figures += speed_figures(
                "engine",
                streams,
                speeds["mesh"],
                "the engine called in-process",
                speeds["process"],
                tokens_target=_TARGETS.get(streams),
                added=True,
            )
        RUNNER.run(engine.close())
    return figures


def load_engine() -> LlamaCppEngine:
    """Load the engine in this process, with the settings from the model's folder."""
    settings = LlamaCppSettings.from_mapping(model_settings(MODEL))
    return RUNNER.run(LlamaCppEngine.load(settings, ROOT / "models" / MODEL))


def _rounds(streams: int, full: bool) -> int:
    if streams == 1:
        return 9 if full else 5
    return 5 if full else 3


def _through_mesh(endpoint: Endpoint, streams: int) -> Speed:
    request = endpoint.encode(QUESTION, _PARAMETERS)

    async def read() -> _Answer:
        answer = await endpoint.read(endpoint.at, request, None)
        # The model is so slow that each event arrives in one piece.
        lines = [(when, line) for when, piece in answer.pieces for line in piece.split(b"\n")]
        events = [(when, json.loads(line[6:])) for when, line in lines if line.startswith(b"data: ")]
        chunks = [(when, json.loads(event["outputs"][-1]["data"][0])) for when, event in events]
        return _Answer(answer.started, chunks)

    return _speed(read, streams)


def _in_process(engine: LlamaCppEngine, streams: int) -> Speed:
    request = {"messages": user_message(QUESTION), **_PARAMETERS}

    async def read() -> _Answer:
        answer = _Answer(time.perf_counter(), [])
        async with aclosing(engine.stream(request)) as chunks:
            async for chunk in chunks:
                answer.chunks.append((time.perf_counter(), chunk))
        return answer

    return _speed(read, streams)


def _speed(read: Callable[[], Awaitable[_Answer]], streams: int) -> Speed:
    """Read several streams at the same time and return their speed."""

    async def read_all() -> list[_Answer]:
        return await asyncio.gather(*(read() for _ in range(streams)))

    with Stopwatch() as watch:
        answers = RUNNER.run(read_all())
    tokens = 0
    first_tokens = []
    for answer in answers:
        usages = [chunk["usage"] for _, chunk in answer.chunks if chunk.get("usage")]
        tokens += usages[-1]["completion_tokens"]
        texts = (when for when, chunk in answer.chunks for each in chunk["choices"] if each["delta"].get("content"))
        first_tokens.append((next(texts) - answer.started) * 1e3)
    return Speed(tokens / watch.seconds, sum(first_tokens) / streams)
