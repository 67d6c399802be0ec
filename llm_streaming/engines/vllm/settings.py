"""The ``model_settings`` of the backend ``vllm``: vLLM's own arguments, and default values of request parameters."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.parameters import UNSEEN, vllm_parameters
from llm_streaming.engines.bounds.values import Reader, refused
from llm_streaming.engines.settings import read_generate_kwargs, refuse_unknown
from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.errors import plain
from llm_streaming.paths import stays_inside

# Fields of vLLM's request class that the engine sets itself, so that they are not parameters.
_NOT_PARAMETERS = {"model", "stream", "stream_options", "request_id"}
_KWARGS, _ALLOW = "default_generate_kwargs", "allow_grammar"
_NOT_FOR_REQUESTS = refused("it can cost other users their answers; leave it out")


@dataclass(frozen=True)
class VLLMSettings:
    """Settings that vLLM has accepted."""

    arguments: Namespace
    """The parsed arguments, in the form that ``vllm serve`` gets from its command line."""

    default_generate_kwargs: Mapping[str, Any]
    """Default values of request parameters."""

    parameters: frozenset[str]
    """The names of all parameters that vLLM knows."""

    allow_grammar: bool
    """Whether a request's ``structured_outputs`` may contain a grammar."""

    def readers(self, context: int, unfollowed: set[str]) -> dict[str, Reader]:
        """Return the reader of each parameter.

        Parameters that only whoever runs vLLM should set are refused, and those of later releases, too.

        Args:
            context: the most tokens of one request.
            unfollowed: gets the keywords of schemas that vLLM does not follow.
        """
        own = vllm_parameters(context, allow_grammar=self.allow_grammar, unfollowed=unfollowed)
        return {name: own.get(name, _NOT_FOR_REQUESTS) for name in self.parameters}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], folder: Path) -> VLLMSettings:
        """Read the ``model_settings`` of a model-settings.json. Seldon Core 2 passes some values as strings.

        Call this in a thread, because it imports vLLM, which takes about 10 s.

        Args:
            mapping: vLLM's arguments, in snake case, ``default_generate_kwargs`` and ``allow_grammar``; None means the
                default.
            folder: the base folder for relative paths of the model, tokenizer and chat template.

        Raises:
            EngineError: a setting is unknown or has an invalid value, or a relative path points outside the folder.
        """
        given = {name: value for name, value in mapping.items() if value is not None}
        parameters = (frozenset(versions.chat_request().model_fields) - _NOT_PARAMETERS) | UNSEEN
        kwargs = read_generate_kwargs(given.pop(_KWARGS, {}), "vLLM", parameters)
        allow_grammar = given.pop(_ALLOW, False)
        if not isinstance(allow_grammar, bool):
            raise bad_request(f"The setting {_ALLOW} must be true or false, not {allow_grammar!r}.", "invalid_setting")
        parser, known = _parser()
        refuse_unknown("vLLM", "setting", given, {*known, _KWARGS, _ALLOW})
        model = str(given.get("model") or "")
        if not model:
            raise bad_request("The setting model is missing: set it to a folder or to a model on the Hugging Face hub.")
        # The model's name in chunks, which by default is the whole path.
        given.setdefault("served_model_name", Path(model).name if _is_path(model) else model)
        for name in ("model", "tokenizer", "chat_template"):
            if name in given:
                given[name] = in_folder(str(given[name]), folder)
        words = [word for name, value in given.items() for word in command_line(known[name], value)]
        return cls(parser.parse_args(words), kwargs, parameters, allow_grammar)


def in_folder(value: str, folder: Path) -> str:
    """Resolve a path against `folder`. Return names on the Hugging Face hub, and texts of templates, unchanged.

    Raises:
        EngineError: the path points outside the folder, or does not exist.
    """
    if any(sign in value for sign in "{}\n"):  # the text of a chat template
        return value
    relative = not Path(value).is_absolute() and Path(value) != Path()
    if relative and not stays_inside(folder, value):
        raise bad_request(f"{value} lies outside {folder}: name something inside it, or give an absolute path.")
    path = folder / value
    if path.exists():
        return str(path)
    if _is_path(value):
        raise bad_request(f"{path} does not exist: create it, or correct the setting.")
    return value


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./"))


def _parser() -> tuple[Any, dict[str, argparse.Action]]:
    """Return the parser of ``vllm serve``, and those of its arguments that the engine and the chat layer use, by name.

    The arguments for vLLM's HTTP server are left out. The parser raises an exception instead of exiting.
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
    """Yield the command-line words of ``vllm serve`` for one setting. Any value may be given as a string.

    Raises:
        EngineError: the setting is a flag, and its value is neither true nor false.
    """
    option = action.option_strings[0]
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    if action.nargs == 0:  # a flag, such as --enable-x; most flags also have --no-enable-x
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
