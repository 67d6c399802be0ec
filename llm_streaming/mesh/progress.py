"""Progress messages, which are worded like kubectl's, and the status of Models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

from llm_streaming.manifests import API_VERSION
from llm_streaming.printable import one_line, printable

# Each thread has its own listener, so callers who use a mesh at the same time get only the messages about their call.
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=print)

# A Model stays in these states until the Model, its server or the cause of the failure changes.
_FINAL = {"ModelFailed", "ScheduleFailed", "LoadFailed"}


def report(line: str) -> None:
    """Send one message, worded like kubectl's, to this thread's listener, which is `print` by default."""
    _listener.get()(printable(line))


@contextmanager
def reporting_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Send the messages that this thread reports inside the ``with`` block to `listener`."""
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)


def qualified(kind: str) -> str:
    """Return the name of a kind as kubectl writes it, such as ``model.mlops.seldon.io``."""
    return f"{kind.lower()}.{API_VERSION.partition('/')[0]}"


@dataclass(frozen=True)
class ModelStatus:
    """A summary of a Model's conditions.

    Contrary to Kubernetes' conventions, SC2 writes the state (``ScheduleFailed``) into a condition's `message` and the
    explanation into its `reason` (SeldonIO/seldon-core, ``operator/scheduler/model.go``). Older versions of SC2 write
    no state. `of` accepts the state in either field, or no state.

    Args:
        ready: whether the model can be called.
        failed: whether the model cannot become ready until something is changed.
        words: the state and the explanation, if SC2 gives them.
        since: the time at which this status began, in the API server's format.
    """

    ready: bool
    failed: bool
    words: str
    since: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Self:
        """Summarize a Model's conditions; without conditions, the Model is neither ready nor failed."""
        status = model.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
        ready = conditions.get("Ready", {}).get("status") == "True"
        found = [conditions[kind] for kind in ("ModelReady", "Ready") if kind in conditions]
        unmet: Mapping[str, str] = next((condition for condition in found if condition["status"] != "True"), {})
        given = dict.fromkeys((unmet.get("message", ""), unmet.get("reason", "")))
        said = sorted(filter(None, given), key=lambda text: " " in text)  # puts the state first: it is one word
        failed = unmet.get("status") == "False" and not _FINAL.isdisjoint(said)
        return cls(ready, failed, one_line(": ".join(said)), unmet.get("lastTransitionTime", ""))
