"""What streams OpenAI chat-completion chunks: a provider's API, or a model in this process.

Only the interface is imported here: each engine's module imports a heavy package, so name the module that you need.
"""

from __future__ import annotations

from llm_streaming.engines.base import Engine

__all__ = ["Engine"]
