"""Readers of streams over HTTP and gRPC that use so little CPU time that they do not distort a measurement.

While an answer arrives, a reader only stores each piece of bytes with its time. The bytes are examined after the time
has been measured. No HTTP library is used, and no message is parsed.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc.aio

from benchmarks.provider import HOST, MODEL, TOKEN

_FRAMING = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")  # the bytes between HTTP chunks; JSON never contains such bytes
_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
# The local pool gives each channel a connection of its own.
_CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Lag:
    """The pauses of a slow reader: after every `size` bytes it stops reading for `seconds`."""

    size: int = 16_384
    seconds: float = 0.025


@dataclass
class Answer:
    """The answer to one request.

    Args:
        started: when the request was sent, on the clock of `time.perf_counter`.
        pieces: each piece of bytes with the time of its arrival, in order.
    """

    started: float = field(default_factory=time.perf_counter)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        """All bytes without the framing between HTTP chunks."""
        return _FRAMING.sub(b"", b"".join(piece for _, piece in self.pieces))

    def token_times(self, copies: int) -> list[float]:
        """Return the time of arrival of each token, whose text occurs `copies` times in the answer."""
        times: list[float] = []
        seen = 0
        for when, piece in self.pieces:
            seen += piece.count(TOKEN)
            times.extend([when] * (seen // copies - len(times)))
        return times

    def first_token(self, copies: int) -> float:
        """Return the time from the request to the first token in milliseconds."""
        return (self.token_times(copies)[0] - self.started) * 1e3


At = int | Path
"""Where a server listens: a port of this machine, or a unix socket."""


async def read_http(at: At, request: bytes, lag: Lag | None) -> Answer:
    """Send a request over a new connection and read until the server closes the connection."""
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX if isinstance(at, Path) else socket.AF_INET)
    connection.setblocking(False)
    if lag:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, lag.size)
    await loop.sock_connect(connection, str(at) if isinstance(at, Path) else (HOST, at))
    _, reader = await loop.create_connection(lambda: _HTTPReader(request, lag), sock=connection)
    return await reader.answer


class _HTTPReader(asyncio.Protocol):
    def __init__(self, request: bytes, lag: Lag | None) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._request = request
        self._lag = lag
        self._unpaused = 0
        self._received = Answer()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport has another base class
        self._received.started = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received.pieces.append((time.perf_counter(), data))
        self._unpaused += len(data)
        if self._lag and self._unpaused >= self._lag.size:
            self._unpaused = 0
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(self._lag.seconds, self._transport.resume_reading)

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            self.answer.set_exception(error)
        elif not self.answer.done():
            self.answer.set_result(self._received)


async def read_grpc(at: At, request: bytes, lag: Lag | None) -> Answer:
    """Make a call over a new connection and return the bytes of each message."""
    target = f"unix:{at}" if isinstance(at, Path) else f"{HOST}:{at}"
    async with grpc.aio.insecure_channel(target, options=_CHANNEL) as channel:
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
