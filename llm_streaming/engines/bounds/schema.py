"""Checks JSON schemas. The engines ignore many keywords without a word, and some small schemas end or block them."""

from __future__ import annotations

import graphlib
import math
import reprlib
from collections.abc import Iterator
from typing import Any, NoReturn

import orjson

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.pattern import read_pattern
from llm_streaming.engines.bounds.values import Kind, anything, integer, list_of, number, shortened, text

MOST_ENTRIES = 500
"""The most values of ``enum`` and ``const`` in all."""
MOST_CHARACTERS = 15_000
"""The most characters of these values in all."""

_MOST_BYTES = 64 * 1024
_MOST = {"properties": 1024, "values of enum and const": MOST_ENTRIES, "branches": 256, "references": 512}
_MOST_ALTERNATIVES = 64  # that definitions add to each other; llama.cpp did not end for 2**60
_MOST_PROPERTIES, _MOST_OPTIONAL, _MOST_BRANCHES = 256, 128, 32  # of one object, and of one anyOf, oneOf or allOf

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_LISTS = (*_BRANCHES, "prefixItems")
_DEFINITIONS = ("$defs", "definitions")
_FORMATS = ("date", "time", "date-time", "uuid")
_NUMBER, _LENGTH, _ITEMS = number(-(2**53), 2**53), integer(0, 1000), integer(0, 500)
_KEYWORDS: dict[str, Kind] = {
    "minLength": _LENGTH,
    "maxLength": _LENGTH,
    "minItems": _ITEMS,
    "maxItems": _ITEMS,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "pattern": text(10_000),
    "format": text(100),
    "required": list_of(text(1000), _MOST["properties"]),
    "enum": list_of(anything, MOST_ENTRIES),
    "$ref": text(1000),
    **dict.fromkeys(("type", "const", "properties", "additionalProperties", "items", *_LISTS), anything),
}
_RANGES = (("minLength", "maxLength"), ("minItems", "maxItems"))
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# The engines follow only the first of these in a schema, and none of the other keywords beside it.
_ALONE = ("$ref", "anyOf", "oneOf", "allOf", "const", "enum")
# These describe a value without limiting it. A model may see those of a tool, so they are kept.
_NOTES = ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment")
_DROPPED = ("$schema", "$id", "discriminator")


