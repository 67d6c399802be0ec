"""The API runtime's import path in ``model-settings.json`` files: ``mlserver_llm_api.LLMRuntime``."""

from llm_streaming.runtimes.api import LLMRuntime

__all__ = ["LLMRuntime"]
