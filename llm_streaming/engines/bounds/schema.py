"""Checks JSON schemas. The engines ignore many keywords without a word, and some small schemas end or block them."""

from __future__ import annotations

import graphlib
import math
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import orjson

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.pattern import has_lookaround, read_pattern
from llm_streaming.engines.bounds.values import Kind, anything, integer, list_of, number, shortened, text

MOST_ENTRIES = 500
"""The most values of ``enum`` and ``const`` in all."""
MOST_CHARACTERS = 15_000
"""The most characters of these values in all."""

_MOST_BYTES = 64 * 1024
_MOST = {
    "properties": 1024,
    "branches": 256,
    "values of enum and const": MOST_ENTRIES,
    "characters in enum and const": MOST_CHARACTERS,
}
_MOST_ALTERNATIVES = 64  # that definitions add to each other; llama.cpp did not end for 2**60
_MOST_PROPERTIES, _MOST_BRANCHES = 256, 32  # of one object, and of one anyOf, oneOf or allOf

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_LISTS = (*_BRANCHES, "prefixItems")
_DEFINITIONS = ("$defs", "definitions")
_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# The engines do not follow these. Each narrows the values that the other keywords describe, and a client can check it.
_NARROWING = ("uniqueItems", "multipleOf", "minProperties", "maxProperties", "propertyNames")
_FILLED = Kind("a list that is not empty", lambda value: isinstance(value, list) and value != [])
_KEYWORDS: dict[str, Kind] = {
    "type": Kind(
        f"one or several of {', '.join(_TYPES)}",
        lambda value: all(one in _TYPES for one in (value if isinstance(value, list) else [value])),
    ),
    "properties": Kind("an object with a schema for each name", lambda value: isinstance(value, dict)),
    "required": list_of(text(1000), _MOST["properties"]),
    **dict.fromkeys(
        (*_LISTS, "enum"), Kind("a list that is not empty", lambda value: isinstance(value, list) and value != [])
    ),
    **dict.fromkeys(("items", "additionalProperties", "const", *_NARROWING), anything),
    "$ref": text(1000),
    **dict.fromkeys(("minLength", "maxLength"), integer(0, 1000)),
    **dict.fromkeys(("minItems", "maxItems"), integer(0, 500)),
    **dict.fromkeys(_LIMITS, number(-(2**53), 2**53)),
    "pattern": text(10_000),
    "format": text(100),
}
# The engines follow only the first of these in a schema, and none of the other keywords beside it.
_ALONE = ("$ref", "anyOf", "oneOf", "allOf", "const", "enum")
_FORMATS = ("date", "time", "date-time", "uuid")  # the engines follow no others
# These describe a value without limiting it. A model may see those of a tool, so they are kept.
_NOTES = ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment")
_DROPPED = ("$schema", "$id", "discriminator")


NewSchemaReader: TypeAlias = Callable[[str], "SchemaReader"]
"""Takes a parameter's name, and returns the reader of its schemas."""


