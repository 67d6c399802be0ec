"""What ``model_settings`` holds for the backend ``vllm``: vLLM's own arguments, and parameters for each request."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from llm_streaming.engines.errors import bad_request, refuse_unknown
from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.errors import plain

# Which of a request's fields are not a matter of the request here: where it goes, how it is answered, its name.
_NOT_PARAMETERS = {"model", "stream", "stream_options", "request_id"}
# They ask for nothing that could show in an answer, and vLLM does not know the last two.
UNSEEN = frozenset({"user", "metadata", "store"})
_KWARGS = "default_generate_kwargs"


@dataclass(frozen=True)
class VLLMSettings:
    """Settings that vLLM has accepted."""

    arguments: Namespace
    """What ``vllm serve`` would have read of its command line."""

    default_generate_kwargs: Mapping[str, Any]
    """Parameters that go under those of each request."""

    parameters: frozenset[str]
    """The names of all parameters that a request may have."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], folder: Path) -> VLLMSettings:
        """Read settings as a model-settings.json has them, or as Seldon Core 2 hands them on, which is as strings.

        Imports vLLM: call it in a thread.

        Args:
            mapping: vLLM's arguments under their own names, in snake case, and ``default_generate_kwargs``; None
                stands for the default.
            folder: where relative paths of a model, a tokenizer or a chat template start.

        Raises:
            EngineError: there is no such setting, its value does not fit, or a path leaves the folder.
        """
        given = {name: value for name, value in mapping.items() if value is not None}
        kwargs = _mapping(given.pop(_KWARGS, {}))
        parameters = frozenset(versions.chat_request().model_fields) - _NOT_PARAMETERS | UNSEEN
        refuse_unknown("vLLM", "parameter", kwargs, parameters)
        parser = _parser()
        actions = parser._actions  # noqa: SLF001 - argparse has no public list of its options
        known = {action.dest: action for action in actions if action.dest in _names()}
        refuse_unknown("vLLM", "setting", given, {*known, _KWARGS})
        if not isinstance(given.get("model"), str) or not given["model"]:
            raise bad_request("The setting model is missing: name a folder, or a model of the Hugging Face hub.")
        # What answers name; by default that would be a whole path.
        given.setdefault("served_model_name", Path(given["model"]).name if _is_path(given["model"]) else given["model"])
        for name in ("model", "tokenizer", "chat_template"):
            if name in given:
                given[name] = in_folder(str(given[name]), folder)
        line = [word for name, value in given.items() for word in _words(known[name], value)]
        return cls(parser.parse_args(line), kwargs, parameters)


def in_folder(value: str, folder: Path) -> str:
    """A setting that may be the path of something in the model's folder, which it is if there is such a thing.

    Raises:
        EngineError: the path leads out of the folder, or nowhere.
    """
    if any(sign in value for sign in "{}\n"):  # a chat template's own text
        return value
    # By its wording, because an entry of the folder may be a link to where large files are kept.
    if not Path(value).is_absolute() and ".." in Path(value).parts:
        raise bad_request(f"{value} lies outside {folder}: name something inside it, or give an absolute path.")
    path = folder / value
    if path.exists():
        return str(path)
    if _is_path(value):
        raise bad_request(f"There is no {path}: put it there, or correct the setting.")
    return value


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./"))


def _mapping(value: object) -> dict[str, Any]:
    try:
        parameters = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, dict):
        raise bad_request(f"The setting {_KWARGS} must be a mapping of parameters, not {value!r}.", "invalid_setting")
    return parameters


def _names() -> set[str]:
    """The arguments of the engine and of the chat layer, and none of those that set up vLLM's HTTP server."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    return {field.name for kind in (AsyncEngineArgs, versions.cli_args().BaseFrontendArgs) for field in fields(kind)}


def _parser() -> Any:  # noqa: ANN401 - a class of vLLM
    """The parser of ``vllm serve``, which raises where that would end the process."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = versions.cli_args().make_arg_parser(FlexibleArgumentParser())

    def refuse(message: str) -> None:
        raise bad_request(f"vLLM refuses a setting: {plain(message)}.", "invalid_setting")

    parser.error = refuse
    return parser


def _words(action: argparse.Action, value: object) -> Iterator[str]:
    """A setting as ``vllm serve`` reads it on its command line, where everything is a string."""
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
