"""Shows the bytes that a server sends: a relay that records them, and a hexadecimal view."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import Self

from llm_streaming.mesh.processes.ports import LOOPBACK

_READ_SIZE = 65_536  # bytes read from a connection at once
_PRINTABLE = range(0x20, 0x7F)


class Wiretap:
    """Relays connections to a server, and records the bytes that the server sends.

    Args:
        address: ``host:port`` of the server.

    Attributes:
        address: ``host:port`` of the relay on this machine, for clients.
        received: the bytes from the server, one element for each read of the connection.

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
                await _until_one_ends(_copy(reader, questions), _copy(answers, writer, self.received.append))


def hex_view(data: bytes, *, width: int = 16) -> str:
    r"""Format bytes in lines: the offset, each byte in hexadecimal, and the printable ASCII characters.

    Args:
        data: the bytes.
        width: bytes per line.

    Example:
        >>> print(hex_view(b"data: {}\n\n", width=8))
        0000  64 61 74 61 3a 20 7b 7d  data: {}
        0008  0a 0a                    ..
    """
    lines = []
    for start in range(0, len(data), width):
        line = data[start : start + width]
        text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in line)
        lines.append(f"{start:04x}  {line.hex(' '):<{3 * width - 1}}  {text}")
    return "\n".join(lines)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: Callable[[bytes], None] = lambda _: None
) -> None:
    while data := await reader.read(_READ_SIZE):
        record(data)
        writer.write(data)
        await writer.drain()


async def _until_one_ends(*copies: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.ensure_future(copy) for copy in copies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
