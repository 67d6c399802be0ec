"""What grows with the number of streams, with the length of answers and requests, and what a start costs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks import load
from benchmarks.deployment import OURS, REFERENCES, Deployed, apply, deployed, write_server
from benchmarks.engine import MODEL, settings
from benchmarks.harness import ROOT, RUNNER, Figure, Target, count, interleave, say, stopwatch
from benchmarks.load import HOST, Door, ask, ask_async
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.manifests import STREAMING_ENV, Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import free_ports, wait_until

_PROVIDER = "the provider read directly"
_OBVIOUS = "the obvious runtime"


def measure(full: bool) -> list[Figure]:
    """Measure to 1,000 streams and 10,000 tokens in full, at fewer sizes otherwise."""
    figures = _memory(full)  # first, and in a mesh of its own: memory once used is not given back
    with deployed() as site:
        figures += _streams(site, full)
        figures += _answers(site, full)
        figures.append(_large_request(site, rounds=15 if full else 7))
    return figures + _cold_starts(rounds=3 if full else 1)


def _memory(full: bool) -> list[Figure]:
    streams = 1000 if full else 100
    ours, theirs = [], []
    for _ in range(3 if full else 1):
        say(f"growth: memory of {streams} open streams")
        with deployed() as site:
            ours.append(_per_stream(load.over_http(site.ports(OURS)[0]), site.process(OURS), streams))
            door = load.over_http(site.ports(REFERENCES)[0], "obvious")
            theirs.append(_per_stream(door, site.process(REFERENCES), streams))
    return [
        Figure(
            part="growth",
            what="memory of an open stream",
            size=count(streams, "stream"),
            unit="KB",
            values=ours,
            against=_OBVIOUS,
            references=theirs,
            target=Target("value", 100, at_least=False),
        )
    ]


def _per_stream(door: Door, server: psutil.Process, streams: int) -> float:
    """KB by which the server had grown, at its largest, while so many streams were open."""
    ask(door, 8, 20)
    before = int(server.memory_info().rss)
    seconds = 3 + streams / 50  # each stream's length; all have to be open before the first ends
    largest = before

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, int(server.memory_info().rss))
            await asyncio.sleep(0.1)

    async def read() -> load.Reading:
        watching = asyncio.create_task(watch())
        try:
            return await ask_async(door, streams, int(seconds), rate=1)
        finally:
            watching.cancel()

    reading = RUNNER.run(read())
    times = [answer.token_times(door.copies) for answer in reading.answers]
    if max(each[0] for each in times) > min(each[-1] for each in times):
        raise RuntimeError(f"{streams} streams were never open all at once: this machine is too slow for that many")
    return (largest - before) / streams / 1000


def _streams(site: Deployed, full: bool) -> list[Figure]:
    """CPU time of a token as streams become more: as many answers of 20 tokens each time."""
    sizes = (1, 10, 100, 1000) if full else (1, 100)
    say("growth: streams")
    costs = _costs(site, {count(size, "stream"): (size, 20, sizes[-1] // size) for size in sizes}, 3 if full else 2)
    return _relative("CPU of a token, by streams", costs)


def _answers(site: Deployed, full: bool) -> list[Figure]:
    """CPU time of a token as answers become longer: as many tokens each time, of one stream."""
    sizes = (10, 100, 1000, 10_000) if full else (100, 10_000)
    say("growth: answers")
    costs = _costs(site, {count(size, "token"): (1, size, sizes[-1] // size) for size in sizes}, 3 if full else 2)
    return _relative("CPU of a token, by the answer's length", costs)


def _costs(site: Deployed, loads: dict[str, tuple[int, int, int]], rounds: int) -> dict[str, list[float]]:
    door, server = load.over_http(site.ports(OURS)[0]), site.process(OURS)

    def cost(streams: int, tokens: int, answers: int) -> float:
        """Microseconds of the server's CPU for a token."""
        before = server.cpu_times()
        reading = ask(door, streams, tokens, answers=answers)
        after = server.cpu_times()
        seconds = float(after.user + after.system - before.user - before.system)
        return seconds / reading.tokens * 1e6

    return interleave({size: partial(cost, *asked) for size, asked in loads.items()}, rounds)


