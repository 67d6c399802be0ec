"""The server of the offline provider: OpenAI's chat completions from a small model.

`OfflineProvider` runs this module as a separate process. llama.cpp has a server of its own, but one request to that
server can end or stall it; the engine of this package checks each request first.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llm_streaming.engines.base import Engine
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.mesh.embedded.offline_provider import KEY_VARIABLE, PORT_VARIABLE
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.protocol import json
from llm_streaming.protocol.chunks import accumulate

# The small model rarely stops by itself. The max_tokens of a request overrides this limit.
_MAX_TOKENS = 256


def main() -> None:
    """Serve OpenAI's chat completions until the process is stopped."""
    asyncio.run(_serve(int(os.environ[PORT_VARIABLE]), os.environ[KEY_VARIABLE]))


async def _serve(port: int, key: str) -> None:
    app = application(await _load(), key)
    await uvicorn.Server(uvicorn.Config(app, host=LOOPBACK, port=port, log_level="warning")).serve()


async def _load() -> Engine | EngineError:
    """Return the small model, or the error for each request, so that the mesh starts for those who use other models."""
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

    async def health(_: Request) -> Response:
        return Response()

    async def chat_completions(request: Request) -> Response:
        if not secrets.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {key}".encode()):
            raise EngineError("the key is missing or wrong", status=401, type="invalid_request_error")
        if isinstance(engine, EngineError):
            return await refusal(request, engine)  # raising it for each request would make its traceback ever longer
        body = json.parse(await request.body(), dict, "the body", "a JSON object")
        streamed, _ = body.pop("stream", False), body.pop("stream_options", None)
        chunks = engine.stream({name: value for name, value in body.items() if name != "model"})
        first = await anext(chunks)  # before the status line is sent, so that it can report a failure
        # Starlette cancels a streaming response when the client disconnects, and with it the model's work.
        if streamed:
            return StreamingResponse(_events(first, chunks), media_type="text/event-stream")
        return StreamingResponse(_whole(first, chunks), media_type="application/json")

    async def refusal(_: Request, error: Exception) -> Response:
        if not isinstance(error, EngineError):
            error = EngineError(str(error), status=400, type="invalid_request_error")
        headers = {"x-should-retry": "false"}  # OpenAI's clients read this
        return Response(orjson.dumps(error.as_openai()), error.status, headers, "application/json")

    return Starlette(
        routes=[Route("/health", health), Route("/v1/chat/completions", chat_completions, methods=["POST"])],
        exception_handlers={EngineError: refusal, ProtocolError: refusal},
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
