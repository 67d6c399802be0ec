"""Figures: measured quantities, the references that they are compared with, and the targets that they have to reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

_SIGNS = {True: "≥", False: "≤"}
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Target:
    """The bound that a figure has to reach.

    Args:
        of: the number that is compared with the bound: the figure's value, its ratio to the reference ("ratio"), or its
            difference from the reference ("added").
        bound: the bound, in the figure's unit; for a ratio, a plain number.
        at_least: whether the number has to be at least the bound; if False, it has to be at most the bound.
    """

    of: Literal["value", "ratio", "added"]
    bound: float
    at_least: bool = True


@dataclass(frozen=True)
class Figure:
    """A measured quantity and its reference.

    Args:
        part: the measurement that the figure belongs to, such as ``relay``.
        what: the name of the measured quantity.
        size: the size that it was measured at, such as ``8 streams``.
        unit: the unit of the values and the references.
        values: the measured values, one for each round.
        against: the name of the reference.
        references: the values of the reference, one for each round, in the same order.
        added: whether reports show the difference from the reference instead of the ratio.
        target: the bound to reach, if there is one.
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
        """The medians over the rounds.

        Ratio and difference are computed for each round before the median is taken, so that slow drift cancels out.
        """
        pairs = list(zip(self.values, self.references, strict=True))
        return {
            "value": median(self.values),
            "reference": median(self.references),
            "ratio": median(value / reference if reference else float("nan") for value, reference in pairs),
            "added": median(value - reference for value, reference in pairs),
        }

    @property
    def reached(self) -> bool | None:
        """Whether the figure reaches its target, or None if it has no target."""
        if self.target is None:
            return None
        number = self.numbers[self.target.of]
        return number >= self.target.bound if self.target.at_least else number <= self.target.bound

    def as_json(self) -> dict[str, Any]:
        """Return the figure as a JSON object with its medians and all rounds."""
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


def format_target(target: Target, unit: str) -> str:
    """Return a target as text, such as ``≥ 20,000 tokens/s``."""
    return f"{_SIGNS[target.at_least]} {format_number(target.bound)} {TIMES if target.of == 'ratio' else unit}"


def format_number(value: float) -> str:
    """Return a number with two decimals below 10, one decimal below 100 and none from 100 on."""
    digits = 2
    if abs(value) >= 100:
        digits = 0
    elif abs(value) >= 10:
        digits = 1
    return f"{value:,.{digits}f}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 stream`` or ``1,000 streams``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
