"""Manifests checked against the fields that SC2's custom resources have (``crds.json``, which names its source).

The API server drops a field that it does not know, with no more than a warning: a misspelt one is best refused here.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_streaming.errors import ManifestError
from llm_streaming.manifests.fields import API_VERSION
from llm_streaming.manifests.quantity import check_quantity

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

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
    kind = manifest.get("kind")
    if manifest.get("apiVersion") != API_VERSION or kind not in KINDS:
        return
    faults = sorted(_validator(kind).iter_errors(_without_nulls(manifest)), key=_rank)
    if faults:
        metadata = manifest.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        raise ManifestError(f"{kind} {name!r}: {_sentence(faults[0])}" if name else f"{kind}: {_sentence(faults[0])}")


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("quantity", raises=ManifestError)(_is_quantity)
    schemas = json.loads((importlib.resources.files(__package__) / "crds.json").read_text())
    return Draft202012Validator({"$defs": schemas["$defs"], **schemas[kind]}, format_checker=formats)


def _is_quantity(value: object) -> bool:
    if isinstance(value, str | int):  # another type is another rule's fault
        check_quantity("it", value)
    return True


def _without_nulls(value: object) -> object:
    """Drop what is null, as the API server does."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value


def _rank(fault: ValidationError) -> tuple[bool, str]:
    """An unknown field goes first: it is why another is missing."""
    return fault.validator != "additionalProperties", fault.json_path


def _sentence(fault: ValidationError) -> str:
    """Say what is wrong with one field, in a person's words."""
    if fault.validator == "additionalProperties":
        return _unknown(fault)
    if fault.validator == "required":
        missing = next(name for name in fault.validator_value if name not in fault.instance)
        return f"{_path(fault, missing)} is missing"
    if fault.validator == "format":
        return str(fault.cause).replace("it ", f"{_path(fault)} ", 1)
    types = [fault.validator_value] if isinstance(fault.validator_value, str) else fault.validator_value
    wanted = " or ".join(_WORDS[one] for one in types)
    quote = " (quote it)" if types == ["string"] and isinstance(fault.instance, int | float) else ""
    return f"{_path(fault)} must be {wanted}{quote}, but got {fault.instance!r}"


def _unknown(fault: ValidationError) -> str:
    known = fault.schema["properties"]
    unknown = next(name for name in fault.instance if name not in known)
    near = difflib.get_close_matches(str(unknown), known, n=1)
    hint = f" (did you mean {_path(fault, near[0])}?)" if near else ""
    return f"there is no field {_path(fault, unknown)}{hint}"


def _path(fault: ValidationError, *more: str) -> str:
    """Where a fault is, as in ``spec.podSpec.containers[0].image``."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*fault.absolute_path, *more)]
    return "".join(steps).removeprefix(".")
