"""The import path that ``model-settings.json`` files name: ``mlserver_llm_local.runtime.Local``."""

from llm_streaming.runtimes.local import Local

__all__ = ["Local"]
