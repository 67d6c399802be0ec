"""The clients over gRPC: `GrpcChatClient` and `AsyncGrpcChatClient`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any, Self
from urllib.parse import quote

from llm_streaming.client.base import AsyncClient, SyncClient
from llm_streaming.client.errors import connection_lost, grpc_error, too_silent
from llm_streaming.client.stream import AsyncChatStream, ChatStream, read_completion
from llm_streaming.client.tokens import authorization
from llm_streaming.errors import LLMStreamingError
from llm_streaming.protocol import Completion

try:
    import grpc
    import grpc.aio

    from llm_streaming.client.grpc_messages import decode_message, encode_message, read_message
except ModuleNotFoundError:
    raise LLMStreamingError(
        "the gRPC clients need the packages grpcio and protobuf, which are not installed: run `make setup`, or "
        "`pip install 'llm-streaming[grpc]'`"
    ) from None

_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
_UNARY = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # the default is 4 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # the time limit for connecting, the same as over HTTP
    ("grpc.initial_reconnect_backoff_ms", 100),  # by default, reconnecting to a restarted server takes up to 2 min
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class GrpcChatClient(SyncClient):
    """Chats with deployed models over gRPC, with the same arguments, events and exceptions as `ChatClient`.

    MLServer's gRPC API has no status for 429 and most of 5xx, so `complete` reports these errors with status 500. A
    stream reports their correct status.

    Args:
        grpc_address: ``host:port`` of the mesh.
        timeout: a call fails after this many seconds without a message. In a stream, this project's runtimes send an
            event every few seconds; `complete` receives nothing until the answer is complete.
        token: the secret token of the mesh; by default that of the mesh at this address which this process has open.

    Example:
        >>> client = GrpcChatClient(mesh.grpc_address)  # doctest: +SKIP
        >>> for event in client.stream("local-chat-completions-cpu", [{"role": "user", "content": "Hello!"}]):
        ...     print(event.content, end="")  # doctest: +SKIP
    """

    _encode = staticmethod(encode_message)

    def __init__(self, grpc_address: str, *, timeout: float = 600.0, token: str | None = None) -> None:
        self._address = _target(grpc_address)
        self._metadata = partial(_metadata, authorization(self._address, token))
        self._timeout = timeout
        self._channel = grpc.insecure_channel(self._address, options=_OPTIONS)

    def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        self._channel.close()

    def _open_stream(self, model: str, request: bytes) -> ChatStream:
        return ChatStream(model, self._messages(model, request), read_message)

    def _messages(self, model: str, request: bytes) -> Generator[bytes, None, None]:
        call = self._channel.unary_stream(_STREAM)(request, metadata=self._metadata(model))
        started = False
        try:
            with MessageTimeout(call, self._timeout) as timeout:
                while (message := timeout.next_message()) is not None:
                    started = True
                    yield message
        except grpc.RpcError as error:
            if timeout.expired:
                raise too_silent(self._address) from None
            raise grpc_error(error, self._address, model, started=started) from None
        finally:
            call.cancel()  # has no effect if the answer is complete

    def _call(self, model: str, request: bytes) -> Completion:
        call = self._channel.unary_unary(_UNARY).future(request, timeout=self._timeout, metadata=self._metadata(model))
        try:
            answer = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            raise grpc_error(call, self._address, model, own_deadline=True) from None
        finally:
            call.cancel()  # stops the call if waiting was interrupted
        return read_completion(answer, decode_message)


class AsyncGrpcChatClient(AsyncClient):
    """The asynchronous version of `GrpcChatClient`, with the same arguments, events and exceptions."""

    _encode = staticmethod(encode_message)

    def __init__(self, grpc_address: str, *, timeout: float = 600.0, token: str | None = None) -> None:
        self._address = _target(grpc_address)
        self._metadata = partial(_metadata, authorization(self._address, token))
        self._timeout = timeout
        self._opened: Any = None

    async def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _channel(self) -> Any:  # noqa: ANN401 - gRPC has no types
        # The first call opens the channel, because a channel belongs to the event loop in which it is created.
        if self._opened is None:
            self._opened = grpc.aio.insecure_channel(self._address, options=_OPTIONS)
        return self._opened

    def _open_stream(self, model: str, request: bytes) -> AsyncChatStream:
        return AsyncChatStream(model, self._messages(model, request), read_message)

    async def _messages(self, model: str, request: bytes) -> AsyncGenerator[bytes, None]:
        call = self._channel.unary_stream(_STREAM)(request, metadata=self._metadata(model))
        answer = aiter(call)
        started = False
        try:
            while True:
                async with asyncio.timeout(self._timeout):
                    message = await anext(answer, None)
                if message is None:
                    return
                started = True
                yield message
        except TimeoutError:
            raise too_silent(self._address) from None
        except grpc.RpcError as error:
            raise grpc_error(error, self._address, model, started=started) from None
        except asyncio.CancelledError:
            if _task_is_cancelled():
                raise
            raise connection_lost("CANCELLED") from None
        finally:
            call.cancel()  # has no effect if the answer is complete

    async def _call(self, model: str, request: bytes) -> Completion:
        call = self._channel.unary_unary(_UNARY)(request, timeout=self._timeout, metadata=self._metadata(model))
        try:
            answer = await call
        except grpc.RpcError as error:
            raise grpc_error(error, self._address, model, own_deadline=True) from None
        except asyncio.CancelledError:
            if _task_is_cancelled():
                raise
            raise connection_lost("CANCELLED") from None
        return read_completion(answer, decode_message)


def _target(address: str) -> str:
    return address.removeprefix("http://").rstrip("/")


def _metadata(authorization: dict[str, str], model: str) -> tuple[tuple[str, str], ...]:
    """Add the header by which the mesh routes. A name that needs percent-encoding matches no model: status 404."""
    return ("seldon-model", quote(model)), *authorization.items()


def _task_is_cancelled() -> bool:
    """Return whether this task was cancelled. gRPC also raises CancelledError if the server cancels a call."""
    task = asyncio.current_task()
    return bool(task and task.cancelling())


class MessageTimeout:
    """Reads messages of a synchronous call, and cancels the call if the next message takes over `timeout` seconds.

    gRPC's own deadlines are for whole calls, but a stream may take any length of time. The time that the caller
    spends between two messages is not counted. `expired` says whether the timeout has cancelled the call.
    """

    def __init__(self, call: Any, timeout: float) -> None:  # noqa: ANN401 - gRPC has no types
        self.expired = False
        self._call = call
        self._timeout = timeout
        self._waiting_since: float | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="grpc-timeout", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()

    def next_message(self) -> bytes | None:
        """Wait for the next message, and return it; return None at the end of the stream."""
        self._waiting_since = time.monotonic()
        message: bytes | None = next(self._call, None)
        self._waiting_since = None
        return message

    def _watch(self) -> None:
        remaining = self._timeout
        while not self._done.wait(remaining):
            since = self._waiting_since or time.monotonic()
            remaining = since + self._timeout - time.monotonic()
            if remaining <= 0:
                self.expired = True
                self._call.cancel()
                return
