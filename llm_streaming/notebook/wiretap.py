"""What passes between a client and a server, for those who want to see the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import Self

from llm_streaming.mesh.processes.ports import LOOPBACK

_MOST = 65_536  # bytes taken from a connection at a time


class Wiretap:
    """Relays connections to a server, and notes what the server sends.

    Args:
        address: ``host:port`` of the server.

    Attributes:
        address: ``host:port`` where clients find the relay, on this machine.
        received: what the server has sent, a piece for each read of the connection.

    Example:
        >>> async with Wiretap(mesh.grpc_address) as tap:  # doctest: +SKIP
        ...     client = AsyncGrpcChatClient(tap.address)
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = host, int(port)
        self.received: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.address = f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if connection := asyncio.current_task():
            self._connections.add(connection)
            connection.add_done_callback(self._connections.discard)
        with closing(writer), suppress(ConnectionError, asyncio.CancelledError):
            answers, questions = await asyncio.open_connection(*self._target)
            with closing(questions):
                await _first(_copy(reader, questions), _copy(answers, writer, self.received.append))


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None] = lambda _: None
) -> None:
    while data := await reader.read(_MOST):
        note(data)
        writer.write(data)
        await writer.drain()


async def _first(*copies: Coroutine[None, None, None]) -> None:
    """Copy until one side has nothing more to say."""
    tasks = [asyncio.ensure_future(copy) for copy in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
