"""Readers of streams that cost little enough not to be what is measured.

While an answer arrives its bytes are only kept, with the time of each piece; they are looked into once the clock has
stopped. No HTTP library is involved, and no message is parsed.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import grpc.aio

from benchmarks.harness import RUNNER
from benchmarks.provider import TOKEN
from llm_streaming.client.base import request_body
from llm_streaming.client.grpc_messages import encode_message
from llm_streaming.client.http import path_of

HOST = "127.0.0.1"
MODEL = "benchmark"

_FRAMING = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")  # between HTTP chunks; JSON holds no such bytes
_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
_CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]  # a connection each


@dataclass(frozen=True)
class Lag:
    """How slowly a reader reads: after so many bytes it looks away for so many seconds."""

    size: int = 16_384
    seconds: float = 0.025


@dataclass
class Answer:
    """What one request got: when it was sent, and each piece of bytes with the time of its arrival."""

    started: float = field(default_factory=time.perf_counter)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All bytes, without what HTTP puts between chunks."""
        return _FRAMING.sub(b"", b"".join(piece for _, piece in self.pieces))

    def token_times(self, copies: int) -> list[float]:
        """When each token had arrived, where its text stands in the bytes so many times."""
        times: list[float] = []
        seen = 0
        for when, piece in self.pieces:
            seen += piece.count(TOKEN)
            times.extend([when] * (seen // copies - len(times)))
        return times


Reader = Callable[[int, bytes, Lag | None], Awaitable[Answer]]


@dataclass(frozen=True)
class Door:
    """A way to an answer.

    Args:
        port: where its server listens.
        read: how an answer is read.
        encode: makes the request, of a message's text and sampling parameters.
        copies: how many times each token's text stands in the answer.
    """

    port: int
    read: Reader
    encode: Callable[[str, Mapping[str, Any]], bytes]
    copies: int


@dataclass(frozen=True)
class Reading:
    """What a number of streams got, read side by side: in how many seconds, and how much of it."""

    seconds: float
    answers: list[Answer]
    tokens: int
    events: int

    @property
    def tokens_per_second(self) -> float:
        """Of all streams together."""
        return self.tokens / self.seconds

    @property
    def events_per_second(self) -> float:
        """Of all streams together."""
        return self.events / self.seconds


def ask(door: Door, streams: int, tokens: int, **options: Any) -> Reading:  # noqa: ANN401 - those of `ask_async`
    """Read a number of streams side by side; the options are those of `ask_async`."""
    return RUNNER.run(ask_async(door, streams, tokens, **options))


async def ask_async(
    door: Door,
    streams: int,
    tokens: int,
    *,
    rate: float | None = None,
    answers: int = 1,
    spread: float = 0.0,
    lag: Lag | None = None,
    text: str = "Hello!",
) -> Reading:
    """Read a number of streams side by side.

    Args:
        door: where from.
        streams: how many.
        tokens: how many tokens an answer is to have.
        rate: tokens a second and stream; as fast as they are read without it.
        answers: how many answers each reads, one after the other.
        spread: seconds over which the streams' beginnings are spread evenly.
        lag: how slowly they read.
        text: the message.

    Raises:
        RuntimeError: an answer does not have all its tokens.
    """
    request = door.encode(text, {"max_tokens": tokens} | ({"rate": rate} if rate else {}))

    async def read(delay: float) -> list[Answer]:
        await asyncio.sleep(delay)
        return [await door.read(door.port, request, lag) for _ in range(answers)]

    started = time.perf_counter()
    found = await asyncio.gather(*(read(spread * index / streams) for index in range(streams)))
    seconds = time.perf_counter() - started
    flat = [answer for group in found for answer in group]
    for answer in flat:
        if answer.body.count(TOKEN) != tokens * door.copies:
            raise RuntimeError(f"asked for {tokens} tokens and got {answer.body[-2000:].decode(errors='replace')}")
    events = sum(
        answer.body.count(b"data: {") if door.read is read_http else len(answer.pieces)  # over gRPC one piece each
        for answer in flat
    )
    return Reading(seconds, flat, tokens * len(flat), events)


async def read_http(port: int, request: bytes, lag: Lag | None) -> Answer:
    """Send a request over a connection of its own and read until the server closes it."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    connection.setblocking(False)
    if lag:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, lag.size)
    await loop.sock_connect(connection, (HOST, port))
    _, reader = await loop.create_connection(lambda: _HTTPReader(request, lag), sock=connection)
    return await reader.read


class _HTTPReader(asyncio.Protocol):
    def __init__(self, request: bytes, lag: Lag | None) -> None:
        self.read: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._request = request
        self._lag = lag
        self._unpaused = 0
        self._answer = Answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its type
        self._answer.started = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer.pieces.append((time.perf_counter(), data))
        self._unpaused += len(data)
        if self._lag and self._unpaused >= self._lag.size:
            self._unpaused = 0
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(self._lag.seconds, self._transport.resume_reading)

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self.read.set_exception(error)
        elif not self.read.done():
            self.read.set_result(self._answer)


async def read_grpc(port: int, request: bytes, lag: Lag | None) -> Answer:
    """Make a call over a connection of its own; each message is kept as it comes off the wire."""
    async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=_CHANNEL) as channel:
        await channel.channel_ready()
        answer = Answer()
        unpaused = 0
        async for message in channel.stream_stream(_METHOD)(iter((request,)), metadata=(("seldon-model", MODEL),)):
            answer.pieces.append((time.perf_counter(), message))
            unpaused += len(message)
            if lag and unpaused >= lag.size:
                unpaused = 0
                await asyncio.sleep(lag.seconds)
    return answer


def provider(port: int, key: str = "not-needed") -> Door:
    """The provider itself, or any other server of OpenAI's API."""
    return Door(port, read_http, _openai("/v1/chat/completions", MODEL, key), copies=1)


def openai_path(port: int, model: str = MODEL) -> Door:
    """OpenAI's API on a deployed model's path."""
    return Door(port, read_http, _openai(path_of(model, "infer_stream") + "/chat/completions", model), copies=1)


def over_http(port: int, model: str = MODEL) -> Door:
    """The Open Inference Protocol over HTTP: a token is in ``content`` and in ``output_all``."""

    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        return _post(path_of(model, "infer_stream"), request_body(_message(text), None, dict(parameters)))

    return Door(port, read_http, encode, copies=2)


def over_grpc(port: int, model: str = MODEL, **always: Any) -> Door:  # noqa: ANN401 - sampling parameters
    """The Open Inference Protocol over gRPC; `always` goes with the parameters of each request."""

    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        return encode_message(model, request_body(_message(text), None, {**parameters, **always}))

    return Door(port, read_grpc, encode, copies=2)


def _openai(path: str, model: str, key: str = "not-needed") -> Callable[[str, Mapping[str, Any]], bytes]:
    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        body = {"model": model, "messages": _message(text), "stream": True, **parameters}
        return _post(path, body, f"authorization: Bearer {key}\r\n")

    return encode


def _message(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _post(path: str, body: Mapping[str, Any], headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}{headers}content-length: {len(content)}\r\n\r\n".encode() + content
