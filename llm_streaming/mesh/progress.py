"""The progress of a mesh: its messages, in kubectl's words, and the status of its Models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

from llm_streaming.manifests import API_VERSION

# Each thread has its own listener: several callers may use a mesh at once, and each gets the messages of its own call.
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=print)

# The scheduler leaves these states only after a change: of the Model, of its server, or of the cause of the failure.
_FINAL = {"ModelFailed", "ScheduleFailed", "LoadFailed"}


def report(line: str) -> None:
    """Send one line, such as kubectl prints, to this thread's listener: by default standard output."""
    _listener.get()(line)


@contextmanager
def reporting_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Send what this thread reports in the block to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def qualified(kind: str) -> str:
    """The name of a kind as kubectl writes it: ``model.mlops.seldon.io``."""
    return f"{kind.lower()}.{API_VERSION.partition('/')[0]}"


@dataclass(frozen=True)
class ModelStatus:
    """A Model's conditions, summed up.

    Against Kubernetes' custom, SC2 writes its state (``ScheduleFailed``) into a condition's `message` and the
    explanation into `reason` (SeldonIO/seldon-core, ``operator/scheduler/model.go``); older versions wrote no state at
    all. Both orders are read.

    Args:
        ready: whether the model can be called.
        failed: whether the model stays as it is until something changes.
        words: the state and the explanation, as far as SC2 gives them.
        since: when this status began, in the API server's format.
    """

    ready: bool
    failed: bool
    words: str
    since: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Self:
        """Read the status of a Model; a Model that SC2 has not yet seen has none."""
        status = model.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
        ready = conditions.get("Ready", {}).get("status") == "True"
        found = [conditions[kind] for kind in ("ModelReady", "Ready") if kind in conditions]
        unmet: Mapping[str, str] = next((condition for condition in found if condition["status"] != "True"), {})
        given = dict.fromkeys((unmet.get("message", ""), unmet.get("reason", "")))
        said = sorted(filter(None, given), key=lambda text: " " in text)  # the state, which is one word, comes first
        failed = unmet.get("status") == "False" and not _FINAL.isdisjoint(said)
        return cls(ready, failed, ": ".join(said), unmet.get("lastTransitionTime", ""))
