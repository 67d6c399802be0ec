"""The output formats of ``llm-streaming get``: a table, names, YAML and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from llm_streaming.manifests import capabilities, to_yaml
from llm_streaming.mesh.base import qualified
from llm_streaming.mesh.status import ModelStatus

Resource = dict[str, Any]


class Format(StrEnum):
    """The output formats."""

    TABLE = "table"
    NAME = "name"
    YAML = "yaml"
    JSON = "json"


def render(resources: Sequence[Resource], output: Format, *, single: bool) -> str:
    """Write resources in an output format.

    Args:
        resources: one or more resources of one kind.
        output: the format.
        single: whether to write one resource by itself, not as a list of one.
    """
    if output is Format.NAME:
        return "\n".join(f"{qualified(resource['kind'])}/{resource['metadata']['name']}" for resource in resources)
    if output is Format.TABLE:
        last = "CAPABILITIES" if resources[0]["kind"] == "Server" else "MESSAGE"
        return _table([("NAME", "READY", last), *map(_row, resources)])
    shown = [_without_managed_fields(resource) for resource in resources]
    document = shown[0] if single else {"apiVersion": "v1", "kind": "List", "items": shown}
    return json.dumps(document, indent=4) if output is Format.JSON else to_yaml(document).rstrip("\n")


def _row(resource: Resource) -> tuple[str, ...]:
    status = ModelStatus.of(resource)
    last = ",".join(capabilities(resource)) if resource["kind"] == "Server" else status.words
    return resource["metadata"]["name"], str(status.ready), last


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _without_managed_fields(resource: Resource) -> Resource:
    """Leave out the owners of the fields, as kubectl does."""
    metadata = {key: value for key, value in resource["metadata"].items() if key != "managedFields"}
    return resource | {"metadata": metadata}
