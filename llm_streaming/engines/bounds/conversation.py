"""The limits of a request's messages and tools."""

from __future__ import annotations

import re
from typing import Any

import orjson

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.schema import NewSchemaReader, SchemaReader
from llm_streaming.engines.bounds.values import Reader

_TOKENS_OF_A_MESSAGE = 4  # each message costs at least four tokens in a chat template
_CHARACTERS_OF_A_TOKEN = 64  # a longer text cannot fit, so it is refused before it is tokenized
_MEDIA = {"image_url", "input_audio", "audio_url", "video_url"}
_MOST_TOOLS = 128
_MOST_BYTES = 128 * 1024  # of the JSON of all tools
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def messages(context: int) -> Reader:
    """Return the reader of messages that can fit into a context of so many tokens. It never quotes their content."""
    most = max(1, context // _TOKENS_OF_A_MESSAGE)
    most_characters = _CHARACTERS_OF_A_TOKEN * context

    def read(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
            raise bad_request(f"{name} is not a list of objects: give a list of messages.")
        if len(value) > most:
            raise bad_request(f"{name} has {len(value)} messages: a context of {context} tokens holds at most {most}.")
        if (characters := _characters(value)) > most_characters:
            raise bad_request(
                f"{name} has {characters} characters, and a context of {context} tokens holds at most "
                f"{most_characters}: shorten the messages.",
                "context_length_exceeded",
            )
        return value

    return read


def _characters(value: Any) -> int:  # noqa: ANN401 - JSON
    """Count the characters of all texts in messages, without images, sounds and videos."""
    if isinstance(value, dict):
        return sum(_characters(item) for name, item in value.items() if name not in _MEDIA)
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str) else 0


def tools(new_schema_reader: NewSchemaReader) -> Reader:
    """Return the reader of OpenAI's tools. Their schemas are checked even if the model may not call a tool."""

    def read(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(value, list) or len(value) > _MOST_TOOLS:
            raise bad_request(f"{name} is not a list of at most {_MOST_TOOLS} tools: give one.")
        if len(orjson.dumps(value)) > _MOST_BYTES:
            raise bad_request(f"{name} has more than {_MOST_BYTES} bytes: send fewer tools.")
        schemas = new_schema_reader(name)
        return [_read_tool(f"{name}[{index}]", tool, schemas) for index, tool in enumerate(value)]

    return read


def _read_tool(where: str, tool: Any, schemas: SchemaReader) -> Any:  # noqa: ANN401 - JSON
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        raise bad_request(f'{where} is not a function: give {{"type": "function", "function": {{"name": …}}}}.')
    if not isinstance(function.get("name"), str) or not _NAME.fullmatch(function["name"]):
        raise bad_request(f"{where} has no usable name: give 1 to 64 letters, digits, dots, hyphens and underscores.")
    if function.get("parameters") is None:
        return tool
    return {**tool, "function": {**function, "parameters": schemas.read(function["parameters"])}}
