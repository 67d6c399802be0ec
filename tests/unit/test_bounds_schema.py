"""Which JSON schemas are taken, and what the engines get of them."""

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AnyUrl, BaseModel, Field

from llm_streaming.engines.bounds.schema import SchemaReader
from llm_streaming.errors import EngineError


def read(schema: Any, *, for_llamacpp: bool = True) -> Any:
    return SchemaReader("response_format", for_llamacpp=for_llamacpp, unfollowed=set()).read(schema)


def refusal(schema: Any, *, for_llamacpp: bool = True) -> str:
    with pytest.raises(EngineError) as raised:
        read(schema, for_llamacpp=for_llamacpp)
    assert raised.value.status == 400
    return str(raised.value)


def of(count: int, *, required: bool = False) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    return {"type": "object", "properties": {name: {} for name in names}, "required": names if required else []}


def with_definitions(schema: dict[str, Any], **definitions: Any) -> dict[str, Any]:
    return {**schema, "$defs": definitions}


A, B = {"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}
IGNORED = "which the model would not follow: leave it out."
ONE = "and the model would follow only one: leave out the other."
CIRCLE = "refers in a circle without an end ({}): break the circle."
NONE_FITS = "no value fits."
REFUSED: list[tuple[Any, str]] = [
    # each of these ended or blocked llama.cpp or vLLM
    ({"type": "string", "minLength": 5, "maxLength": 3}, f"has minLength 5, maxLength 3: {NONE_FITS}"),
    ({"type": "array", "minItems": 5, "maxItems": 3}, f"has minItems 5, maxItems 3: {NONE_FITS}"),
    ({"type": "integer", "minimum": 5, "maximum": 3}, f"has minimum 5, maximum 3: {NONE_FITS}"),
    (
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4},
        f"has exclusiveMinimum 3, exclusiveMaximum 4: {NONE_FITS}",
    ),
    (
        {"type": "string", "pattern": "^(([a-z]*)*)*$"},
        "has the pattern '^(([a-z]*)*)*$', which has a repetition inside a repetition: leave out one of them.",
    ),
    (with_definitions(A, A=B, B=A), CIRCLE.format("#/$defs/A → #/$defs/B → #/$defs/A")),
    (with_definitions({}, A={"anyOf": [{"type": "null"}, A]}), CIRCLE.format("#/$defs/A → #/$defs/A")),
    (
        with_definitions({}, B0={}, **{f"B{n}": {"oneOf": [{"$ref": f"#/$defs/B{n - 1}"}] * 2} for n in range(1, 10)}),
        "has more than 64 alternatives in one place: use fewer.",
    ),
    ({"$ref": "#"}, "refers to '#': refer to a schema in its own $defs."),
    ({"$ref": "https://a.example/b"}, "refers to 'https://a.example/b': refer to a schema in its own $defs."),
    (A, "refers to '#/$defs/A': refer to a schema in its own $defs."),
    (of(257, required=True), "has 257 properties in one place: use at most 256."),
    (
        {"anyOf": [of(200, required=True)] * 6},
        "has more than 1024 properties: use fewer.",
    ),
    ({"anyOf": [{}] * 33}, "has 33 branches in one place: use at most 32."),
    ({"allOf": [{"anyOf": [{}] * 32}] * 8}, "has more than 256 branches: use fewer."),
    ({"anyOf": [{"enum": [1] * 300}] * 2}, "has more than 500 values of enum and const: use fewer."),
    ({"enum": ["x" * 998] * 15 + ["y"]}, "has more than 15000 characters in enum and const: use fewer."),
    ({"description": "x" * 65_536}, "has more than 65536 bytes: shorten it."),
    # the engines ignore these
    *(
        ({keyword: {}}, f"has the keyword {keyword}, {IGNORED}")
        for keyword in (
            "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "contains", "patternProperties",
            "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$anchor", "minLengths",
        )
    ),
    ({"x" * 1000: 1}, f"has the keyword {'x' * 284}…."),
    ({"properties": {"a": {"properties": {"b": {"not": {}}}}}}, f"has the keyword not, {IGNORED}"),
    ({"anyOf": [{}], "properties": {}}, f"has anyOf beside properties, {ONE}"),
    ({"enum": [1], "const": 1}, f"has const beside enum, {ONE}"),
    # these are no schemas
    (True, "is True: give an object."),
    ({"items": True}, "contains True in place of a schema: give an object."),
    ({"$defs": 1}, "has $defs that is not an object: give names with their schemas."),
    ({"properties": {"a": {"$defs": {}}}}, f"has the keyword $defs, {IGNORED}"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "message"), REFUSED)
