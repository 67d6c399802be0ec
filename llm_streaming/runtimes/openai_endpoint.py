"""OpenAI's own API on a deployed model: ``/v2/models/<name>/infer_stream/chat/completions``, and ``/infer/…``.

On a cluster SC2's agent translates these paths (contract §2); without an agent, as on the embedded mesh, the runtime
serves them itself. Clients see one difference: here a failure has OpenAI's own status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, Protocol

import orjson
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from mlserver.handlers.custom import CustomHandler, register_custom_handler

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import ChatRequest
from llm_streaming.protocol.response import chunk_lines
from llm_streaming.runtimes.logs import log_failure
from llm_streaming.runtimes.metrics import count_malformed

Handler = Callable[[Request], Awaitable[Response]]
_Answer = Coroutine[Any, Any, Response]

_CLIENT_LEFT = 499  # nobody reads this status; it is for the metrics


class Runtime(Protocol):
    """The part of a runtime that the endpoints use."""

    @property
    def name(self) -> str:
        """The model's name."""

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Make a whole answer."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Stream an answer, from the engine's first chunk on."""


def openai_handlers(runtime: Runtime) -> tuple[Handler, Handler]:
    """Make the handlers of a model's two paths, for MLServer to find among the attributes of the runtime."""

    async def infer(request: Request) -> Response:
        return await _respond(request, runtime, _complete)

    async def infer_stream(request: Request) -> Response:
        return await _respond(request, runtime, _stream)

    for name, handler in (("infer", infer), ("infer_stream", infer_stream)):
        path = f"/v2/models/{runtime.name}/{name}/chat/completions"
        register_custom_handler(CustomHandler(rest_path=path), handler)
    return infer, infer_stream


async def _respond(
    request: Request, runtime: Runtime, answer: Callable[[Runtime, ChatRequest, bool], _Answer]
) -> Response:
    """Wait for the answer to begin, for a failure before that, or for the client to leave."""
    try:
        content = await request.body()
        with count_malformed(runtime.name):
            asked, usage = _read(content, runtime.name)
        response = await _while_connected(request, answer(runtime, asked, usage))
    except Exception as failure:  # noqa: BLE001 - the client is told of every failure
        error = log_failure(failure)
        headers = {"retry-after": f"{error.retry_after:g}"} if error.retry_after is not None else None
        return Response(orjson.dumps(error.as_openai()), error.status, headers, "application/json")
    return response or Response(status_code=_CLIENT_LEFT)


async def _complete(runtime: Runtime, request: ChatRequest, _: bool) -> Response:
    return Response(orjson.dumps(await runtime.complete(request)), media_type="application/json")


async def _stream(runtime: Runtime, request: ChatRequest, usage: bool) -> Response:
    events = _events(runtime, request, usage)
    await anext(events)  # the status line waits for the engine's first chunk, because it has to report a failure
    return StreamingResponse(events, media_type="text/event-stream")


async def _events(runtime: Runtime, request: ChatRequest, usage: bool) -> AsyncGenerator[bytes, None]:
    """Yield nothing (``b""``) once the engine has begun to answer, and then server-sent events as OpenAI sends them.

    A failure after the beginning is an event, without a ``[DONE]`` after it.

    Raises:
        Exception: the engine has failed before it began.
    """
    begun = False
    try:
        async with aclosing(runtime.stream(request)) as batches:
            async for chunks in batches:
                if not begun:
                    begun = True
                    yield b""
                wanted = [chunk for chunk in chunks if usage or chunk.get("choices")]
                if wanted:
                    yield b"".join(b"data: %b\n\n" % line for chunk in wanted for _, line in chunk_lines(chunk))
        yield b"data: [DONE]\n\n"
    except Exception as error:
        if not begun:
            raise
        yield b"data: %b\n\n" % orjson.dumps(log_failure(error).as_openai())


def _read(content: bytes, model: str) -> tuple[ChatRequest, bool]:
    """Read a body.

    Returns:
        The request, and whether the client asked for the usage.

    Raises:
        EngineError: the body is malformed, or names another model.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise _bad_request("the body must be a JSON object")
    options = body.get("stream_options")
    if not isinstance(options, dict | None):
        raise _bad_request("stream_options must be an object")
    if body.get("model") != model:
        raise _bad_request(f"the body asks for model {body.get('model')!r}, and this is the path of '{model}'")
    try:
        return ChatRequest.from_openai(body), bool(options and options.get("include_usage"))
    except ProtocolError as error:
        raise _bad_request(str(error)) from None


def _bad_request(message: str) -> EngineError:
    return EngineError(message, status=400, type="invalid_request_error")


async def _while_connected(request: Request, answer: _Answer) -> Response | None:
    """Wait for an answer as long as the client is connected; None when the client has left."""
    working, leaving = asyncio.create_task(answer), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Return when the client has left; its body has been read, so it sends nothing else."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
