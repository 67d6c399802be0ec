"""An OpenAI-compatible provider for machines without an API key, with a small model.

The embedded mesh runs this module as a separate process. The process reads its port and its key from environment
variables, because every user of the machine can read command lines. llama.cpp has a server of its own, but one request
to that server can end or stall it; the engine of this package checks each request first.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.manifests import Server
from llm_streaming.mesh.processes.group import Process, inherited
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.protocol import json
from llm_streaming.protocol.chunks import accumulate

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from llm_streaming.engines.base import Engine

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
    """Serve OpenAI's chat completions until the process is stopped."""
    asyncio.run(_serve(int(os.environ[_PORT]), os.environ[_KEY]))


async def _serve(port: int, key: str) -> None:
    import uvicorn

    app = application(await _load(), key)
    await uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning")).serve()


async def _load() -> Engine | EngineError:
    """Return the small model, or the error for each request, so that the mesh starts for those who use other models."""
    from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
    from llm_streaming.engines.llamacpp.settings import LlamaCppSettings

    try:
        settings = LlamaCppSettings(default_generate_kwargs={"max_tokens": _MAX_TOKENS})
        return await LlamaCppEngine.load(settings, Path())
    except EngineError as error:
        print(error, flush=True)
        reason = f"Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set, and the small local model cannot be used: {error}"
        return EngineError(reason, status=503, code="no_model")


def application(engine: Engine | EngineError, key: str) -> Starlette:
    """Return the ASGI application that answers ``/v1/chat/completions`` and ``/health``.

    Args:
        engine: the model, or the error with which every request is answered.
        key: the key that each request must have.
    """
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    async def health(_: Request) -> Response:
        return Response()

    async def chat_completions(request: Request) -> Response:
        try:
            sent = request.headers.get("authorization", "")
            if not secrets.compare_digest(sent.encode(), f"Bearer {key}".encode()):
                raise EngineError("the key is missing or wrong", status=401, type="invalid_request_error")
            if isinstance(engine, EngineError):
                raise engine
            body = json.parse(await request.body(), dict, "the body", "a JSON object")
            streamed, _ = body.pop("stream", False), body.pop("stream_options", None)
            chunks = engine.stream({name: value for name, value in body.items() if name != "model"})
            first = await anext(chunks)  # before the status line is sent, so that it can report a failure
        except ProtocolError as error:
            return refusal(EngineError(str(error), status=400, type="invalid_request_error"))
        except EngineError as error:
            return refusal(error)
        # Starlette cancels a streaming response when the client disconnects, and with it the model's work.
        if streamed:
            return StreamingResponse(_events(first, chunks), media_type="text/event-stream")
        return StreamingResponse(_whole(first, chunks), media_type="application/json")

    def refusal(error: EngineError) -> Response:
        headers = {"x-should-retry": "false"}  # OpenAI's clients read this
        return Response(orjson.dumps(error.as_openai()), error.status, headers, "application/json")

    return Starlette(
        routes=[Route("/health", health), Route("/v1/chat/completions", chat_completions, methods=["POST"])]
    )


async def _events(first: dict[str, Any], chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    yield b"data: %b\n\n" % orjson.dumps(first)
    try:
        async for chunk in chunks:
            yield b"data: %b\n\n" % orjson.dumps(chunk)
        yield b"data: [DONE]\n\n"
    except EngineError as error:
        yield b"data: %b\n\n" % orjson.dumps(error.as_openai())


async def _whole(first: dict[str, Any], chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    try:
        yield orjson.dumps(accumulate([first, *[chunk async for chunk in chunks]]))
    except EngineError as error:
        yield orjson.dumps(error.as_openai())


if __name__ == "__main__":
    main()
