"""The limits of the parameters that fix an answer's format: schemas, regular expressions and grammars."""

from __future__ import annotations

import re
from typing import Any

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.pattern import read_pattern
from llm_streaming.engines.bounds.schema import MOST_CHARACTERS, MOST_ENTRIES, NewSchemaReader
from llm_streaming.engines.bounds.values import Kind, Reader, flag, list_of, text

_LONGEST_GRAMMAR = 4096


def schema(new_schema_reader: NewSchemaReader) -> Reader:
    """Return the reader of a JSON schema."""
    return lambda name, value: new_schema_reader(name).read(value)


def response_format(new_schema_reader: NewSchemaReader) -> Reader:
    """Return the reader of OpenAI's ``response_format``, and of llama.cpp's form with the schema beside the type."""

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
        read_schema = new_schema_reader(name).read(wrapped["schema"])
        return {"type": "json_schema", "json_schema": {**wrapped, "schema": read_schema}}

    return read


def structured_outputs(new_schema_reader: NewSchemaReader, *, allow_grammar: bool) -> Reader:
    """Return the reader of vLLM's ``structured_outputs``, which may contain a grammar if that is allowed."""
    readers: dict[str, Reader] = {
        "json": schema(new_schema_reader),
        "regex": _regex,
        "choice": _choice,
        **dict.fromkeys(("json_object", "disable_any_whitespace"), flag),
        **({"grammar": grammar} if allow_grammar else {}),
    }

    def read(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(value, dict) or not value.keys() <= readers.keys():
            raise bad_request(f"{name} cannot be used: give an object with no other keys than {', '.join(readers)}.")
        return {key: readers[key](f"{name}.{key}", one) for key, one in value.items() if one is not None}

    return read


def _regex(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(value, str):
        raise bad_request(f"{name} is not a string: give a regular expression.")
    try:
        read_pattern(value, anchored=False)
    except ValueError as fault:
        raise bad_request(f"{name} {fault}.") from None
    return value


_choice = Kind(
    f"1 to {MOST_ENTRIES} strings, {MOST_CHARACTERS} characters in all",
    lambda value: (
        list_of(text(MOST_CHARACTERS), MOST_ENTRIES).admits(value) and 1 <= sum(map(len, value)) <= MOST_CHARACTERS
    ),
)
# Even a short grammar can stall llama.cpp: then the watchdog ends the server.
grammar = Kind(
    f"a grammar of at most {_LONGEST_GRAMMAR} characters, without a repetition {{a,b}} whose a is larger than b",
    lambda value: (
        text(_LONGEST_GRAMMAR).admits(value)
        and all(int(low) <= int(high) for low, high in re.findall(r"\{\s*(\d+)\s*,\s*(\d+)\s*\}", value))
    ),
)