class SchemaReader:
    """Reads the JSON schemas of one parameter, which have common totals.

    Args:
        name: the parameter's name.
        for_llamacpp: whether the engine is llama.cpp, which ignores ranges of numbers that need not be whole.
    """

    def __init__(self, name: str, *, for_llamacpp: bool) -> None:
        self._name = name
        self._for_llamacpp = for_llamacpp
        self._counts = dict.fromkeys(_MOST, 0)
        self._characters = 0
        self._definitions: dict[str, Any] = {}

    def read(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Check a schema, and return it with what the engine follows, and with notes such as descriptions.

        The schema's depth must have been checked already.

        Raises:
            EngineError: the schema has a keyword that the engine ignores, is too large, contradicts itself, or
                refers to a schema elsewhere.
        """
        if not isinstance(schema, dict):
            self._refuse(f"is {reprlib.repr(schema)}: give an object")
        if len(orjson.dumps(schema)) > _MOST_BYTES:
            self._refuse(f"has more than {_MOST_BYTES} bytes: shorten it")
        own = {key: self._entries(key, schema[key]) for key in _DEFINITIONS if key in schema}
        self._definitions = {f"#/{key}/{name}": one for key, found in own.items() for name, one in found.items()}
        rest = {key: value for key, value in schema.items() if key not in own}
        read = {key: {name: self._read(one) for name, one in found.items()} for key, found in own.items()}
        self._check_references()
        return {**self._read(rest), **read}

    def _read(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        if not isinstance(schema, dict):
            self._refuse(f"contains {reprlib.repr(schema)} in place of a schema: give an object")
        kept = {key: value for key, value in schema.items() if key not in _DROPPED and not key.startswith("x-")}
        for key in [key for key in kept if key not in _NOTES]:
            if key not in _KEYWORDS:
                self._refuse(f"has the keyword {key}, which the model would not follow: leave it out")
            _KEYWORDS[key](f"{key} of the schema in {self._name}", kept[key])
        if kept.get("format") not in _FORMATS:
            kept.pop("format", None)
        self._check_keywords(kept)
        self._check_ranges(kept)
        if "pattern" in kept:
            kept["pattern"] = self._pattern(kept)
        return kept | dict(self._below(kept))

    def _below(self, schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the keywords that contain schemas, with these schemas read."""
        if "properties" in schema:
            found = self._entries("properties", schema["properties"])
            self._count("properties", len(found), _MOST_PROPERTIES)
            optional = len(found.keys() - set(schema.get("required", ())))
            if optional > _MOST_OPTIONAL:
                self._refuse(f"has {optional} optional properties in one object: use at most {_MOST_OPTIONAL}")
            yield "properties", {name: self._read(one) for name, one in found.items()}
        for key in (key for key in _LISTS if key in schema):
            if not isinstance(schema[key], list) or not schema[key]:
                self._refuse(f"has {key} without a list of schemas: give one")
            self._count("branches", len(schema[key]), _MOST_BRANCHES)
            yield key, [self._read(one) for one in schema[key]]
        if "items" in schema:
            yield "items", self._read(schema["items"])
        if not isinstance(schema.get("additionalProperties", True), bool):
            yield "additionalProperties", self._read(schema["additionalProperties"])

    def _check_keywords(self, schema: dict[str, Any]) -> None:
        """Check the type, the values of enum and const, the reference, and keywords that exclude each other."""
        types = schema.get("type", [])
        for one in types if isinstance(types, list) else [types]:
            if one not in _TYPES:
                self._refuse(f"has the type {reprlib.repr(one)}: use {', '.join(_TYPES)}")
        alone = [key for key in _ALONE if key in schema]
        beside = [key for key in schema if key in _KEYWORDS and key not in (*alone[:1], "type")]
        if alone and beside:
            self._refuse(f"has {alone[0]} beside {beside[0]}, and the model would follow only one: leave out the other")
        values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
        self._count("values of enum and const", len(values))
        self._characters += sum(len(orjson.dumps(one)) for one in values)
        if self._characters > MOST_CHARACTERS:
            self._refuse(f"has values of enum and const of more than {MOST_CHARACTERS} characters: shorten them")
        if "enum" in schema and not values:
            self._refuse("has an empty enum: give at least one value")
        if "$ref" in schema:
            self._count("references", 1)
            if schema["$ref"] not in self._definitions:
                self._refuse(f"refers to {reprlib.repr(schema['$ref'])}: refer to a schema in its own $defs")

    def _check_ranges(self, schema: dict[str, Any]) -> None:
        for low, high in _RANGES:
            if schema.get(low, 0) > schema.get(high, math.inf):
                self._refuse(f"has {low} {schema[low]} and {high} {schema[high]}: no value fits")
        given = {key: schema[key] for key in _LIMITS if key in schema}
        whole = schema.get("type") == "integer"
        if given and self._for_llamacpp and not whole:
            self._refuse(f"has {next(iter(given))}, which llama.cpp follows only for integers: use the type integer")
        if whole and not all(float(value).is_integer() for value in given.values()):
            self._refuse(f"has {', '.join(given)} with a fraction for an integer: use whole numbers")
        lows = (given.get("minimum", -math.inf), given.get("exclusiveMinimum", -math.inf) + whole)
        highs = (given.get("maximum", math.inf), given.get("exclusiveMaximum", math.inf) - whole)
        low, high = max(lows), min(highs)
        if low > high or (low == high and not whole and given.keys() & {"exclusiveMinimum", "exclusiveMaximum"}):
            self._refuse(f"has {', '.join(f'{key} {value}' for key, value in given.items())}: no value fits")

    def _pattern(self, schema: dict[str, Any]) -> str:
        pattern: str = schema["pattern"]
        if beside := [key for key in ("minLength", "maxLength", "format") if key in schema]:
            self._refuse(f"has a pattern beside {beside[0]}, and the model would follow only one: leave out the other")
        try:
            return read_pattern(pattern)
        except ValueError as fault:
            self._refuse(f"has the pattern {reprlib.repr(pattern)}, which {fault}")

    def _check_references(self) -> None:
        """Refuse definitions that refer to each other before anything is written, in a circle or too many times."""
        graph = {name: set(_direct_references(one)) for name, one in self._definitions.items()}
        alternatives: dict[str, int] = {}  # of each definition, with those that it refers to
        try:
            for name in graphlib.TopologicalSorter(graph).static_order():
                alternatives[name] = sum(alternatives[one] for one in _direct_references(self._definitions[name])) or 1
        except graphlib.CycleError as error:
            self._refuse(f"refers in a circle without an end ({' → '.join(error.args[1])}): break the circle")
        if max(alternatives.values(), default=0) > _MOST_ALTERNATIVES:
            self._refuse(f"has more than {_MOST_ALTERNATIVES} alternatives in one place: use fewer")

    def _entries(self, key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        if not isinstance(value, dict):
            self._refuse(f"has {key} that is not an object: give names with their schemas")
        return dict(value)

    def _count(self, what: str, more: int, most: float = math.inf) -> None:
        self._counts[what] += more
        if more > most:
            self._refuse(f"has {more} {what} in one place: use at most {most}")
        if self._counts[what] > _MOST[what]:
            self._refuse(f"has more than {_MOST[what]} {what}: use fewer")

    def _refuse(self, why: str) -> NoReturn:
        raise bad_request(f"The schema in {self._name} {shortened(why)}.")


def _direct_references(schema: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield the references that a schema follows before it writes anything."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for key in _BRANCHES:
            for one in schema[key] if isinstance(schema.get(key), list) else ():
                yield from _direct_references(one)
