"""Manifests checked against the fields that SC2's custom resources have (``crds.json``, which names its source).

The API server drops a field that it does not know, with no more than a warning: a misspelt one is best refused here.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from llm_streaming.errors import ManifestError, did_you_mean
from llm_streaming.manifests.fields import API_VERSION
from llm_streaming.manifests.quantity import check_quantity

if TYPE_CHECKING:
    from fastjsonschema import JsonSchemaValueException

KINDS = ("Model", "Server")

_WORDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "object": "a mapping",
    "string": "a string",
}


def check(manifest: Mapping[str, Any]) -> None:
    """Refuse a Model or a Server with a field that there is not, that is missing, or that holds the wrong thing.

    Manifests of other kinds are none of its business.

    Raises:
        ManifestError: with the first fault, and for an unknown field the nearest that there is.
    """
    from fastjsonschema import JsonSchemaValueException

    kind = manifest.get("kind")
    if manifest.get("apiVersion") != API_VERSION or kind not in KINDS:
        return
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    try:
        _validator(kind)(_without_nulls(manifest))
    except JsonSchemaValueException as fault:
        raise ManifestError(f"{kind} '{name}': {_sentence(fault)}" if name else f"{kind}: {_sentence(fault)}") from None


@functools.cache
def _validator(kind: str) -> Callable[[object], object]:
    import fastjsonschema

    schemas = json.loads((importlib.resources.files(__package__) / "crds.json").read_text())
    schema = {"$defs": schemas["$defs"], **schemas[kind]}
    validate: Callable[[object], object] = fastjsonschema.compile(schema, formats={"quantity": _is_quantity})
    return validate


def _is_quantity(text: str) -> bool:
    try:
        check_quantity("", text)
    except ManifestError:
        return False
    return True


def _without_nulls(value: object) -> object:
    """Drop what is null, as the API server does."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _sentence(fault: JsonSchemaValueException) -> str:
    """Say what is wrong with one field, in a person's words."""
    path = (fault.name or "").removeprefix("data").removeprefix(".")
    if fault.rule in ("required", "additionalProperties"):
        return _unfitting(f"{path}." if path else "", fault.value, fault.definition)
    if fault.rule == "format":
        try:
            check_quantity(path, fault.value)
        except ManifestError as error:
            return str(error)
    types = [fault.rule_definition] if isinstance(fault.rule_definition, str) else fault.rule_definition
    wanted = " or ".join(_WORDS[one] for one in types)
    quote = " (quote it)" if types == ["string"] and isinstance(fault.value, int | float) else ""
    return f"{path} must be {wanted}{quote}, but got {fault.value!r}"


def _unfitting(path: str, value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Name the field of a mapping that there is not, or else the one that is missing: the first may be why."""
    known = schema["properties"]
    for name in value:
        if name not in known:
            return f"there is no field {path}{name}{did_you_mean(str(name), known, prefix=path)}"
    missing = next(name for name in schema["required"] if name not in value)
    return f"{path}{missing} is missing"
