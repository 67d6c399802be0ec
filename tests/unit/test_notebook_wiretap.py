"""The relay that records the bytes of a server, and their hexadecimal view."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from llm_streaming.notebook.wiretap import Wiretap, hex_view


@asynccontextmanager
async def server(left: asyncio.Event) -> AsyncIterator[str]:
    """Run a server that sends each line back twice. At an empty line or the client's end it sets `left`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()).strip():
            writer.write(line + line)
        left.set()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield f"{host}:{port}"


async def connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def test_both_sides_get_what_the_other_sends_and_answers_are_noted() -> None:
    async with server(asyncio.Event()) as address, Wiretap(address) as tap:
        reader, writer = await connected(tap.address)
        writer.write(b"one\n")
        assert await reader.readexactly(8) == b"one\none\n"
        writer.write(b"two\n\n")
        assert await reader.read() == b"two\ntwo\n"
        writer.close()
    assert b"".join(tap.received) == b"one\none\ntwo\ntwo\n"


async def test_the_server_is_told_when_the_client_leaves() -> None:
    left = asyncio.Event()
    async with server(left) as address, Wiretap(address) as tap:
        reader, writer = await connected(tap.address)
        writer.write(b"one\n")
        await reader.readexactly(8)
        writer.close()
        async with asyncio.timeout(20):
            await left.wait()


async def test_closing_the_relay_closes_its_connections() -> None:
    async with server(asyncio.Event()) as address:
        async with Wiretap(address) as tap:
            reader, writer = await connected(tap.address)
            writer.write(b"one\n")
            await reader.readexactly(8)
        assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionError):
            await connected(tap.address)


async def test_without_a_server_the_connection_just_ends() -> None:
    async with server(asyncio.Event()) as address:
        pass
    async with Wiretap(address) as tap:
        reader, writer = await connected(tap.address)
        assert await reader.read() == b""
        writer.close()
    assert tap.received == []


def test_bytes_are_shown_in_lines_with_their_ascii_characters() -> None:
    assert hex_view("data: ü\n\n~\x7f and more".encode()) == (
        "0000  64 61 74 61 3a 20 c3 bc 0a 0a 7e 7f 20 61 6e 64  data: ....~. and\n"
        "0010  20 6d 6f 72 65                                    more"
    )


def test_no_bytes_are_no_lines() -> None:
    assert hex_view(b"") == ""
