"""Measures costs that may grow: memory of an open stream, CPU time per token, a large request, and cold starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from statistics import median

import psutil

from benchmarks import endpoints
from benchmarks.cold_start import measure_cold_starts
from benchmarks.deployment import NAIVE, OURS, PROVIDER, REFERENCES, Deployment, deploy
from benchmarks.endpoints import Endpoint
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import RUNNER, interleave, log
from benchmarks.load import Reading, read_streams, read_streams_async


def measure(full: bool) -> list[Figure]:
    """Measure up to 1,000 streams and 10,000 tokens if `full`, and fewer sizes otherwise."""
    figures = _memory(full)  # first and in a mesh of its own, because a process does not return used memory
    with deploy() as deployment:
        figures += _by_streams(deployment, full)
        figures += _by_length(deployment, full)
        figures.append(_large_request(deployment, rounds=15 if full else 7))
    return figures + measure_cold_starts(rounds=3 if full else 1)


def _memory(full: bool) -> list[Figure]:
    streams = 1000 if full else 100
    ours, theirs = [], []
    for _ in range(3 if full else 1):
        log(f"growth: memory of {streams} open streams")
        with deploy() as deployment:
            ours.append(
                _memory_per_stream(endpoints.over_http(deployment.sockets(OURS)[0]), deployment.process(OURS), streams)
            )
            reference = endpoints.over_http(deployment.sockets(REFERENCES)[0], "naive")
            theirs.append(_memory_per_stream(reference, deployment.process(REFERENCES), streams))
    return [
        Figure(
            part="growth",
            what="memory of an open stream",
            size=count(streams, "stream"),
            unit="KB",
            values=ours,
            against=NAIVE,
            references=theirs,
            target=Target("value", 100, at_least=False),
        )
    ]


def _memory_per_stream(endpoint: Endpoint, server: psutil.Process, streams: int) -> float:
    """Return the largest growth of the server's memory while all streams are open, in KB per stream."""
    read_streams(endpoint, 8, 20)
    before = int(server.memory_info().rss)
    seconds = 3 + streams / 50  # the length of a stream: all streams have to be open before the first one ends
    largest = before

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, int(server.memory_info().rss))
            await asyncio.sleep(0.1)

    async def read() -> Reading:
        watching = asyncio.create_task(watch())
        try:
            return await read_streams_async(endpoint, streams, int(seconds), rate=1)
        finally:
            watching.cancel()

    reading = RUNNER.run(read())
    times = [answer.token_times(endpoint.copies) for answer in reading.answers]
    if max(each[0] for each in times) > min(each[-1] for each in times):
        raise RuntimeError(f"This machine is too slow to measure {streams} streams: they were never all open at once.")
    return (largest - before) / streams / 1000


def _by_streams(deployment: Deployment, full: bool) -> list[Figure]:
    """Measure the CPU time per token at different numbers of streams, with the same number of answers each time."""
    sizes = (1, 10, 100, 1000) if full else (1, 100)
    log("growth: streams")
    loads = {count(size, "stream"): (size, 20, sizes[-1] // size) for size in sizes}
    return _cpu_figures("CPU per token, by streams", deployment, loads, full)


def _by_length(deployment: Deployment, full: bool) -> list[Figure]:
    """Measure the CPU time per token at different lengths of answers, with the same number of tokens each time."""
    sizes = (10, 100, 1000, 10_000) if full else (100, 10_000)
    log("growth: answers")
    loads = {count(size, "token"): (1, size, sizes[-1] // size) for size in sizes}
    return _cpu_figures("CPU per token, by the answer's length", deployment, loads, full)


def _cpu_figures(what: str, deployment: Deployment, loads: dict[str, tuple[int, int, int]], full: bool) -> list[Figure]:
    """Compare the CPU time per token under each load with the first; a load is (streams, tokens, answers)."""
    endpoint, server = endpoints.over_http(deployment.sockets(OURS)[0]), deployment.process(OURS)

    def cost(streams: int, tokens: int, answers: int) -> float:
        """Return the CPU time per token in microseconds."""
        before = server.cpu_times()
        reading = read_streams(endpoint, streams, tokens, answers=answers)
        after = server.cpu_times()
        seconds = float(after.user + after.system - before.user - before.system)
        return seconds / reading.tokens * 1e6

    costs = interleave({size: partial(cost, *load) for size, load in loads.items()}, 3 if full else 2)
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


def _large_request(deployment: Deployment, rounds: int) -> Figure:
    log("growth: a request of 1 MB")
    text = "word " * 200_000

    def first_token(endpoint: Endpoint) -> float:
        return median(answer.first_token(endpoint.copies) for answer in read_streams(endpoint, 1, 1, text=text).answers)

    variants: dict[str, Callable[[], float]] = {
        "ours": partial(first_token, endpoints.over_http(deployment.mesh_port)),
        "direct": partial(first_token, endpoints.openai_api(deployment.provider)),
    }
    times = interleave(variants, rounds)
    return Figure(
        part="growth",
        what="through the mesh, time to first token",
        size="1 MB request",
        unit="ms",
        values=times["ours"],
        against=PROVIDER,
        references=times["direct"],
        added=True,
    )
