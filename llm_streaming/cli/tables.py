"""Resources as ``get`` shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from llm_streaming.manifests import capabilities, to_yaml
from llm_streaming.mesh.base import qualified
from llm_streaming.mesh.status import ModelStatus

Resource = dict[str, Any]

_GAP = "   "


class Format(StrEnum):
    """How resources are shown."""

    TABLE = "table"
    NAME = "name"
    YAML = "yaml"
    JSON = "json"


def render(resources: Sequence[Resource], output: Format, *, alone: bool) -> str:
    """Write resources down.

    Args:
        resources: all of one kind, one at least.
        output: how.
        alone: whether one was asked for by its name, and is no list.
    """
    if output is Format.NAME:
        return "\n".join(f"{qualified(resource['kind'])}/{resource['metadata']['name']}" for resource in resources)
    if output is Format.TABLE:
        rows = _servers(resources) if resources[0]["kind"] == "Server" else _models(resources)
        return _table(rows)
    shown = [_without_bookkeeping(resource) for resource in resources]
    whole = shown[0] if alone else {"apiVersion": "v1", "kind": "List", "items": shown}
    return json.dumps(whole, indent=4) if output is Format.JSON else to_yaml(whole).rstrip("\n")


def _models(resources: Iterable[Resource]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "READY", "MESSAGE")]
    for resource in resources:
        status = ModelStatus.of(resource)
        rows.append((resource["metadata"]["name"], str(status.ready), status.words))
    return rows


def _servers(resources: Iterable[Resource]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "READY", "CAPABILITIES")]
    for resource in resources:
        ready = str(ModelStatus.of(resource).ready)
        rows.append((resource["metadata"]["name"], ready, ",".join(capabilities(resource))))
    return rows


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _without_bookkeeping(resource: Resource) -> Resource:
    """Leave out who owns which field, as kubectl does."""
    metadata = {key: value for key, value in resource["metadata"].items() if key != "managedFields"}
    return resource | {"metadata": metadata}
