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
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NoReturn

import orjson

from llm_streaming.engines.llamacpp.model_file import small_model_path
from llm_streaming.errors import EngineError
from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK

if TYPE_CHECKING:
    import xllamacpp

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
    """Serve OpenAI's API until the process is stopped. If the model cannot be used, each answer says why."""
    try:
        server = _load()
    except EngineError as error:
        print(error, flush=True)
        _serve_error(error)
    print(f"serving on {server.listening_address}", flush=True)
    threading.Event().wait()


def _load() -> xllamacpp.Server:
    from llm_streaming.engines.llamacpp.engine import load_server, server_params
    from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

    settings = LlamaCppSettings()
    params = server_params(small_model_path(), settings)
    params.port = int(os.environ[_PORT])
    params.api_keys = [os.environ[_KEY]]
    params.n_predict = _MAX_TOKENS
    params.sampling.seed = settings.seed  # the same question gets the same answer in every run
    return load_server(params)


def _serve_error(error: EngineError) -> NoReturn:
    """Answer every request with an error, so that the mesh starts for those who do not use the provider."""
    message = f"Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set, and the small local model cannot be used: {error}"
    body = orjson.dumps(EngineError(message, code="no_model").as_openai())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE)

        def _answer(self, status: HTTPStatus) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.send_header("x-should-retry", "false")  # OpenAI's clients read this
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer((LOOPBACK, int(os.environ[_PORT])), Handler) as server:
        server.serve_forever()
    raise error


if __name__ == "__main__":
    main()
