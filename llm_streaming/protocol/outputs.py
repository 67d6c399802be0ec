"""The names of all tensors, and which outputs a client asked for (contract §1 and §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Event: TypeAlias = list[tuple[str, bytes]]  # one event of an answer: outputs in the contract's order, a value each

INPUT_NAMES = (
    "role",
    "content",
    "type",
    "tool_calls",
    "tool_call_id",
    "tools",
    "parallel_tool_calls",
    "tool_choice",
)
OUTPUT_NAMES = ("role", "content", "type", "tool_calls", "output_all")  # content stays at index 1

# What a runtime tells about its tensors, as JSON for MLServer's ``MetadataTensor``.
METADATA: dict[str, list[dict[str, Any]]] = {
    "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in INPUT_NAMES],
    "outputs": [{"name": name, "datatype": "BYTES", "shape": [1, 1]} for name in OUTPUT_NAMES],
}


def select(event: Event, asked: Sequence[str] | None) -> Event:
    """The outputs of an event that were asked for, still in the contract's order; all of them for None."""
    return event if asked is None else [output for output in event if output[0] in asked]