def _relative(what: str, costs: dict[str, list[float]]) -> list[Figure]:
    """Every size beside the first."""
    first, *others = costs
    return [
        Figure(
            part="growth",
            what=what,
            size=size,
            unit="µs",
            values=costs[size],
            against=f"the same at {first}",
            references=costs[first],
        )
        for size in others
    ]


def _large_request(site: Deployed, rounds: int) -> Figure:
    say("growth: a request of 1 MB")
    text = "word " * 200_000

    def first_token(door: Door) -> float:
        return median(
            (answer.token_times(door.copies)[0] - answer.started) * 1e3 for answer in ask(door, 1, 1, text=text).answers
        )

    variants: dict[str, Callable[[], float]] = {
        "ours": partial(first_token, load.over_http(site.mesh_port)),
        "direct": partial(first_token, load.provider(site.provider)),
    }
    times = interleave(variants, rounds)
    return Figure(
        part="growth",
        what="through the mesh, time to first token",
        size="1 MB request",
        unit="ms",
        values=times["ours"],
        against=_PROVIDER,
        references=times["direct"],
        added=True,
    )


def _cold_starts(rounds: int) -> list[Figure]:
    say("growth: cold starts")
    with tempfile.TemporaryDirectory() as folder:
        write_server(Path(folder), "local")
        starts: dict[str, Callable[[], tuple[float, ...]]] = {
            "mesh": partial(_start_mesh, Path(folder)),
            "mlserver": _start_mlserver,
        }
        times = interleave(starts, rounds)
    meshes = times["mesh"]
    return [
        Figure(
            part="growth",
            what="cold start of a mesh with one server",
            size="1 mesh",
            unit="s",
            values=[mesh for mesh, *_ in meshes],
            against="MLServer alone",
            references=[alone for (alone,) in times["mlserver"]],
        ),
        Figure(
            part="growth",
            what=f"cold start of {MODEL}",
            size="1 model",
            unit="s",
            values=[model for _, model, _ in meshes],
            against="the engine loaded in-process",
            references=[engine for *_, engine in meshes],
        ),
    ]


def _start_mesh(folder: Path) -> tuple[float, ...]:
    """Seconds until the mesh is up, until its model is ready, and for the same model in this process."""
    with stopwatch() as mesh_seconds:
        mesh = EmbeddedMesh(servers=folder / "servers", models=ROOT / "models")
    with mesh:
        with stopwatch() as model_seconds:
            apply(mesh, Model(name=MODEL, storage_uri=f"models/{MODEL}", requirements=("local",)))
        with stopwatch() as engine_seconds:
            engine = RUNNER.run(LlamaCppEngine.load(settings(), ROOT / "models" / MODEL))
        RUNNER.run(engine.close())
    return mesh_seconds[0], model_seconds[0], engine_seconds[0]


def _start_mlserver() -> tuple[float, ...]:
    http, grpc, metrics = free_ports(3)
    ports = {"HTTP": http, "GRPC": grpc, "METRICS": metrics}
    env = {**os.environ, **STREAMING_ENV, "MLSERVER_HOST": HOST}
    env |= {f"MLSERVER_{name}_PORT": str(port) for name, port in ports.items()}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", "from mlserver.cli import main; main()", "start", folder],
            env=env,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not wait_until(lambda: _is_live(http), timeout=60):
                raise RuntimeError("MLServer did not start")
            return (time.perf_counter() - started,)
        finally:
            process.terminate()
            process.wait()


def _is_live(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/v2/health/live", timeout=5):
            return True
    except OSError:
        return False
