"""Checks everything that a mesh needs, and says what to do about each problem."""

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
    """The result of a check. `ASIDE` is a problem that does not matter for the target, or a skipped check."""

    OK = "ok"
    WRONG = "wrong"
    ASIDE = "-"


@dataclass(frozen=True)
class Check:
    """One thing to check.

    Args:
        name: the name of the thing to check.
        look: returns what was found, alone or with its path; raises an error that says what is wrong and what to do.
        needed_for: the targets that need the thing.
        after: the name of a check; if that check fails, this one is skipped.
    """

    name: str
    look: Callable[[], str | tuple[str, str]]
    needed_for: frozenset[Target]
    after: str | None = None


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        name: the name of the thing that was checked.
        state: whether the thing is as it should be.
        text: one line that says what was found, or what is wrong and what to do.
        path: the thing's path, which only the command line shows, or ``""``.
    """

    name: str
    state: State
    text: str
    path: str = ""


def all_checks(namespace: str | None = None, context: str | None = None) -> list[Check]:
    """Return all checks, in the order in which to fix the problems that they find.

    `namespace` and `context` select Seldon Core 2 on a cluster, as for `KubernetesMesh`.
    """
    from llm_streaming.doctor.cluster import cluster_checks
    from llm_streaming.doctor.local import local_checks

    return [*local_checks(), *cluster_checks(namespace, context)]


def examine(checks: Iterable[Check], target: Target) -> Iterator[Finding]:
    """Run checks in order, and yield the result of each."""
    failed: set[str | None] = set()
    for check in checks:
        if check.after in failed:
            finding = Finding(check.name, State.ASIDE, f"not checked until {check.after} is ok")
        else:
            finding = _examine(check, target)
        if finding.state is not State.OK:
            failed.add(check.name)
        yield finding


def _examine(check: Check, target: Target) -> Finding:
    try:
        found = check.look()
    except LLMStreamingError as error:
        state = State.WRONG if target in check.needed_for else State.ASIDE
        return Finding(check.name, state, " ".join(str(error).split()))
    text, path = (found, "") if isinstance(found, str) else found
    return Finding(check.name, State.OK, text, path)


def version(package: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> str:
    """Return one line with the names and versions of the packages that are installed."""
    return ", ".join(f"{package} {version(package)}" for package in packages if version(package))
