"""The OpenAI-compatible provider for machines without an API key: whether it is needed, and its process."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field

from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK

PORT_VARIABLE = "LLM_STREAMING_PROVIDER_PORT"
KEY_VARIABLE = "LLM_STREAMING_PROVIDER_KEY"

NOTICE = (
    "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: using a small local model, SmolLM2-135M-Instruct, instead of "
    "OpenAI."
)
"""The message to the user when a mesh starts the offline provider."""


def is_needed(server: Server) -> bool:
    """Return whether a Server calls OpenAI's API, but has neither a key nor the address of another provider."""
    environment = {**os.environ, **server.env}
    provided = environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_KEY")
    return "openai" in server.capabilities and not provided


@dataclass(frozen=True)
class OfflineProvider:
    """The provider: its port on loopback, and the key that each request must contain."""

    port: int
    key: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @property
    def origin(self) -> str:
        """The provider's URL, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make OpenAI's clients use the provider."""
        return {"OPENAI_BASE_URL": f"{self.origin}/v1", "OPENAI_API_KEY": self.key}

    def process(self) -> Process:
        """Return the process to start. It reads its key from a variable, because every user can read command lines."""
        environment = {**inherited(), PORT_VARIABLE: str(self.port), KEY_VARIABLE: self.key}
        return Process("provider", [sys.executable, "-m", "llm_streaming.mesh.embedded.provider_server"], environment)
