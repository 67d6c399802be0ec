"""An OpenAI-compatible provider for machines without a key: llama.cpp's own server, with the small model.

The embedded mesh runs this module as a process of its own. Port and key reach it through the environment, so that the
key stands in no command line that others on the machine can read.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.mesh.embedded.environment import inherited
from llm_streaming.mesh.processes.group import Process
from llm_streaming.mesh.processes.ports import LOOPBACK

_PORT = "LLM_STREAMING_PROVIDER_PORT"
_KEY = "LLM_STREAMING_PROVIDER_KEY"

NOTICE = (
    "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: OpenAI's API is stood in for by llama.cpp's server with "
    "SmolLM2-135M-Instruct, on this machine."
)
"""What the user is told where it stands in."""

# The small model rarely comes to an end by itself; a request's own max_tokens goes before this.
_MAX_TOKENS = 256


def is_needed(environment: Mapping[str, str]) -> bool:
    """Whether an OpenAI runtime in this environment would have nobody to ask."""
    return not (environment.get("OPENAI_BASE_URL") or environment.get("OPENAI_API_KEY"))


@dataclass(frozen=True)
class OfflineProvider:
    """A provider on a port of loopback, open to those who hold its key."""

    port: int
    key: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @property
    def origin(self) -> str:
        """Its address, without a path."""
        return f"http://{LOOPBACK}:{self.port}"

    def environment(self) -> dict[str, str]:
        """What points OpenAI's clients at it."""
        return {"OPENAI_BASE_URL": f"{self.origin}/v1", "OPENAI_API_KEY": self.key}

    def process(self) -> Process:
        """How to start it."""
        environment = {**inherited(), _PORT: str(self.port), _KEY: self.key}
        return Process("provider", [sys.executable, "-m", "llm_streaming.mesh.embedded.offline_provider"], environment)


def main() -> None:
    """Serve OpenAI's API until the process is ended."""
    import xllamacpp

    from llm_streaming.engines.llamacpp.engine import server_params
    from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

    settings = LlamaCppSettings()
    params = server_params(small_model_path(), settings)
    params.port = int(os.environ[_PORT])
    params.api_keys = [os.environ[_KEY]]
    params.n_predict = _MAX_TOKENS
    params.sampling.seed = settings.seed  # the same question gets the same answer, run after run
    server = xllamacpp.Server(params)
    print(f"serving on {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
