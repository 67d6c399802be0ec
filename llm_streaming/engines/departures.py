"""Ends a call of an engine when the client that asked for it disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def while_connected(request: Request, call: Coroutine[Any, Any, T]) -> T:
    """Wait for a call and return its result; cancel the call once the client disconnects.

    The body of the request must have been read already.

    Raises:
        ClientDisconnect: the client disconnected first.
    """
    working, leaving = asyncio.create_task(call), asyncio.create_task(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
