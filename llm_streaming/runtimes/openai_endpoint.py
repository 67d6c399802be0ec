"""OpenAI's own API on a deployed model: ``/v2/models/<name>/infer_stream/chat/completions``, and ``/infer/…``.

On a cluster SC2's agent translates these paths (contract §2); where there is no agent, the runtime serves them itself.
A client can tell the two apart by one thing: here a failure has OpenAI's own status.
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

from llm_streaming.engines.base import Engine
from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol import ChatRequest, Tensor, decode_request, encode_chunk, encode_request
from llm_streaming.runtimes.keep_alive import with_keep_alives
from llm_streaming.runtimes.logs import log_failure
from llm_streaming.runtimes.metrics import counted_refusals

Handler = Callable[[Request], Awaitable[Response]]
_Answer = Coroutine[Any, Any, Response]

_CLIENT_LEFT = 499  # nobody reads it; it is for the metrics


class Runtime(Protocol):
    """What the endpoints need of a runtime."""

    keep_alive: float

    @property
    def name(self) -> str:
        """The model's name."""

    def opened(self) -> Engine:
        """The engine."""


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
    """Wait for an answer, for what went wrong before it began, or for the client to leave."""
    try:
        content = await request.body()
        with counted_refusals(runtime.name):
            body = _read(content)
            asked, usage = _decode(runtime, body), bool((body.get("stream_options") or {}).get("include_usage"))
        response = await _while_connected(request, answer(runtime, asked, usage))
    except Exception as failure:  # noqa: BLE001 - whatever it is, the client has to hear of it
        error = log_failure(failure)
        headers = {"retry-after": f"{error.retry_after:g}"} if error.retry_after is not None else None
        return Response(orjson.dumps(error.as_openai()), error.status, headers, "application/json")
    return response or Response(status_code=_CLIENT_LEFT)


async def _complete(runtime: Runtime, request: ChatRequest, _: bool) -> Response:
    return Response(await runtime.opened().complete(request.as_openai()), media_type="application/json")


async def _stream(runtime: Runtime, request: ChatRequest, usage: bool) -> Response:
    """The answer from its first chunk on: the status line waits for it, because it may have to say what went wrong."""
    chunks = runtime.opened().stream(request.as_openai())
    try:
        first = await anext(chunks)
    except BaseException:
        await chunks.aclose()
        raise
    return StreamingResponse(_events(first, chunks, runtime.keep_alive, usage), media_type="text/event-stream")


async def _events(
    first: bytes, chunks: AsyncGenerator[bytes, None], keep_alive: float, usage: bool
) -> AsyncGenerator[bytes, None]:
    """Server-sent events as OpenAI sends them; a failure is one of them, and then there is no ``[DONE]``."""
    try:
        async with aclosing(with_keep_alives(chunks, keep_alive, first)) as kept_alive:
            async for together in kept_alive:
                wanted = [chunk for chunk in together if usage or orjson.loads(chunk).get("choices")]
                if wanted:
                    yield b"".join(line for chunk in wanted for line in _lines(chunk))
        yield b"data: [DONE]\n\n"
    except Exception as error:  # noqa: BLE001 - whatever it is, the client has to hear of it
        yield b"data: %b\n\n" % orjson.dumps(log_failure(error).as_openai())


def _lines(chunk: bytes) -> list[bytes]:
    """A chunk as SC2's agent would send it, which reads it from the event's last output."""
    return [b"data: %b\n\n" % event[-1][1] for event in encode_chunk(chunk)]


def _decode(runtime: Runtime, body: dict[str, Any]) -> ChatRequest:
    """Read a body as a runtime on SC2 would get it: through the translator's tensors.

    Raises:
        EngineError: it is malformed, or meant for another model.
    """
    if body.get("model") != runtime.name:
        raise _bad_request(f"the body asks for model {body.get('model')!r}, and this is the path of '{runtime.name}'")
    known: dict[str, Any] = {
        name: body.get(name) for name in ("messages", "tools", "tool_choice", "parallel_tool_calls")
    }
    sampling = {name: value for name, value in body.items() if name not in (*known, "model")}
    try:
        encoded = encode_request(ChatRequest(**{**known, "messages": known["messages"] or []}, parameters=sampling))
        return decode_request(map(Tensor.from_json, encoded["inputs"]), encoded.get("parameters"))
    except ProtocolError as error:
        raise _bad_request(str(error)) from None


def _read(content: bytes) -> dict[str, Any]:
    """Parse a body.

    Raises:
        EngineError: it is no JSON object, or what it holds is of the wrong kind.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise _bad_request("the body must be a JSON object")
    for name, kind in (("messages", list), ("tools", list), ("stream_options", dict)):
        if not isinstance(body.get(name), kind | None):
            raise _bad_request(f"{name} must be {'a list' if kind is list else 'an object'}")
    return body


def _bad_request(message: str) -> EngineError:
    return EngineError(message, status=400, type="invalid_request_error")


async def _while_connected(request: Request, answer: _Answer) -> Response | None:
    """Wait for an answer for as long as the client does; None when it has left."""
    working, leaving = asyncio.create_task(answer), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Return when the client has left; its body has been read, so nothing else comes from it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
