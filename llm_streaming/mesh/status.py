"""What Seldon Core 2 says of a Model on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

# States that the scheduler leaves only when something changes: the Model, its server, or what it was refused.
_FINAL = {"ModelFailed", "ScheduleFailed", "LoadFailed"}


@dataclass(frozen=True)
class ModelStatus:
    """A Model's conditions, read for one who waits for it.

    Against Kubernetes' custom, SC2 writes its state (``ScheduleFailed``) into a condition's `message` and the words
    that explain it into `reason` (SeldonIO/seldon-core, ``operator/scheduler/model.go``); older versions wrote no
    state at all. Both orders are read.

    Args:
        ready: whether the model can be called.
        failed: whether it will not become ready by itself.
        words: the state and the explanation, as far as they are given.
        since: when this began, as the API server writes times.
    """

    ready: bool
    failed: bool
    words: str
    since: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Self:
        """Read a Model, whose ``status`` is absent until SC2 has seen it."""
        status = model.get("status") or {}
        conditions = {condition["type"]: condition for condition in status.get("conditions") or []}
        ready = conditions.get("Ready", {}).get("status") == "True"
        met = {"status": "True"}
        found = (conditions.get(kind, met) for kind in ("ModelReady", "Ready"))
        unmet: Mapping[str, str] = next((condition for condition in found if condition["status"] != "True"), {})
        given = dict.fromkeys((unmet.get("message", ""), unmet.get("reason", "")))
        said = sorted(filter(None, given), key=lambda text: " " in text)  # the state, which is one word, comes first
        failed = unmet.get("status") == "False" and not _FINAL.isdisjoint(said)
        return cls(ready, failed, ": ".join(said), unmet.get("lastTransitionTime", ""))