def test_a_schema_that_costs_too_much_or_would_be_ignored_is_refused(schema: Any, message: str) -> None:
    assert refusal(schema) == f"The schema in response_format {message}"


LIMITS = {
    "minLength": "an integer from 0 to 1000",
    "maxItems": "an integer from 0 to 500",
    "type": "one or several of array, boolean, integer, null, number, object, string",
    "properties": "an object with a schema for each name",
    "anyOf": "a list that is not empty",
    "enum": "a list that is not empty",
    "exclusiveMaximum": "a number from -9007199254740992 to 9007199254740992",
    "pattern": "a string of 1 to 10000 characters",
    "required": "a list of at most 1024 items, each a string of 1 to 1000 characters",
}


@pytest.mark.parametrize("keyword", LIMITS)
def test_keywords_have_limits(keyword: str) -> None:
    values: tuple[Any, ...] = (-(2**60), True, [{}], [[]]) if keyword == "properties" else (-(2**60), True, {}, "")
    for value in values:
        assert refusal({keyword: value}).startswith(f"{keyword} of the schema in response_format is {value!r}: give ")
    assert refusal({keyword: True}) == f"{keyword} of the schema in response_format is True: give {LIMITS[keyword]}."


def test_what_does_not_limit_an_answer_is_dropped_or_kept_as_a_note() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/a",
        "title": "A",
        "description": "An A.",
        "x-guidance": {"whitespace_flexible": False},
        "properties": {
            "title": {"type": "string", "format": "email", "default": "a", "examples": ["b"]},
            "x-day": {"type": "string", "format": "date"},
        },
    }
    assert read(schema) == {
        "title": "A",
        "description": "An A.",
        "properties": {
            "title": {"type": "string", "default": "a", "examples": ["b"]},
            "x-day": {"type": "string", "format": "date"},
        },
    }


TAKEN: list[dict[str, Any]] = [
    {},
    {"type": ["string", "null"], "maxLength": 1000},
    {"type": "object", "additionalProperties": {"type": "integer", "minimum": -5, "exclusiveMaximum": 9}},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "array", "prefixItems": [{"type": "string"}, {"const": 1}], "minItems": 2, "maxItems": 2},
    {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    with_definitions(A, A={"type": "object", "properties": {"next": {"anyOf": [A, {"type": "null"}]}}}),
    {"$ref": "#/definitions/A", "definitions": {"A": {"type": "boolean"}}},
    of(256, required=True),
    of(256),
    {"type": "string", "enum": [f"{number}" for number in range(500)]},
]


@pytest.mark.parametrize("schema", TAKEN)
def test_ordinary_schemas_are_taken_unchanged(schema: dict[str, Any]) -> None:
    assert read(schema) == schema


def test_ranges_of_numbers_are_taken_for_vllm_which_follows_them() -> None:
    schema = {"type": "number", "minimum": 0, "exclusiveMaximum": 1.5}
    assert read(schema, for_llamacpp=False) == schema
    empty = {"type": "number", "minimum": 2, "exclusiveMaximum": 1}
    assert refusal(empty, for_llamacpp=False) == (
        "The schema in response_format has minimum 2, exclusiveMaximum 1: no value fits."
    )


class Colour(enum.Enum):
    RED, GREEN = "red", "green"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=1, le=9, description="How many are left.")


class Dog(BaseModel):
    kind: Literal["dog"]
    friends: list["Dog"] = []


