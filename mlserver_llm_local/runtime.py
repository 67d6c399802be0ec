"""The Local runtime's import path in ``model-settings.json`` files: ``mlserver_llm_local.runtime.Local``."""

from llm_streaming.runtimes.local import Local

__all__ = ["Local"]
