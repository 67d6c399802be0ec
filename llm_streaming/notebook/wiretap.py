"""Shows the bytes that a server sends: a relay that records them, and a hexadecimal view."""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Self

from llm_streaming.mesh.processes.ports import LOOPBACK

_READ_SIZE = 65_536  # bytes read from a connection at once
_LINE = 16  # bytes in a line of the hexadecimal view


class Wiretap:
    """Relays connections to a server, and records the bytes that the server sends.

    Args:
        address: ``host:port`` of the server.

    Attributes:
        address: ``host:port`` of the relay on this machine, for clients.
        received: the bytes from the server, one element for each read from the connection.

    Example:
        >>> async with Wiretap(mesh.grpc_address) as tap:  # doctest: +SKIP
        ...     client = AsyncGrpcChatClient(tap.address)
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = host, int(port)
        self._connections: list[asyncio.Task[None]] = []
        self.received: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.address = f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._connections.append(asyncio.create_task(self._relay(reader, writer)))

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        with closing(writer), suppress(ConnectionError):
            answers, questions = await asyncio.open_connection(*self._target)
            await asyncio.gather(_copy(reader, questions), _copy(answers, writer, self.received.append))


async def _copy(reader: StreamReader, writer: StreamWriter, record: Callable[[bytes], None] = lambda _: None) -> None:
    """Copy until the sender closes its connection. Then close the receiver's, which also stops the reverse copy."""
    with closing(writer), suppress(ConnectionError):
        while data := await reader.read(_READ_SIZE):
            record(data)
            writer.write(data)
            await writer.drain()


def hex_view(data: bytes) -> str:
    r"""Format bytes in lines: the offset, each byte in hexadecimal, and the printable ASCII characters.

    Example:
        >>> print(hex_view(b"data: {}\n\n"))
        0000  64 61 74 61 3a 20 7b 7d 0a 0a                    data: {}..
    """
    lines = []
    for start in range(0, len(data), _LINE):
        line = data[start : start + _LINE]
        text = re.sub(rb"[^ -~]", b".", line).decode()
        lines.append(f"{start:04x}  {line.hex(' '):<{3 * _LINE - 1}}  {text}")
    return "\n".join(lines)
