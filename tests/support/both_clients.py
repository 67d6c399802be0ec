"""Tests that run with the synchronous and the asynchronous client of a transport."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llm_streaming.client.base import AsyncClient, SyncClient
from llm_streaming.protocol import ChatEvent, Completion
from tests.support.provider import answer

MESSAGES = [{"role": "user", "content": "Hello!"}]
"""The messages of every request that names no others."""

CHUNKS = answer("Hel", "lo", " 🙂")
"""The chunks of a whole answer."""

EVENTS = [
    ChatEvent("", None, None, [], CHUNKS[0]),
    ChatEvent("Hel", None, None, [], CHUNKS[1]),
    ChatEvent("lo", None, None, [], CHUNKS[2]),
    ChatEvent(" 🙂", None, None, [], CHUNKS[3]),
    ChatEvent("", "stop", None, [], CHUNKS[4]),
    ChatEvent("", None, {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}, [], CHUNKS[5]),
]
"""The events that the clients make of these chunks."""

BROKE_OFF = (
    "the answer broke off before it was complete ({}), most likely because the model's server exited: mesh.logs or "
    "`llm-streaming logs` shows why; ask again, and connect again if the mesh is closed"
)
"""The message about a connection that broke, with the transport's name for the failure in place of the brackets."""

Read = Callable[..., None]
"""Reads a stream: ``read(address, seen, timeout=600, **arguments)`` appends each event to the list `seen`."""

Complete = Callable[..., Completion]
"""Gets a whole answer: ``complete(address, timeout=600)``."""


def both_readers(
    synchronous: Callable[..., SyncClient], asynchronous: Callable[..., AsyncClient]
) -> pytest.MarkDecorator:
    """Mark a test to run with each client, as its parameter `read`."""

    def read_sync(address: str, seen: list[ChatEvent], *, timeout: float = 600, **arguments: Any) -> None:
        with synchronous(address, timeout=timeout) as client:
            seen.extend(client.stream("m", **{"messages": MESSAGES, **arguments}))

    def read_async(address: str, seen: list[ChatEvent], *, timeout: float = 600, **arguments: Any) -> None:
        client = asynchronous(address, timeout=timeout)  # before a loop runs

        async def read() -> None:
            async with client:
                async for event in client.stream("m", **{"messages": MESSAGES, **arguments}):
                    seen.append(event)  # noqa: PERF401 - a failure has to leave the events before it

        asyncio.run(read())

    return pytest.mark.parametrize("read", [read_sync, read_async])


def both_callers(
    synchronous: Callable[..., SyncClient], asynchronous: Callable[..., AsyncClient]
) -> pytest.MarkDecorator:
    """Mark a test to run with each client, as its parameter `complete`."""

    def complete_sync(address: str, *, timeout: float = 600) -> Completion:
        with synchronous(address, timeout=timeout) as client:
            return client.complete("m", MESSAGES)

    def complete_async(address: str, *, timeout: float = 600) -> Completion:
        async def complete() -> Completion:
            async with asynchronous(address, timeout=timeout) as client:
                return await client.complete("m", MESSAGES)

        return asyncio.run(complete())

    return pytest.mark.parametrize("complete", [complete_sync, complete_async])