class SchemaReader:
    """Reads the JSON schemas of one parameter, which have common totals.

    Args:
        name: the parameter's name.
        for_llamacpp: whether the engine is llama.cpp, which follows ranges of integers only.
        unfollowed: gets the keywords that are taken, although the engine does not follow them.
    """

    def __init__(self, name: str, *, for_llamacpp: bool, unfollowed: set[str]) -> None:
        self._name = name
        self._for_llamacpp = for_llamacpp
        self._unfollowed = unfollowed
        self._counts = dict.fromkeys(_MOST, 0)
        self._definitions: dict[str, Any] = {}

    def read(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Check a schema, and return what the engine follows of it, with notes such as descriptions.

        The schema's depth must have been checked already.

        Raises:
            EngineError: the schema has an unknown keyword, is too large, contradicts itself, or refers to a schema
                elsewhere.
        """
        if not isinstance(schema, dict):
            self._refuse(f"is {reprlib.repr(schema)}: give an object")
        data = orjson.dumps(schema)
        if len(data) > _MOST_BYTES:
            self._refuse(f"has more than {_MOST_BYTES} bytes: shorten it")
        read, self._definitions = orjson.loads(data), {}
        definitions = {key: read.pop(key) for key in _DEFINITIONS if key in read}
        for key, found in definitions.items():
            if not isinstance(found, dict):
                self._refuse(f"has {key} that is not an object: give names with their schemas")
            self._definitions |= {f"#/{key}/{name}": one for name, one in found.items()}
        for one in (read, *self._definitions.values()):
            self._read(one)
        self._check_references()
        return {**read, **definitions}

    def _read(self, schema: Any) -> None:  # noqa: ANN401 - JSON
        """Check a schema and those inside it, and remove from them what the engine does not follow."""
        if not isinstance(schema, dict):
            self._refuse(f"contains {reprlib.repr(schema)} in place of a schema: give an object")
        for key, value in list(schema.items()):
            if key in _DROPPED or key.startswith("x-"):
                del schema[key]
            elif key in _KEYWORDS:
                _KEYWORDS[key](f"{key} of the schema in {self._name}", value)
            elif key not in _NOTES:
                self._refuse(f"has the keyword {key}, which the model would not follow: leave it out")
        self._check_ranges(schema)
        for key in [key for key in schema if not self._is_followed(key, schema)]:
            self._unfollowed.add(key)
            del schema[key]
        self._check_alone(schema)
        if "pattern" in schema:
            schema["pattern"] = self._read_pattern(schema["pattern"])
        for below in self._below(schema):
            self._read(below)

    def _is_followed(self, key: str, schema: dict[str, Any]) -> bool:
        """Return whether the engine follows a keyword, or whether the keyword is a note."""
        has_pattern = "pattern" in schema and not has_lookaround(schema["pattern"])
        match key:
            case "pattern":
                return has_pattern
            case "minLength" | "maxLength":
                return not has_pattern
            case "format":
                return not has_pattern and schema[key] in _FORMATS
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
                return schema[key] % 1 == 0 if schema.get("type") == "integer" else not self._for_llamacpp
            case _:
                return key not in _NARROWING

    def _check_ranges(self, schema: dict[str, Any]) -> None:
        whole = schema.get("type") == "integer"  # an excluded limit then excludes one number
        lowest = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + whole)
        highest = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - whole)
        for names, (low, high) in (
            (("minLength", "maxLength"), (schema.get("minLength", 0), schema.get("maxLength", math.inf))),
            (("minItems", "maxItems"), (schema.get("minItems", 0), schema.get("maxItems", math.inf))),
            (_LIMITS, (lowest, highest)),
        ):
            if low > high:
                given = ", ".join(f"{name} {schema[name]}" for name in names if name in schema)
                self._refuse(f"has {given}: no value fits")

    def _check_alone(self, schema: dict[str, Any]) -> None:
        """Check the keywords that exclude others, and count the values of enum and const."""
        alone = [key for key in _ALONE if key in schema]
        beside = [key for key in schema if key in _KEYWORDS and key not in (*alone[:1], "type")]
        if alone and beside:
            self._refuse(f"has {alone[0]} beside {beside[0]}, and the model would follow only one: leave out the other")
        if "$ref" in schema and schema["$ref"] not in self._definitions:
            self._refuse(f"refers to {reprlib.repr(schema['$ref'])}: refer to a schema in its own $defs")
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        self._count("values of enum and const", len(values))
        self._count("characters in enum and const", sum(len(orjson.dumps(one)) for one in values))

    def _below(self, schema: dict[str, Any]) -> Iterator[Any]:
        """Yield the schemas directly inside a schema, and count them."""
        properties = schema.get("properties", {})
        self._count("properties", len(properties), _MOST_PROPERTIES)
        yield from properties.values()
        for key in _LISTS:
            self._count("branches", len(schema.get(key, ())), _MOST_BRANCHES)
            yield from schema.get(key, ())
        if "items" in schema:
            yield schema["items"]
        if not isinstance(schema.get("additionalProperties", True), bool):
            yield schema["additionalProperties"]

    def _read_pattern(self, pattern: str) -> str:
        try:
            return read_pattern(pattern)
        except ValueError as fault:
            self._refuse(f"has the pattern {reprlib.repr(pattern)}, which {fault}")

    def _check_references(self) -> None:
        """Refuse definitions that refer to each other before anything is written, in a circle or too many times."""
        graph = {name: list(_direct_references(one)) for name, one in self._definitions.items()}
        alternatives: dict[str, int] = {}  # of each definition, with those that it refers to
        try:
            for name in graphlib.TopologicalSorter(graph).static_order():
                alternatives[name] = sum(alternatives[one] for one in graph[name]) or 1
        except graphlib.CycleError as error:
            self._refuse(f"refers in a circle without an end ({' → '.join(error.args[1])}): break the circle")
        if max(alternatives.values(), default=0) > _MOST_ALTERNATIVES:
            self._refuse(f"has more than {_MOST_ALTERNATIVES} alternatives in one place: use fewer")

    def _count(self, what: str, more: int, most: float = math.inf) -> None:
        self._counts[what] += more
        if more > most:
            self._refuse(f"has {more} {what} in one place: use at most {most}")
        if self._counts[what] > _MOST[what]:
            self._refuse(f"has more than {_MOST[what]} {what}: use fewer")

    def _refuse(self, why: str) -> NoReturn:
        raise bad_request(f"The schema in {self._name} {shortened(why)}.")


def _direct_references(schema: dict[str, Any]) -> Iterator[str]:
    """Yield the references that a schema follows before it writes anything."""
    if "$ref" in schema:
        yield schema["$ref"]
    for key in _BRANCHES:
        for one in schema.get(key, ()):
            yield from _direct_references(one)
