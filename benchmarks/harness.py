"""What all measurements share: rounds, figures, medians and the file they are written to."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

import uvloop

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
RUNNER = asyncio.Runner(loop_factory=uvloop.new_event_loop)
"""The loop that every reader and the engine in this process run in."""

_SIGNS = {True: "≥", False: "≤"}
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Target:
    """What a figure is to reach.

    Args:
        of: which number of the figure: its own, its ratio to the reference, or its difference from it.
        bound: the number.
        at_least: whether more is better.
    """

    of: Literal["value", "ratio", "added"]
    bound: float
    at_least: bool = True


@dataclass(frozen=True)
class Figure:
    """What was measured, and what it is compared with.

    Args:
        part: which measurement it is from.
        what: what was measured.
        size: the size it was measured at, such as ``8 streams``.
        unit: of the values and the references.
        values: one for each round.
        against: what the reference is.
        references: one for each round, in the same order.
        added: whether the difference from the reference says more than the ratio.
        target: what the figure is to reach, where something was set.
    """

    part: str
    what: str
    size: str
    unit: str
    values: Sequence[float]
    against: str
    references: Sequence[float]
    added: bool = False
    target: Target | None = None

    @property
    def numbers(self) -> dict[str, float]:
        """The medians; ratio and difference are those of the rounds' own, so that slow drift cancels."""
        pairs = list(zip(self.values, self.references, strict=True))
        return {
            "value": median(self.values),
            "reference": median(self.references),
            "ratio": median(value / reference if reference else float("nan") for value, reference in pairs),
            "added": median(value - reference for value, reference in pairs),
        }

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        if self.target is None:
            return None
        number = self.numbers[self.target.of]
        return number >= self.target.bound if self.target.at_least else number <= self.target.bound

    def as_json(self) -> dict[str, Any]:
        """The figure with its medians and with every round."""
        target = self.target and {
            "of": self.target.of,
            "sign": _SIGNS[self.target.at_least],
            "bound": self.target.bound,
            "reached": self.reached,
        }
        return {
            "part": self.part,
            "what": self.what,
            "size": self.size,
            "unit": self.unit,
            **self.numbers,
            "against": self.against,
            "rounds": len(self.values),
            "target": target,
            "values": list(self.values),
            "references": list(self.references),
        }


def goal(target: Target, unit: str) -> str:
    """A target in words, such as ``≥ 20,000 tokens/s``."""
    return f"{_SIGNS[target.at_least]} {number(target.bound)} {TIMES if target.of == 'ratio' else unit}"


def number(value: float) -> str:
    """A number with as many digits as such a measurement is good for."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def count(number_of: int, noun: str) -> str:
    """A number of things: ``1 stream``, ``1,000 streams``."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def interleave(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measure each variant once a round, every other round backwards, so that drift hits all of them alike."""
    results: dict[str, list[T]] = {name: [] for name in variants}
    for index in range(rounds):
        for name in list(variants)[:: -1 if index % 2 else 1]:
            results[name].append(variants[name]())
    return results


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share) // 100) - 1)]


def say(words: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Time a block: the seconds are in the list, its only element, once the block has ended."""
    seconds = [0.0]
    started = time.perf_counter()
    yield seconds
    seconds[0] = time.perf_counter() - started


def write(path: Path, run: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    """Write a run and its figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**run, "figures": [figure.as_json() for figure in figures]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
