"""What a mesh needs, whether it is there, and what to do where it is not: for the command line and notebooks."""

from __future__ import annotations

from llm_streaming.doctor.check import Check, Finding, State, Target, examine
from llm_streaming.doctor.cluster import cluster_checks
from llm_streaming.doctor.local import local_checks

__all__ = ["Check", "Finding", "State", "Target", "all_checks", "examine"]


def all_checks(namespace: str | None = None, context: str | None = None) -> list[Check]:
    """Every check, in the order in which to mend what they find.

    Args:
        namespace: where Seldon Core 2 runs; by default ``SELDON_NAMESPACE``, the context's, or ``seldon``.
        context: the kubeconfig's context; by default the current one.
    """
    return [*local_checks(), *cluster_checks(namespace, context)]
