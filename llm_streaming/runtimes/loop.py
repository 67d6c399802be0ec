"""The event loop of MLServer: uvloop, without a defect that closes other users' connections."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import uvloop

# libuv reads this variable when a loop is created. Without io_uring it makes each epoll call directly, and it needs no
# system call that Kubernetes' default seccomp profile forbids.
os.environ.setdefault("UV_USE_IO_URING", "0")


class Loop(uvloop.Loop):
    """uvloop's loop, with a cure for MagicStack/uvloop#738, which versions up to 0.22.1 have.

    If connecting a given socket is cancelled, these versions close the socket's descriptor, but the Python object keeps
    the descriptor's number. When Python deletes the object, it closes the descriptor that has this number by then: the
    connection of another request, or one that libuv is about to use, and then libuv aborts the process. aiohttp always
    connects in this way, and a client that leaves early cancels the connection to its provider.
    """

    async def create_connection(self, *args: Any, sock: socket.socket | None = None, **options: Any) -> Any:  # noqa: ANN401 - uvloop's own signature is long
        """Create a connection as uvloop does; a given socket no longer owns its descriptor if this is cancelled."""
        try:
            return await super().create_connection(*args, sock=sock, **options)
        except asyncio.CancelledError:
            if sock is not None and sock.fileno() != -1:
                sock.detach()  # uvloop has closed the descriptor
            raise
