"""One thing to look at, and what was found."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from llm_streaming.errors import LLMStreamingError


class Target(StrEnum):
    """Where models are deployed."""

    EMBEDDED = "embedded"
    KUBERNETES = "kubernetes"


class State(StrEnum):
    """What was found; `ASIDE` is what is wrong or unknown, and not needed for the target asked about."""

    OK = "ok"
    WRONG = "wrong"
    ASIDE = "-"


class Finding(NamedTuple):
    """What one check has found.

    Attributes:
        name: what was looked at.
        state: whether it is as it should be.
        words: what was found, or what is wrong and what to do; one line.
        path: where it lies on this machine, which a page for others does not show; ``""`` where that says nothing.
    """

    name: str
    state: State
    words: str
    path: str = ""


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Args:
        name: what it is.
        look: returns what was found, with the path where it lies, if any; or raises with what is wrong and what to do.
        needed_for: the targets that need it.
        after: the check without which this one cannot be made.
    """

    name: str
    look: Callable[[], str | tuple[str, str]]
    needed_for: frozenset[Target]
    after: str | None = None


def examine(checks: Iterable[Check], target: Target) -> Iterator[Finding]:
    """Make checks in their order, and yield what each has found."""
    missed: set[str] = set()
    for check in checks:
        if check.after in missed:
            finding = Finding(check.name, State.ASIDE, f"not looked at until {check.after} is ok")
        else:
            finding = _look(check, target)
        if finding.state is not State.OK:
            missed.add(check.name)
        yield finding


def _look(check: Check, target: Target) -> Finding:
    try:
        found = check.look()
    except LLMStreamingError as error:
        state = State.WRONG if target in check.needed_for else State.ASIDE
        return Finding(check.name, state, " ".join(str(error).split()))
    words, path = (found, "") if isinstance(found, str) else found
    return Finding(check.name, State.OK, words, path)


def version(package: str) -> str | None:
    """The version of a package that is installed, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> str:
    """The versions of those of the packages that are installed, in one line."""
    return ", ".join(f"{package} {version(package)}" for package in packages if version(package))
