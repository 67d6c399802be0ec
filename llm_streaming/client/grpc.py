"""Clients over gRPC, the same as over HTTP in all but the transport: `GrpcChatClient` and its asynchronous twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Self
from urllib.parse import quote

from llm_streaming.client.calls import Message, StreamReader, read_completion, request_body, too_silent
from llm_streaming.errors import InferenceError, LLMStreamingError
from llm_streaming.protocol import ChatEvent, Completion

try:
    import grpc
    import grpc.aio

    from llm_streaming.client.grpc_errors import failure, lost
    from llm_streaming.client.grpc_messages import decode_message, encode_message, read_message
    from llm_streaming.client.grpc_timeout import Watchdog
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("grpc", "google"):
        raise
    raise LLMStreamingError(
        "the gRPC clients need the packages grpcio and protobuf, which are not installed: run `make setup`, or "
        "`pip install 'llm-streaming[grpc]'`"
    ) from None

_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
_UNARY = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),  # instead of 4 MB
    ("grpc.max_send_message_length", -1),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # how long connecting may take, as over HTTP
    ("grpc.initial_reconnect_backoff_ms", 100),  # a server that has come back is found at once, not after up to 2 min
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def target_of(address: str) -> str:
    """Turn ``host:port``, or a URL, into what gRPC connects to."""
    return address.removeprefix("http://").rstrip("/")


def metadata_of(model: str) -> tuple[tuple[str, str], ...]:
    """What the mesh routes a call by; a name that no header can hold is quoted, and thus found nowhere."""
    return (("seldon-model", quote(model)),)


class GrpcChatClient:
    """Chats with deployed models over gRPC, with the arguments, events and exceptions of `ChatClient`.

    A status that MLServer's gRPC does not know (429 and most of 5xx) arrives as 500 from `complete`; a stream tells it.

    Args:
        grpc_address: ``host:port`` of the mesh.
        timeout: seconds of silence after which a call fails. The runtimes here are never silent for more than a few
            while they stream; a call of `complete` is, for as long as the whole answer takes.

    Example:
        >>> client = GrpcChatClient(mesh.grpc_address)  # doctest: +SKIP
        >>> for event in client.stream("local-chat-completions-cpu", [{"role": "user", "content": "Hello!"}]):
        ...     print(event.content, end="")  # doctest: +SKIP
    """

    def __init__(self, grpc_address: str, *, timeout: float = 600.0) -> None:
        self._target = target_of(grpc_address)
        self._timeout = timeout
        self._channel = grpc.insecure_channel(self._target, options=_OPTIONS)

    def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Iterator[ChatEvent]:
        """Yield the answer's events as they come; leaving the loop early cancels the generation.

        Args:
            model: the Model's name.
            messages: chat messages as OpenAI's API takes them.
            tools: tools as OpenAI's API takes them.
            parameters: sampling parameters, such as ``temperature`` and ``max_tokens``.

        Raises:
            ProtocolError: a message is malformed; nothing was sent.
            InferenceError: the call failed; what had arrived is in ``.partial``.
        """
        reader = StreamReader(model, read_message)
        request = encode_message(model, request_body(messages, tools, parameters))
        call = self._channel.stream_stream(_STREAM)(iter((request,)), metadata=metadata_of(model))
        try:
            with Watchdog(call, self._timeout) as watchdog:
                for message in watchdog.messages():
                    yield reader.read(message)
        except grpc.RpcError as error:
            if watchdog.barked:
                raise InferenceError(too_silent(self._target), partial=reader.partial) from None
            raise failure(error, self._target, model, reader) from None
        finally:
            call.cancel()  # however the loop was left; once the answer is whole, this does nothing
        reader.end()

    def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Completion:
        """Return the whole answer at once; the arguments are those of `stream`.

        Raises:
            ProtocolError: a message is malformed; nothing was sent.
            InferenceError: the call failed.
        """
        request = encode_message(model, request_body(messages, tools, parameters))
        call = self._channel.unary_unary(_UNARY).future(request, timeout=self._timeout, metadata=metadata_of(model))
        try:
            answer = call.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            raise failure(call, self._target, model) from None
        finally:
            call.cancel()  # an interrupt leaves nothing running
        return read_completion(answer, decode_message)

    def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class AsyncGrpcChatClient:
    """The asynchronous twin of `GrpcChatClient`, with the same arguments, events and exceptions."""

    def __init__(self, grpc_address: str, *, timeout: float = 600.0) -> None:
        self._target = target_of(grpc_address)
        self._timeout = timeout
        self._opened: Any = None

    async def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> AsyncIterator[ChatEvent]:
        """Yield the answer's events as they come, as `GrpcChatClient.stream` does."""
        reader = StreamReader(model, read_message)
        request = encode_message(model, request_body(messages, tools, parameters))
        call = self._channel().stream_stream(_STREAM)(iter((request,)), metadata=metadata_of(model))
        answer = aiter(call)
        try:
            while (message := await _next(answer, self._timeout)) is not None:
                yield reader.read(message)
        except TimeoutError:
            raise InferenceError(too_silent(self._target), partial=reader.partial) from None
        except grpc.RpcError as error:
            raise failure(error, self._target, model, reader) from None
        except asyncio.CancelledError:
            raise _unless_meant(reader.partial) from None
        finally:
            call.cancel()  # however the loop was left; once the answer is whole, this does nothing
        reader.end()

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        tools: Sequence[Message] | None = None,
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> Completion:
        """Return the whole answer at once, as `GrpcChatClient.complete` does."""
        request = encode_message(model, request_body(messages, tools, parameters))
        unary = self._channel().unary_unary(_UNARY)
        try:
            answer = await unary(request, timeout=self._timeout, metadata=metadata_of(model))
        except grpc.RpcError as error:
            raise failure(error, self._target, model) from None
        except asyncio.CancelledError:
            raise _unless_meant() from None
        return read_completion(answer, decode_message)

    async def close(self) -> None:
        """Close the connection; calls that still run are cancelled."""
        if self._opened is not None:
            await self._opened.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _channel(self) -> Any:  # noqa: ANN401 - gRPC has no types
        # Opened by the first call: a channel belongs to the loop that runs when it is made, and none need run before.
        if self._opened is None:
            self._opened = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        return self._opened


async def _next(answer: AsyncIterator[bytes], timeout: float) -> bytes | None:  # noqa: ASYNC109 - both twins have it
    async with asyncio.timeout(timeout):
        return await anext(answer, None)


def _unless_meant(partial: str = "") -> BaseException:
    """What to raise for a cancellation: gRPC also raises it when the server, and not this task, was cancelled."""
    task = asyncio.current_task()
    return asyncio.CancelledError() if task and task.cancelling() else lost("CANCELLED", partial)
