"""OpenAI's API for a deployed model: ``/v2/models/<name>/infer_stream/chat/completions``, and ``/infer/…``.

On a cluster SC2's agent translates requests to these paths (contract §2). Without an agent, as on the embedded mesh,
the runtime serves the paths itself and, unlike the agent, reports a failure with OpenAI's HTTP status (contract §3).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from mlserver.handlers.custom import CustomHandler, register_custom_handler
from starlette.requests import ClientDisconnect

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.departures import while_connected
from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatRequest, json
from llm_streaming.protocol.json import unexpected
from llm_streaming.protocol.response import chunk_lines
from llm_streaming.runtimes.logs import log_failure
from llm_streaming.runtimes.metrics import count_malformed

_Chunks = list[dict[str, Any]]
Handler = Callable[[Request], Awaitable[Response]]
Complete = Callable[[ChatRequest], Awaitable[dict[str, Any]]]
Stream = Callable[[ChatRequest], AsyncGenerator[_Chunks, None]]
_Answer = Coroutine[Any, Any, Response]

_CLIENT_LEFT = 499  # seen only in metrics, because the client has disconnected


def openai_handlers(model: str, complete: Complete, stream: Stream) -> tuple[Handler, Handler]:
    """Create the handlers for a model's two paths, which MLServer finds among the attributes of the runtime."""

    async def infer(request: Request) -> Response:
        return await _respond(request, model, partial(_complete, complete))

    async def infer_stream(request: Request) -> Response:
        return await _respond(request, model, partial(_stream, stream))

    for name, handler in (("infer", infer), ("infer_stream", infer_stream)):
        register_custom_handler(CustomHandler(rest_path=f"/v2/models/{model}/{name}/chat/completions"), handler)
    return infer, infer_stream


async def _respond(request: Request, model: str, answer: Callable[[ChatRequest, bool], _Answer]) -> Response:
    """Return a response once the answer begins, fails before that, or the client disconnects."""
    try:
        content = await request.body()
        with count_malformed(model):
            asked, usage = _read(content, model)
        return await while_connected(request, answer(asked, usage))
    except ClientDisconnect:
        return Response(status_code=_CLIENT_LEFT)
    except Exception as failure:  # noqa: BLE001 - every failure is reported to the client
        error = log_failure(failure)
        headers = {"retry-after": f"{error.retry_after:g}"} if error.retry_after is not None else None
        return Response(orjson.dumps(error.as_openai()), error.status, headers, "application/json")


async def _complete(complete: Complete, request: ChatRequest, _: bool) -> Response:
    return Response(orjson.dumps(await complete(request)), media_type="application/json")


async def _stream(stream: Stream, request: ChatRequest, usage: bool) -> Response:
    batches = stream(request)
    # The status line is sent after the first chunks arrive, so that it can report a failure before them.
    first: _Chunks = await anext(batches, [])
    return StreamingResponse(_events(first, batches, usage), media_type="text/event-stream")


async def _events(first: _Chunks, batches: AsyncGenerator[_Chunks, None], usage: bool) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events in OpenAI's format; after a failure the last event is the error, not ``[DONE]``."""
    try:
        async with aclosing(batches):
            yield _lines(first, usage)
            async for chunks in batches:
                yield _lines(chunks, usage)
        yield b"data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - every failure is reported to the client
        yield b"data: %b\n\n" % orjson.dumps(log_failure(error).as_openai())


def _lines(chunks: _Chunks, usage: bool) -> bytes:
    wanted = [chunk for chunk in chunks if usage or chunk.get("choices")]
    return b"".join(b"data: %b\n\n" % line for chunk in wanted for _, line in chunk_lines(chunk))


def _read(content: bytes, model: str) -> tuple[ChatRequest, bool]:
    """Parse the request body, and return the request and whether the client asked for the usage."""
    try:
        body = json.parse(content, dict, "the body", "a JSON object")
        options = body.get("stream_options")
        if not isinstance(options, dict | None):
            raise unexpected("stream_options", "an object", options)
        if body.get("model") != model:
            raise unexpected("model", f"'{model}', as in the path", body.get("model"))
        return ChatRequest.from_openai(body), bool(options and options.get("include_usage"))
    except ProtocolError as error:
        raise bad_request(str(error)) from None