class Order(BaseModel):
    """An order with most of what pydantic writes into schemas."""

    model_config = {"extra": "forbid"}
    pet: Cat | Dog = Field(discriminator="kind")
    colour: Colour = Colour.RED
    day: date
    at: datetime | None = None
    number: UUID
    pair: tuple[int, str]
    counts: dict[str, int] = {}
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$", title="The code")]
    name: Annotated[str, Field(min_length=1, max_length=80)] = "x"
    anything: Any = None
    price: Decimal = Decimal(0)
    mail: Annotated[str, Field(json_schema_extra={"format": "email"})] = ""


@pytest.mark.parametrize("for_llamacpp", [True, False])
def test_schemas_of_pydantic_models_are_taken(for_llamacpp: bool) -> None:
    taken = read(Order.model_json_schema(), for_llamacpp=for_llamacpp)
    assert list(taken["properties"]) == list(Order.model_fields)
    assert taken["properties"]["code"]["pattern"] == r"^[A-Z]{3,3}[\x2D][0-9]{4,4}$"
    assert taken["required"] == ["pet", "day", "number", "pair", "code"]


# Each keyword narrows the values of a schema that is followed without it.
UNFOLLOWED: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"type": "number", "minimum": 0, "exclusiveMaximum": 1.5}, {"type": "number"}, {"minimum", "exclusiveMaximum"}),
    ({"type": ["integer", "null"], "minimum": 0}, {"type": ["integer", "null"]}, {"minimum"}),
    ({"type": "integer", "minimum": 0.5, "maximum": 9}, {"type": "integer", "maximum": 9}, {"minimum"}),
    ({"pattern": "^a$", "maxLength": 3, "format": "date"}, {"pattern": "^[a]$"}, {"maxLength", "format"}),
    ({"pattern": r"^(?!^[-+.]*$)\d*$", "maxLength": 3}, {"maxLength": 3}, {"pattern"}),
    ({"type": "string", "format": "email", "minLength": 1}, {"type": "string", "minLength": 1}, {"format"}),
    ({"properties": {"format": {"multipleOf": 0.5}}}, {"properties": {"format": {}}}, {"multipleOf"}),
    ({"const": {"multipleOf": 1}}, {"const": {"multipleOf": 1}}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "followed", "keywords"), UNFOLLOWED)
def test_what_only_narrows_a_schema_is_taken_and_noted_if_llamacpp_does_not_follow_it(
    schema: dict[str, Any], followed: dict[str, Any], keywords: set[str]
) -> None:
    unfollowed: set[str] = set()
    assert SchemaReader("tools", for_llamacpp=True, unfollowed=unfollowed).read(schema) == followed
    assert unfollowed == keywords


class Measures(BaseModel):
    """What pydantic writes for sets, ranges and keys. Its older releases write such a pattern for a Decimal."""

    tags: set[str]
    share: Annotated[float, Field(ge=0, le=1)]
    step: Annotated[float, Field(multiple_of=0.5)]
    counts: Annotated[dict[Literal["a", "b"], int], Field(min_length=1)]
    price: Annotated[Decimal, Field(json_schema_extra={"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"})]
    page: AnyUrl


@pytest.mark.parametrize(
    ("for_llamacpp", "ranges"), [(True, ["maximum", "minProperties", "minimum"]), (False, ["minProperties"])]
)
def test_schemas_of_pydantic_models_with_such_constraints_are_taken(for_llamacpp: bool, ranges: list[str]) -> None:
    unfollowed: set[str] = set()
    reader = SchemaReader("tools", for_llamacpp=for_llamacpp, unfollowed=unfollowed)
    assert list(reader.read(Measures.model_json_schema())["properties"]) == list(Measures.model_fields)
    assert sorted(unfollowed) == [
        "format",
        *ranges[:1],
        *ranges[1:],
        "multipleOf",
        "pattern",
        "propertyNames",
        "uniqueItems",
    ]


def test_totals_count_over_all_schemas_of_a_parameter() -> None:
    reader = SchemaReader("tools", for_llamacpp=True, unfollowed=set())
    for _ in range(4):
        reader.read(of(256, required=True))
    with pytest.raises(EngineError) as raised:
        reader.read(of(1))
    assert str(raised.value) == "The schema in tools has more than 1024 properties: use fewer."
