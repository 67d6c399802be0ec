"""The limits of the parameters that fix an answer's format: schemas, regular expressions and grammars."""

from __future__ import annotations

import re
from typing import Any

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.pattern import read_pattern
from llm_streaming.engines.bounds.schema import MOST_CHARACTERS, MOST_ENTRIES, SchemaReader
from llm_streaming.engines.bounds.values import Kind, Reader, flag

_LONGEST_GRAMMAR, _DEEPEST_GRAMMAR = 4096, 50
_REPETITION = re.compile(r"\{\s*(\d+)\s*,\s*(\d+)\s*\}")


def schema(*, for_llamacpp: bool) -> Reader:
    """Return the reader of a JSON schema."""
    return lambda name, value: SchemaReader(name, for_llamacpp=for_llamacpp).read(value)


def response_format(*, for_llamacpp: bool) -> Reader:
    """Return the reader of OpenAI's ``response_format``, and of llama.cpp's form with the schema beside the type."""
    read_schema = schema(for_llamacpp=for_llamacpp)

    def read(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        kind = value.get("type") if isinstance(value, dict) else None
        if kind not in ("text", "json_object", "json_schema"):
            raise bad_request(f"{name} has no known type: give the type text, json_object or json_schema.")
        short = value.get("schema")
        if kind == "text" or (kind == "json_object" and short is None):
            return {"type": kind}
        wrapped = value.get("json_schema") if short is None else {"name": "schema", "schema": short}
        if not isinstance(wrapped, dict) or wrapped.get("schema") is None:
            raise bad_request(f"{name} has no schema: put one under json_schema.schema.")
        return {"type": "json_schema", "json_schema": {**wrapped, "schema": read_schema(name, wrapped["schema"])}}

    return read


def structured_outputs(*, allow_grammar: bool) -> Reader:
    """Return the reader of vLLM's ``structured_outputs``, which may contain a grammar if that is allowed."""
    readers: dict[str, Reader] = {"json": _json, "regex": _regex, "choice": _choice, "json_object": flag}
    readers |= {"disable_any_whitespace": flag} | ({"grammar": grammar} if allow_grammar else {})

    def read(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(value, dict) or not value.keys() <= readers.keys():
            raise bad_request(f"{name} cannot be used: give an object with no other keys than {', '.join(readers)}.")
        return {key: readers[key](f"{name}.{key}", one) for key, one in value.items() if one is not None}

    return read


def _json(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        raise bad_request(f"{name} is a string: give the schema as an object.")
    return SchemaReader(name, for_llamacpp=False).read(value)


def _regex(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, str):
        raise bad_request(f"{name} is not a string: give a regular expression.")
    try:
        read_pattern(value, anchored=False)
    except ValueError as fault:
        raise bad_request(f"{name} {fault}.") from None
    return value


def _choice(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    texts = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    if not texts or not 1 <= len(value) <= MOST_ENTRIES or sum(map(len, value)) > MOST_CHARACTERS:
        raise bad_request(
            f"{name} cannot be used: give 1 to {MOST_ENTRIES} strings, {MOST_CHARACTERS} characters in all."
        )
    return value


def _is_grammar(value: object) -> bool:
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST_GRAMMAR:
        return False
    depth = deepest = 0
    for sign in value:
        depth += (sign == "(") - (sign == ")")
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST_GRAMMAR and all(int(low) <= int(high) for low, high in _REPETITION.findall(value))


# Even a short grammar can stall llama.cpp: then the watchdog ends the server.
grammar = Kind(
    f"a grammar of at most {_LONGEST_GRAMMAR} characters, with parentheses at most {_DEEPEST_GRAMMAR} deep and no "
    "repetition {a,b} with a larger than b",
    _is_grammar,
)
