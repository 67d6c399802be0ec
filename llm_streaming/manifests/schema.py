"""Checks manifests against the JSON schemas of SC2's custom resources (``crds.json``, which names its source).

The API server drops unknown fields with only a warning. Here an unknown field is an error, because it is often a
misspelt name.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_streaming.errors import ManifestError, did_you_mean

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

API_VERSION = "mlops.seldon.io/v1alpha1"

_TYPES = {"array": "a list", "boolean": "true or false", "integer": "a whole number", "object": "a mapping"}


def check(manifest: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Check the manifest of a Model or a Server, and return a copy without the fields that are null.

    Raises:
        ManifestError: the manifest is of another kind, or a field is unknown, missing or malformed. The message names
            the first such field and, if the field is unknown, the most similar known field.
    """
    from fastjsonschema import JsonSchemaValueException

    found = (manifest.get("apiVersion"), manifest.get("kind"))
    if found != (API_VERSION, kind):
        raise ManifestError(f"expected a manifest of {API_VERSION} {kind}, but got {found[0]} {found[1]}")
    try:
        checked: dict[str, Any] = _without(manifest, (None,))
    except RecursionError:
        raise ManifestError(f"the manifest of this {kind} is nested too deeply") from None
    try:
        _validator(kind)(checked)
    except JsonSchemaValueException as fault:
        metadata = checked.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        resource = f"{kind} '{name}'" if name else kind
        raise ManifestError(f"{resource}: {_sentence(fault)}") from None
    return checked


def without_empty(part: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a part of a manifest without the fields that are None or empty."""
    copied: dict[str, Any] = _without(part, (None, [], {}))
    return copied


def _without(value: Any, absent: Sequence[object]) -> Any:  # noqa: ANN401 - a part of a manifest
    if isinstance(value, Mapping):
        copied = {key: _without(item, absent) for key, item in value.items()}
        return {key: item for key, item in copied.items() if item not in absent}
    if isinstance(value, list | tuple):
        return [_without(item, absent) for item in value]
    return value


@functools.cache
def _validator(kind: str) -> Callable[[object], object]:
    import fastjsonschema

    schemas = json.loads((importlib.resources.files(__package__) / "crds.json").read_text())
    validate: Callable[[object], object] = fastjsonschema.compile({"$defs": schemas["$defs"], **schemas[kind]})
    return validate


def _sentence(fault: JsonSchemaValueException) -> str:
    path = (fault.name or "").removeprefix("data").removeprefix(".")
    if fault.rule in ("required", "additionalProperties"):
        return _wrong_fields(f"{path}." if path else "", fault.value, fault.definition)
    expected = fault.definition.get("description")
    if expected is None and fault.definition["type"] == "string":
        quote = " (quote it)" if isinstance(fault.value, int | float) else ""
        expected = f"a string{quote}"
    return f"{path} must be {expected or _TYPES[fault.definition['type']]}, but got {fault.value!r}"


def _wrong_fields(path: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Report an unknown field first, and a missing one otherwise, because a misspelt field causes both faults."""
    known = schema.get("properties", {})
    unknown = [name for name in value if name not in known]
    if unknown and schema.get("additionalProperties") is False:
        return f"there is no field {path}{unknown[0]}{did_you_mean(str(unknown[0]), known, prefix=path)}"
    missing = next(name for name in schema["required"] if name not in value)
    return f"{path}{missing} is missing"
