"""What is left of the embedded engine's speed when it is reached through the mesh."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.deployment import apply, write_server
from benchmarks.harness import ROOT, RUNNER, Figure, Target, count, interleave, say
from benchmarks.load import Answer
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

MODEL = "local-chat-completions-cpu"  # with the settings that the walkthrough has
_TEXT = "Does money buy happiness?"
_PARAMETERS: dict[str, Any] = {"max_tokens": 40, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
_TARGETS = {1: Target("ratio", 0.97), 8: Target("ratio", 0.95)}
_PROCESS = "the engine called in-process"


@dataclass(frozen=True)
class _Round:
    """All streams of one round: tokens of all together a second, and milliseconds to the first token on average."""

    tokens_per_second: float
    first_token: float


@dataclass(frozen=True)
class _Chunks:
    """An answer: when its request was sent, and its chunks, each with the time of its arrival."""

    started: float
    chunks: list[tuple[float, dict[str, Any]]]


def measure(full: bool) -> list[Figure]:
    """Measure at 1 and 8 streams, and in full also at 4."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        write_server(Path(folder), "local")
        with EmbeddedMesh(servers=Path(folder) / "servers", models=ROOT / "models") as mesh:
            apply(mesh, Model(name=MODEL, storage_uri=f"models/{MODEL}", requirements=("local",)))
            engine = RUNNER.run(LlamaCppEngine.load(settings(), ROOT / "models" / MODEL))
            door = load.over_http(int(mesh.address.rpartition(":")[2]), MODEL)
            for streams in (1, 4, 8) if full else (1, 8):
                say(f"engine: {count(streams, 'stream')}")
                variants: dict[str, Callable[[], _Round]] = {
                    "mesh": partial(_through_mesh, door, streams),
                    "process": partial(_in_process, engine, streams),
                }
                if streams == 1:
                    interleave(variants, 1)  # warms up
                rounds = interleave(variants, (9 if full else 5) if streams == 1 else (5 if full else 3))
                figures += _figures(rounds, streams)
            RUNNER.run(engine.close())
    return figures


def settings() -> LlamaCppSettings:
    """The settings that the model's folder has, for the engine in this process."""
    found = json.loads((ROOT / "models" / MODEL / "model-settings.json").read_text())
    return LlamaCppSettings.from_mapping(found["parameters"]["extra"]["config"]["model_settings"])


def _figures(rounds: dict[str, list[_Round]], streams: int) -> list[Figure]:
    size = count(streams, "stream")
    mesh, process = rounds["mesh"], rounds["process"]
    return [
        Figure(
            part="engine",
            what="through the mesh",
            size=size,
            unit="tokens/s",
            values=[one.tokens_per_second for one in mesh],
            against=_PROCESS,
            references=[one.tokens_per_second for one in process],
            target=_TARGETS.get(streams),
        ),
        Figure(
            part="engine",
            what="through the mesh, time to first token",
            size=size,
            unit="ms",
            values=[one.first_token for one in mesh],
            against=_PROCESS,
            references=[one.first_token for one in process],
            added=True,
        ),
    ]


def _through_mesh(door: load.Door, streams: int) -> _Round:
    request = door.encode(_TEXT, _PARAMETERS)

    async def read() -> list[Answer]:
        return await asyncio.gather(*(door.read(door.port, request, None) for _ in range(streams)))

    started = time.perf_counter()
    answers = RUNNER.run(read())
    seconds = time.perf_counter() - started
    return _round(seconds, [_Chunks(answer.started, _chunks_in_events(answer)) for answer in answers])


def _in_process(engine: LlamaCppEngine, streams: int) -> _Round:
    request = {"messages": [{"role": "user", "content": _TEXT}], **_PARAMETERS}

    async def read() -> _Chunks:
        answer = _Chunks(time.perf_counter(), [])
        async with aclosing(engine.stream(request)) as chunks:
            async for chunk in chunks:
                answer.chunks.append((time.perf_counter(), chunk))
        return answer

    async def read_all() -> list[_Chunks]:
        return await asyncio.gather(*(read() for _ in range(streams)))

    started = time.perf_counter()
    answers = RUNNER.run(read_all())
    seconds = time.perf_counter() - started
    return _round(seconds, answers)


def _round(seconds: float, answers: list[_Chunks]) -> _Round:
    tokens = 0
    first_tokens = []
    for answer in answers:
        chunks = answer.chunks
        tokens += next(chunk["usage"]["completion_tokens"] for _, chunk in reversed(chunks) if chunk.get("usage"))
        first = next(when for when, chunk in chunks if chunk["choices"] and chunk["choices"][0]["delta"].get("content"))
        first_tokens.append((first - answer.started) * 1e3)
    return _Round(tokens / seconds, sum(first_tokens) / len(first_tokens))


def _chunks_in_events(answer: Answer) -> list[tuple[float, dict[str, Any]]]:
    """The chunks of an answer; a small model's events each come in one piece."""
    lines = [(when, line) for when, piece in answer.pieces for line in piece.split(b"\n")]
    events = [(when, json.loads(line[6:])) for when, line in lines if line.startswith(b"data: ")]
    return [(when, json.loads(event["outputs"][-1]["data"][0])) for when, event in events]
