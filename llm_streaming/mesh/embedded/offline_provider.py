"""An OpenAI-compatible provider for machines without an API key, with a small model.

The embedded mesh runs `llm_streaming.mesh.embedded.offline_server` as a separate process, which reads its port and its
key from environment variables, because every user of the machine can read command lines.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field

from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK

PORT_VARIABLE, KEY_VARIABLE = "LLM_STREAMING_PROVIDER_PORT", "LLM_STREAMING_PROVIDER_KEY"
"""The environment variables of the provider's process."""

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
        """Return the process to start."""
        environment = {**inherited(), PORT_VARIABLE: str(self.port), KEY_VARIABLE: self.key}
        return Process("provider", [sys.executable, "-m", "llm_streaming.mesh.embedded.offline_server"], environment)
