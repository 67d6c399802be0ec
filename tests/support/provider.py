"""A server of OpenAI's HTTP API that answers by script.

``async with Provider(Reply(...), Reply(...)) as provider`` answers each request with the next reply;
``Provider(respond=function)`` calls the function for each reply. ``with provider_in_thread(...)`` runs it in a thread.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from llm_streaming.protocol import accumulate

CUT = object()
"""A step of a reply: the server closes the connection."""

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Reply:
    """The reply to one request; a step is the bytes of one HTTP chunk, an event to wait for, or `CUT`.

    If there is a `broken_head`, the server sends these bytes in place of the status line and the headers, and closes.
    """

    steps: Iterable[Any] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    broken_head: bytes | None = None


@dataclass
class Request:
    """A request that the server received; `disconnected` is set when its client has left."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a chat.completion.chunk with one choice, or without a delta with no choice."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake", "choices": choices}
    return head | more


def answer(*tokens: str) -> list[dict[str, Any]]:
    """Make the chunks of a whole answer in OpenAI's order: role, texts, finish_reason, usage."""
    count = len(tokens)
    usage = {"prompt_tokens": 1, "completion_tokens": count, "total_tokens": count + 1}
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": token}) for token in tokens),
        chunk({}, "stop"),
        chunk(usage=usage),
    ]


def line(value: Any) -> bytes:
    """Serialise as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: Any) -> bytes:
    """Format a server-sent event."""
    return b"data: " + line(value) + b"\n\n"


def streamed(*tokens: str) -> Reply:
    """Make the reply of a whole streamed answer, one event in each HTTP chunk."""
    return Reply([*(sse(each) for each in answer(*tokens)), DONE])


def accumulated(*tokens: str) -> bytes:
    """Make the body of the same answer as a whole."""
    return line(accumulate(answer(*tokens)))


def failed(status: int, body: Any, **headers: str) -> Reply:
    """Make an HTTP error with a JSON body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([line(body)], status, {"content-type": "application/json", **named})


class Provider:
    """The server.

    Attributes:
        base_url: the base URL for OpenAI's clients.
        requests: the requests that it received.
        connections: how many connections were opened.
    """

    def __init__(self, *replies: Reply, respond: Callable[[Request], Reply] | None = None) -> None:
        script = iter(replies)
        exhausted = failed(500, {"error": {"message": "the script has no more replies"}})
        self._respond = respond or (lambda _: next(script, exhausted))
        self._handlers: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.arrived = asyncio.Condition()
        self.connections = 0

    async def __aenter__(self) -> "Provider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def request(self, index: int = 0) -> Request:
        """Wait for a request, and return it."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.requests) > index)
        return self.requests[index]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return False if the client has left."""
        request = await _read(reader)
        async with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        reply = asyncio.create_task(_write(writer, self._respond(request)))
        leaving = asyncio.create_task(_left(reader))
        try:
            await asyncio.wait([reply, leaving], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                request.disconnected.set()
                return False
            reply.result()
            return True
        finally:
            reply.cancel()
            leaving.cancel()
            await asyncio.gather(reply, leaving, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in head[1:] if each)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(head[0].split(" ")[1], headers, json.loads(body or b"{}"))


async def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() if reply.broken_head is None else reply.broken_head)
    for step in reply.steps if reply.broken_head is None else [CUT]:
        if isinstance(step, asyncio.Event):
            await writer.drain()
            await step.wait()
        elif isinstance(step, bytes):
            writer.write(b"%x\r\n%b\r\n" % (len(step), step))
            await writer.drain()
        else:
            writer.close()  # after what has been written, and without the chunk that would end the body
            raise ConnectionAbortedError
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _left(reader: asyncio.StreamReader) -> None:
    """Return when the client has closed the connection; until its answer is complete, it sends nothing else."""
    with contextlib.suppress(ConnectionError):
        await reader.read(1)


@contextlib.contextmanager
def provider_in_thread(
    *replies: Reply, respond: Callable[[Request], Reply] | None = None
) -> Iterator[tuple[Provider, asyncio.AbstractEventLoop]]:
    """Run a provider in an event loop of its own; set events with the loop's ``call_soon_threadsafe``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    provider = Provider(*replies, respond=respond)
    try:
        asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result()
        yield provider, loop
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
