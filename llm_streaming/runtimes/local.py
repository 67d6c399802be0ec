"""The Local runtime: a model that runs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_streaming.engines.base import Engine
from llm_streaming.errors import EngineError
from llm_streaming.runtimes.chat import ChatRuntime
from llm_streaming.runtimes.settings import LocalSettings, read_settings

_UNSUPPORTED = {
    "deepspeed": "'vllm', which runs the same models",
    "transformers": "'vllm' with the setting model_impl 'transformers', which runs the model with Transformers' code",
}


class Local(ChatRuntime):
    """A runtime that runs its model on this machine, with the backend that the settings name."""

    parameters_name = "kwargs"

    async def open_engine(self, extra: dict[str, Any] | None) -> Engine:
        """Load the model; loading a large model takes minutes."""
        settings = read_settings(LocalSettings, extra)
        self.keep_alive = settings.config.keep_alive
        folder, model_settings = self._model_folder(), settings.config.model_settings
        if settings.backend == "vllm":
            from llm_streaming.engines.vllm.engine import VLLMEngine

            return await VLLMEngine.load(model_settings, folder)
        if advice := _UNSUPPORTED.get(settings.backend):
            raise EngineError(f"backend '{settings.backend}' is not supported: use {advice}", status=422)
        from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
        from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

        return await LlamaCppEngine.load(LlamaCppSettings.from_mapping(model_settings), folder)

    def _model_folder(self) -> Path:
        """Return the folder of ``model-settings.json``, which is the base folder for relative paths."""
        source = self.settings._source  # noqa: SLF001 - MLServer has no public attribute for the path
        return Path(source).parent if source else Path.cwd()
