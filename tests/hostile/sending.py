"""Sends the fuzzer's requests byte by byte, and reads what comes back."""

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import h11

from llm_streaming.client.inference_pb2 import ModelInferResponse
from tests.hostile.grammar import GRPC
from tests.hostile.requests import Case
from tests.hostile.wire_faults import Wire

LIMIT = 60.0
"""Seconds that a request may take, in which a whole answer of a few tokens comes many times over."""

GRPC_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,
    "FAILED_PRECONDITION": 422,
    "RESOURCE_EXHAUSTED": 429,
}
"""The HTTP status for each gRPC status with which a server refuses a request; all others count as 500."""

_FINISHED = re.compile(r'finish_reason\\*":\s*\\*"')


@dataclass(frozen=True)
class Outcome:
    """What came back.

    Attributes:
        status: the HTTP status, or the one in a stream's last event; 0 if no status came.
        text: everything that came, as text.
        note: ``left``, ``closed`` (without an answer), ``cut`` (in an answer), ``hang``, or nothing.
    """

    status: int
    text: str = ""
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether an answer came to its end."""
        return self.status == 200 and _FINISHED.search(self.text) is not None


class Sender:
    """Sends requests to a mesh; use it in an event loop, in an ``async with`` block.

    Args:
        address: the ``host:port`` of the mesh.
    """

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._address = address

    async def __aenter__(self) -> "Sender":
        unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.aio.insecure_channel(self._address, options=unlimited)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def send(self, case: Case) -> Outcome:
        """Send a request, and return its outcome within `LIMIT` seconds."""
        came: list[bytes] = []
        try:
            async with asyncio.timeout(LIMIT):
                return await (self._over_grpc(case, came) if case.door in GRPC else self._over_http(case.wire, came))
        except TimeoutError:
            return Outcome(0, _text(came), "hang")

    async def _over_http(self, wire: Wire, came: list[bytes]) -> Outcome:
        head = f"{wire.method} {wire.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in wire.headers.items())
        data = head.encode("latin-1") + b"\r\n" + wire.body
        reader, writer = await asyncio.open_connection(self._host, int(self._port), limit=2**30)
        try:
            with contextlib.suppress(ConnectionError):  # a server may refuse before it has read everything
                writer.write(data[: len(data) // 2] if wire.leaves == "half" else data)
                await writer.drain()
                if wire.leaves:
                    await (reader.read(1) if wire.leaves == "first" else asyncio.sleep(0))
                    return Outcome(0, note="left")
                if wire.headers.get("content-length") != str(len(wire.body)):
                    writer.write_eof()  # nothing more comes, although it was announced
            with contextlib.suppress(ConnectionError):
                while part := await reader.read(2**16):
                    came.append(part)
            return _read_http(b"".join(came))
        finally:
            writer.close()

    async def _over_grpc(self, case: Case, messages: list[bytes]) -> Outcome:
        metadata = list(case.wire.headers.items())
        try:
            if case.door.endswith("stream"):
                call: Any = self._channel.unary_stream(case.wire.path)(case.wire.body, metadata=metadata)
                async for message in call:
                    messages.append(message)
                    if case.wire.leaves:
                        call.cancel()
                        return Outcome(0, note="left")
            else:
                call = self._channel.unary_unary(case.wire.path)(case.wire.body, metadata=metadata)
                if case.wire.leaves:
                    await asyncio.sleep(0)
                    call.cancel()
                    return Outcome(0, note="left")
                messages.append(await call)
        except grpc.RpcError as error:
            status = GRPC_STATUS.get(error.code().name, 500)
            return Outcome(_told(messages) or status, f"{_text(messages)}\n{error.details()}")
        return Outcome(200, _text(messages))


def _read_http(data: bytes) -> Outcome:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, bytearray()
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA:
                break
    except h11.RemoteProtocolError:
        note = "cut" if status else "closed"
    else:
        note = "" if status else "closed"
    text = body.decode(errors="replace")
    told = _error_in(text) if status == 200 else 0
    return Outcome(told or status, text, "" if told else note)


def _error_in(text: str) -> int:
    """Return the status in the last event of a stream that failed (contract §3), or 0."""
    last = text.strip().rpartition("data: ")[2]
    try:
        event = json.loads(last)
    except ValueError:
        return 0
    if "error" in event:  # OpenAI's path names no status
        return 400 if event["error"]["type"] == "invalid_request_error" else 500
    return int(event.get("parameters", {}).get("status", 0))


def _told(messages: list[bytes]) -> int:
    """Return the status in the last message of a stream that failed, or 0."""
    return ModelInferResponse.FromString(messages[-1]).parameters["status"].int64_param if messages else 0


def _text(messages: list[bytes]) -> str:
    return "\n".join(message.decode(errors="replace") for message in messages)
