"""The process of the offline provider, which serves OpenAI's chat completions from the small model.

llama.cpp has a server of its own, but one request to that server can end or stall it. The engine of this package checks
each request first.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from llm_streaming.engines.base import Engine, bad_request
from llm_streaming.engines.departures import while_connected
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.mesh.embedded.offline_provider import KEY_VARIABLE, PORT_VARIABLE
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.protocol import json

# The small model rarely stops by itself. The max_tokens of a request overrides this limit.
_MAX_TOKENS = 256
_NOT_FOR_THE_ENGINE = {"model", "stream", "stream_options"}
_CLIENT_LEFT = 499  # nobody reads this status, because the client has disconnected


async def serve(port: int, key: str) -> None:
    """Serve the small model on loopback until the process is stopped. See `application` for the key."""
    config = uvicorn.Config(application(await _load(), key), host=LOOPBACK, port=port, log_level="warning")
    await uvicorn.Server(config).serve()


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
        try:
            given = request.headers.get("authorization", "")
            if not secrets.compare_digest(given.encode(), f"Bearer {key}".encode()):
                raise EngineError("The key is missing or wrong.", status=401, type="invalid_request_error")
            if isinstance(engine, EngineError):
                raise engine
            return await _answer(engine, request)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_LEFT)
        except ProtocolError as error:
            failure = bad_request(str(error))
        except EngineError as error:
            failure = error.with_traceback(None)  # the traceback of `engine` would keep its last request in memory
        headers = {"x-should-retry": "false"}  # OpenAI's clients read this
        return Response(orjson.dumps(failure.as_openai()), failure.status, headers, "application/json")

    completions = Route("/v1/chat/completions", chat_completions, methods=["POST"])
    return Starlette(routes=[Route("/health", health), completions])


async def _answer(engine: Engine, request: Request) -> Response:
    body = json.parse(await request.body(), dict, "the body", "a JSON object")
    asked = {name: value for name, value in body.items() if name not in _NOT_FOR_THE_ENGINE}
    if not body.get("stream"):
        completion = await while_connected(request, engine.complete(asked))
        return Response(orjson.dumps(completion), media_type="application/json")
    chunks = engine.stream(asked)
    # The status line is sent after the first chunk arrives, so that it can report a failure before it.
    first = await while_connected(request, anext(chunks))
    return StreamingResponse(_events(first, chunks), media_type="text/event-stream")


async def _events(first: dict[str, Any], chunks: AsyncGenerator[dict[str, Any], None]) -> AsyncIterator[bytes]:
    """Yield server-sent events. Starlette cancels this when the client disconnects, and with it the model's work."""
    try:
        async with aclosing(chunks):
            yield b"data: %b\n\n" % orjson.dumps(first)
            async for chunk in chunks:
                yield b"data: %b\n\n" % orjson.dumps(chunk)
        yield b"data: [DONE]\n\n"
    except EngineError as error:
        yield b"data: %b\n\n" % orjson.dumps(error.as_openai())


if __name__ == "__main__":
    asyncio.run(serve(int(os.environ[PORT_VARIABLE]), os.environ[KEY_VARIABLE]))
