"""The import path that ``model-settings.json`` files name: ``mlserver_llm_api.LLMRuntime``."""

from llm_streaming.runtimes.api import LLMRuntime

__all__ = ["LLMRuntime"]
