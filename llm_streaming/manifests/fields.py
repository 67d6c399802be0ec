"""What every manifest is made of: its envelope, its lists and mappings, written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.names import check_label

API_VERSION = "mlops.seldon.io/v1alpha1"

_INT32 = 2**31 - 1


def envelope(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Put a spec into the manifest of one resource."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def without_absent(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a manifest holds
    """Keep the fields that hold something: neither None nor an empty list or mapping."""
    return {name: value for name, value in fields.items() if value is not None and value not in ([], {})}


def open_envelope(manifest: Mapping[str, Any], kind: str) -> tuple[str, Mapping[str, Any]]:
    """Check a manifest's envelope and return its name and spec.

    Raises:
        ManifestError: it is of another kind, or its name or its spec is malformed.
    """
    found = (manifest.get("apiVersion"), manifest.get("kind"))
    if found != (API_VERSION, kind):
        raise ManifestError(f"expected a manifest of {API_VERSION} {kind}, but got {found[0]} {found[1]}")
    name = mapping(f"{kind}: metadata", manifest.get("metadata")).get("name")
    check_label(f"{kind}: metadata.name", name)
    return str(name), mapping(f"{kind} '{name}': spec", manifest.get("spec"))


def check_strings(where: str, values: Sequence[object]) -> None:
    """Refuse a list that holds anything but non-empty strings.

    Raises:
        ManifestError: it does.
    """
    if isinstance(values, str) or not all(isinstance(value, str) and value for value in values):
        found = values if isinstance(values, str) else list(values)
        raise ManifestError(f"{where} must be a list of non-empty strings, but got {found!r}")


def check_mappings(where: str, values: object) -> None:
    """Refuse what is not a list of mappings.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, Mapping) for value in values):
        raise ManifestError(f"{where} must be a list of mappings, but got {values!r}")


def check_named(where: str, item: object) -> None:
    """Refuse what is not ``{name, value}``, both strings: the API server takes no others.

    Raises:
        ManifestError: it is something else.
    """
    pair = (item.get("name"), item.get("value", "")) if isinstance(item, Mapping) else (None,)
    if not all(isinstance(text, str) for text in pair):
        raise ManifestError(f"{where}: expected name and value as strings (quote numbers), but got {item!r}")


def check_count(where: str, value: object) -> None:
    """Refuse what is not a whole number from 0 up that fits in 32 bits, as replicas are counted.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _INT32:
        raise ManifestError(f"{where} must be a whole number from 0 to {_INT32}, but got {value!r}")


def check_scaling(where: str, replicas: int | None, low: int | None, high: int | None) -> None:
    """Refuse numbers of replicas that contradict each other, as SC2's operator does (operator/internal).

    Raises:
        ManifestError: one is no number, or `low` and `high` do not enclose `replicas` (by default `low`, or else 1).
    """
    for name, count in {"replicas": replicas, "minReplicas": low, "maxReplicas": high}.items():
        if count is not None:
            check_count(f"{where}.{name}", count)
    wanted = next(count for count in (replicas, low, 1) if count is not None)
    if low is not None and wanted < low:
        raise ManifestError(f"{where}.replicas must be at least minReplicas, {low}, but got {wanted}")
    if high is not None and wanted > high:
        raise ManifestError(f"{where}.maxReplicas must be at least the number of replicas, {wanted}, but got {high}")


def mapping(where: str, value: object) -> dict[str, Any]:
    """Read a mapping; None is an empty one.

    Raises:
        ManifestError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(f"{where} must be a mapping, but got {value!r}")
    return value


def strings(where: str, values: object) -> tuple[str, ...]:
    """Read a list; None is an empty one.

    Raises:
        ManifestError: it is something else.
    """
    if not isinstance(values, list | None):
        raise ManifestError(f"{where} must be a list of strings, but got {values!r}")
    return tuple(values or ())


def named_values(where: str, items: object) -> dict[str, str]:
    """Read ``[{name, value}]``, whose values the API server takes as strings only.

    Raises:
        ManifestError: it is something else.
    """
    named: dict[str, str] = {}
    if not isinstance(items, list | None):
        raise ManifestError(f"{where} must be a list of names and values, but got {items!r}")
    for item in items or ():
        check_named(where, item)
        named[item["name"]] = item.get("value", "")
    return named
