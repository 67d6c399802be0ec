"""Faults in the sampling parameters of the fuzzer's requests."""

from random import Random

from tests.hostile.grammar import DOORS, JUNK, Body, Expected, faults, nested, set_one


def _schema(rng: Random, parameters: Body) -> None:
    """Ask for an answer that follows a schema which is refused, because an engine would not bear it."""
    deep: Body = {"type": "string"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    hostile: list[Body] = [
        deep,
        {"type": "string", "minLength": 5, "maxLength": 3},
        {"type": "string", "pattern": "^(([a-z ]{0,30}){0,30}){0,30}$"},
        {"type": "array", "minItems": 10**9},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"enum": [str(number) for number in range(100_000)]},
        {"type": "object", "properties": {f"p{number}": {} for number in range(3000)}},
    ]
    schema = {"name": "s", "schema": rng.choice(hostile)}
    parameters["response_format"] = {"type": "json_schema", "json_schema": schema}


WRONG_TYPES = {
    "temperature": ("hot", [1], {}),
    "max_tokens": ("3", 1.5, True, [3]),
    "top_p": ("high", [0.5]),
    "seed": ("one", {}, 1.5),
    "stop": (5, {}, [5], [["a"]]),
    "logprobs": ("yes", 5),
    "logit_bias": ("x", [1], {"5": "much"}),
    "response_format": ("json", 5, {"type": "no such type"}),
}
OUT_OF_RANGE = {
    "temperature": (-1, 1e39),
    "max_tokens": (-5, 0, 2**31, 2**63),
    "top_p": (-0.1, 7),
    "min_p": (2, -1),
    "seed": (-(2**70), 2**70),
    "presence_penalty": (1e39, -1e39),
    "repeat_last_n": (2**31 - 1, -2),
    "dry_penalty_last_n": (2**31 - 1, 2**63),
    "n": (0, -1, 1000),
    "stop": (["x"] * 100_000, ["x" * 1_000_000]),
    "logit_bias": ({str(token): 1 for token in range(100_000)},),
}
FORBIDDEN = {
    "grammar": ("root ::= " + "(" * 200_000, 'root ::= ("a"? "b"? [a-z]*)' + ' ("a"? "b"? [a-z]*)' * 40),
    "samplers": (["infill"], "i"),
    "chat_template": ("{{ messages }}",),
}
PARAMETER_FAULTS = [
    *faults(
        "parameters",
        DOORS,
        Expected.REFUSED_BY_LOCAL,
        {
            "parameter: wrong type": set_one(**WRONG_TYPES),
            "parameter: out of range": set_one(**OUT_OF_RANGE),
            "parameter: forbidden": set_one(**FORBIDDEN),
            "parameter: unknown": set_one(max_token=(3,), __class__=(1,), xyzzy=JUNK[1:]),
            "parameter: hostile schema": _schema,
        },
    ),
    *faults(
        "parameters",
        DOORS,
        Expected.REFUSED,
        {"parameter: nested": set_one(metadata=(nested(400),), user=(nested(800),))},
    ),
]
