"""The API runtime: a provider's model behind OpenAI's API."""

from __future__ import annotations

from typing import Any

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.runtimes.chat import ChatRuntime
from llm_streaming.runtimes.settings import APISettings, read_settings


class LLMRuntime(ChatRuntime):
    """A runtime that relays chat requests to OpenAI, or to any other server with OpenAI's API."""

    parameters_name = "llm_parameters"

    async def open_engine(self, extra: dict[str, Any] | None) -> OpenAIEngine:
        """Create a client for the provider that the settings name; no request is sent yet."""
        config = read_settings(APISettings, extra).config
        self.keep_alive = config.keep_alive
        return OpenAIEngine(
            config.model_id,
            base_url=config.base_url,
            timeout=config.timeout,
            max_retries=config.max_retries,
            default_parameters=config.llm_parameters,
        )
