"""Holds `Local`, where ``model-settings.json`` files look for it."""

from llm_streaming.runtimes.implementations import Local

__all__ = ["Local"]
