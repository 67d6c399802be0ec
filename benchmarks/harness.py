"""Tools for measurements: interleaved rounds, timing, percentiles and progress messages."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

import uvloop

from llm_streaming.paths import project_root

T = TypeVar("T")

ROOT = project_root()
RUNNER = asyncio.Runner(loop_factory=uvloop.new_event_loop)
"""The event loop that runs all readers and the engine in this process."""


class Stopwatch:
    """Times a ``with`` block; `seconds` is set when the block ends."""

    seconds = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started


def interleave(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure each variant once per round, so that drift affects all variants alike.

    Args:
        variants: the functions that measure, by name.
        rounds: the number of rounds; every second round runs the variants in reverse order.

    Returns:
        The results of each variant, one for each round, by name.
    """
    results: dict[str, list[T]] = {name: [] for name in variants}
    for index in range(rounds):
        for name in list(variants)[:: -1 if index % 2 else 1]:
            results[name].append(variants[name]())
    return results


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is at least as large as `share` percent of the values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share) // 100) - 1)]


def log(message: str) -> None:
    """Print a progress message with the time of day to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)
