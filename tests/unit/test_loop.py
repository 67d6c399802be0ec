"""The event loop of MLServer: a cancelled connection does not close other connections (MagicStack/uvloop#738)."""

import asyncio
import os
import socket

import pytest
import uvloop

from llm_streaming.runtimes.loop import Loop


async def cancel_connecting() -> tuple[int, int]:
    """Cancel `create_connection` in its last step; return the socket's number before and after."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    loop, connection = asyncio.get_running_loop(), socket.create_connection(server.sockets[0].getsockname())
    connection.setblocking(False)
    before = connection.fileno()
    connecting = asyncio.create_task(loop.create_connection(asyncio.Protocol, sock=connection))
    await asyncio.sleep(0)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await asyncio.sleep(0)
    server.close()
    after = connection.fileno()
    connection.detach()  # otherwise deleting the object closes a descriptor of another test
    return before, after


def test_a_cancelled_connection_gives_up_its_descriptor() -> None:
    with asyncio.Runner(loop_factory=Loop) as runner:
        before, after = runner.run(cancel_connecting())
    assert after == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(before)


def test_uvloop_needs_the_cure() -> None:
    """If this fails, uvloop is mended: remove `Loop.create_connection`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        before, after = runner.run(cancel_connecting())
    assert after == before


def test_a_connection_that_is_not_cancelled_works() -> None:
    async def talk() -> bytes:
        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        connection = socket.create_connection(server.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(sock=connection)
        received = await reader.read()
        writer.close()
        server.close()
        return received

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(talk()) == b"hello"


def test_io_uring_is_off() -> None:
    assert os.environ["UV_USE_IO_URING"] == "0"
