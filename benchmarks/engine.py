"""Measures the embedded engine's speed through the mesh, compared with the same engine in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from benchmarks import endpoints
from benchmarks.deployment import apply, model_settings, port_of, start_mesh
from benchmarks.endpoints import Endpoint, user_message
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import ROOT, RUNNER, Stopwatch, interleave, log
from benchmarks.model_speed import QUESTION, Speed, speed_figures
from benchmarks.readers import Answer
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

MODEL = "local-chat-completions-cpu"
_PARAMETERS: dict[str, Any] = {"max_tokens": 40, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
_TARGETS = {1: Target("ratio", 0.97), 8: Target("ratio", 0.95)}


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
    """Load the engine in this process, with the settings in the model's folder."""
    settings = LlamaCppSettings.from_mapping(model_settings(MODEL))
    return RUNNER.run(LlamaCppEngine.load(settings, ROOT / "models" / MODEL))


def _rounds(streams: int, full: bool) -> int:
    if streams == 1:
        return 9 if full else 5
    return 5 if full else 3


def _through_mesh(endpoint: Endpoint, streams: int) -> Speed:
    request = endpoint.encode(QUESTION, _PARAMETERS)
    return _speed(lambda: endpoint.read(endpoint.port, request, None), streams, _chunks_in_events)


def _in_process(engine: LlamaCppEngine, streams: int) -> Speed:
    request = {"messages": user_message(QUESTION), **_PARAMETERS}

    async def read() -> Answer:
        answer = Answer()
        async with aclosing(engine.stream(request)) as chunks:
            async for chunk in chunks:
                answer.pieces.append((time.perf_counter(), chunk))
        return answer

    return _speed(read, streams, lambda piece: [piece])


def _speed(read: Callable[[], Awaitable[Answer]], streams: int, chunks_in: Callable[[bytes], list[bytes]]) -> Speed:
    """Read streams at the same time and return their speed; `chunks_in` finds the chunks in a piece of an answer."""

    async def read_all() -> list[Answer]:
        return await asyncio.gather(*(read() for _ in range(streams)))

    with Stopwatch() as watch:
        answers = RUNNER.run(read_all())
    tokens = 0
    first_tokens = []
    for answer in answers:
        chunks = [(when, json.loads(chunk)) for when, piece in answer.pieces for chunk in chunks_in(piece)]
        tokens += next(chunk["usage"]["completion_tokens"] for _, chunk in reversed(chunks) if chunk.get("usage"))
        first = next(when for when, chunk in chunks if chunk["choices"] and chunk["choices"][0]["delta"].get("content"))
        first_tokens.append((first - answer.started) * 1e3)
    return Speed(tokens / watch.seconds, sum(first_tokens) / streams)


def _chunks_in_events(piece: bytes) -> list[bytes]:
    """Return the chunks in the events of a piece; this model is so slow that each event arrives in one piece."""
    lines = [line for line in piece.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line[6:])["outputs"][-1]["data"][0].encode() for line in lines]
