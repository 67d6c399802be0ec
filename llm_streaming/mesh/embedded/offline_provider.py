"""An OpenAI-compatible provider for machines without an API key: llama.cpp's own server, with a small model.

The embedded mesh runs this module as a separate process. The process reads its port and its key from environment
variables, because every user of the machine can read command lines.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from dataclasses import dataclass, field

from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK

_PORT = "LLM_STREAMING_PROVIDER_PORT"
_KEY = "LLM_STREAMING_PROVIDER_KEY"

NOTICE = (
    "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: using a small local model, SmolLM2-135M-Instruct, instead of "
    "OpenAI."
)
"""The message to the user when a mesh starts the offline provider."""

# The small model rarely stops by itself. The max_tokens of a request overrides this limit.
_MAX_TOKENS = 256


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
        environment = {**inherited(), _PORT: str(self.port), _KEY: self.key}
        return Process("provider", [sys.executable, "-m", "llm_streaming.mesh.embedded.offline_provider"], environment)


def main() -> None:
    """Serve OpenAI's API until the process is stopped."""
    import xllamacpp

    from llm_streaming.engines.llamacpp.engine import server_params
    from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

    settings = LlamaCppSettings()
    params = server_params(small_model_path(), settings)
    params.port = int(os.environ[_PORT])
    params.api_keys = [os.environ[_KEY]]
    params.n_predict = _MAX_TOKENS
    params.sampling.seed = settings.seed  # the same question gets the same answer in every run
    server = xllamacpp.Server(params)
    print(f"serving on {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
