"""One thing that ``llm-streaming doctor`` looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from llm_streaming.cli.options import Target
from llm_streaming.errors import LLMStreamingError


class State(StrEnum):
    """What was found; `ASIDE` is what is wrong or unknown, and not needed for the target asked about."""

    OK = "ok"
    WRONG = "wrong"
    ASIDE = "-"


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Args:
        name: what it is.
        look: returns what was found, or raises with what is wrong and what to do.
        needed_for: the targets that need it.
        after: the check without which this one cannot be made.
    """

    name: str
    look: Callable[[], str]
    needed_for: frozenset[Target]
    after: str | None = None


def examine(checks: Iterable[Check], target: Target) -> Iterator[tuple[str, State, str]]:
    """Make checks in their order; yields each one's name, state and words, in one line."""
    missed: set[str] = set()
    for check in checks:
        if check.after in missed:
            state, words = State.ASIDE, f"not looked at until {check.after} is ok"
        else:
            state, words = _look(check, target)
        if state is not State.OK:
            missed.add(check.name)
        yield check.name, state, " ".join(words.split())


def _look(check: Check, target: Target) -> tuple[State, str]:
    try:
        return State.OK, check.look()
    except LLMStreamingError as error:
        return (State.WRONG if target in check.needed_for else State.ASIDE), str(error)
