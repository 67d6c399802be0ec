"""The Local runtime: a model that runs in MLServer's own process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from llm_streaming.engines.base import Engine
from llm_streaming.errors import EngineError
from llm_streaming.runtimes.chat import ChatRuntime
from llm_streaming.runtimes.settings import LocalSettings, read_settings


class Local(ChatRuntime):
    """Answers chat requests with a model of its own, run by the backend that the settings name."""

    parameters_name = "kwargs"

    async def open_engine(self, extra: dict[str, Any] | None) -> Engine:
        """Load the model; minutes for a large one."""
        settings = read_settings(LocalSettings, extra)
        self.keep_alive = settings.config.keep_alive
        if settings.backend == "vllm":
            raise _no_vllm()
        from llm_streaming.engines.llamacpp import LlamaCppEngine
        from llm_streaming.engines.llamacpp_settings import LlamaCppSettings

        return await LlamaCppEngine.load(
            LlamaCppSettings.from_mapping(settings.config.model_settings), self._model_folder()
        )

    def _model_folder(self) -> Path:
        """The folder of ``model-settings.json``, where relative paths start."""
        source = self.settings._source  # MLServer keeps it nowhere else
        return Path(source).parent if source else Path.cwd()


def _no_vllm() -> EngineError:
    needs = "backend 'vllm' is not supported by this version of llm-streaming: use backend 'llamacpp'"
    if importlib.util.find_spec("vllm") is None:
        needs += (
            "; it will need the package vllm, which is not installed: on Linux with a GPU, `uv pip install --overrides "
            "requirements/vllm-overrides.txt -e '.[vllm]'` installs it"
        )
    return EngineError(needs, status=501)
