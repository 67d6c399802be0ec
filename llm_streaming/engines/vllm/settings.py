"""The ``model_settings`` of the backend ``vllm``: vLLM's own arguments, and parameters for each request."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.settings import read_generate_kwargs, refuse_unknown
from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.errors import plain
from llm_streaming.paths import stays_inside

# Fields of vLLM's request that the engine sets itself.
_NOT_PARAMETERS = {"model", "stream", "stream_options", "request_id"}
# OpenAI's parameters that change nothing in an answer; vLLM does not know the last two.
UNSEEN = frozenset({"user", "metadata", "store"})
_KWARGS = "default_generate_kwargs"


@dataclass(frozen=True)
class VLLMSettings:
    """Settings that vLLM has accepted."""

    arguments: Namespace
    """The arguments as ``vllm serve`` reads them from its command line."""

    default_generate_kwargs: Mapping[str, Any]
    """Parameters for requests that do not set them."""

    parameters: frozenset[str]
    """The names of all parameters that a request may have."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], folder: Path) -> VLLMSettings:
        """Read the ``model_settings`` of a model-settings.json; values may be strings, as Seldon Core 2 hands them on.

        This imports vLLM: call it in a thread.

        Args:
            mapping: vLLM's arguments, in snake case, and ``default_generate_kwargs``; None stands for the default.
            folder: the folder in which relative paths of a model, a tokenizer or a chat template start.

        Raises:
            EngineError: a setting is unknown, its value does not fit, or a path leaves the folder.
        """
        given = {name: value for name, value in mapping.items() if value is not None}
        parameters = (frozenset(versions.chat_request().model_fields) - _NOT_PARAMETERS) | UNSEEN
        kwargs = read_generate_kwargs(given.pop(_KWARGS, {}), "vLLM", parameters)
        parser, known = _parser()
        refuse_unknown("vLLM", "setting", given, {*known, _KWARGS})
        model = str(given.get("model") or "")
        if not model:
            raise bad_request("The setting model is missing: name a folder, or a model of the Hugging Face hub.")
        # The name in answers; by default it would be a whole path.
        given.setdefault("served_model_name", Path(model).name if _is_path(model) else model)
        for name in ("model", "tokenizer", "chat_template"):
            if name in given:
                given[name] = in_folder(str(given[name]), folder)
        words = [word for name, value in given.items() for word in command_line(known[name], value)]
        return cls(parser.parse_args(words), kwargs, parameters)


def in_folder(value: str, folder: Path) -> str:
    """Resolve a path against the model's folder; a name on the Hugging Face hub and the text of a template stay.

    Raises:
        EngineError: the path leads out of the folder, or nowhere.
    """
    if any(sign in value for sign in "{}\n"):  # a chat template's own text
        return value
    relative = not Path(value).is_absolute() and Path(value) != Path()
    if relative and not stays_inside(folder, value):
        raise bad_request(f"{value} lies outside {folder}: name something inside it, or give an absolute path.")
    path = folder / value
    if path.exists():
        return str(path)
    if _is_path(value):
        raise bad_request(f"There is no {path}: put it there, or correct the setting.")
    return value


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./"))


def _parser() -> tuple[Any, dict[str, argparse.Action]]:
    """Make the parser of ``vllm serve`` and find its arguments, by name, for the engine and the chat layer.

    The arguments of vLLM's HTTP server are left out. The parser raises an exception instead of ending the process.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    def refuse(message: str) -> None:
        raise bad_request(f"vLLM refuses a setting: {plain(message)}.", "invalid_setting")

    module = versions.cli_args()
    parser = module.make_arg_parser(FlexibleArgumentParser())
    parser.error = refuse
    names = {field.name for kind in (AsyncEngineArgs, module.BaseFrontendArgs) for field in fields(kind)}
    actions = parser._actions  # noqa: SLF001 - argparse has no public list of its options
    return parser, {action.dest: action for action in actions if action.dest in names}


def command_line(action: argparse.Action, value: object) -> Iterator[str]:
    """Yield the words for a setting on the command line of ``vllm serve``; its value may be a string.

    Raises:
        EngineError: a flag is neither true nor false.
    """
    option = action.option_strings[0]
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    if action.nargs == 0:  # a flag, such as --enable-x, mostly with its --no-enable-x
        if not isinstance(value, bool):
            raise bad_request(f"The setting {action.dest} must be true or false, not {value!r}.", "invalid_setting")
        if value:
            yield option
        elif isinstance(action, argparse.BooleanOptionalAction):
            yield f"--no-{option.removeprefix('--')}"
    elif action.nargs == "+":
        yield option
        yield from map(_text, value if isinstance(value, list) else [value])
    else:
        yield f"{option}={_text(value)}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
