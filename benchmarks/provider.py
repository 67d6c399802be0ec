"""A fast server for OpenAI's API: it sends prepared bytes, so it uses almost no CPU time during a measurement.

``python -m benchmarks.provider`` prints its port. In a request,

- ``max_tokens`` is the number of tokens to send,
- ``rate`` is the number of tokens to send per second, by default as many as the client reads,
- ``logprobs`` adds log probabilities to every token, so that a relay may not merge the texts of tokens.

Like real providers, the server sends each event as an HTTP chunk of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import uvloop

HOST = "127.0.0.1"
MODEL = "benchmark"
TOKEN = b" token"
"""The text of every token without the two digits at its end; it occurs nowhere else in an answer."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
_BLOCK = 64  # events in one write


def chunk(
    delta: dict[str, str] | None,
    finish_reason: str | None = None,
    usage: Any = None,  # noqa: ANN401 - JSON
    logprobs: Any = None,  # noqa: ANN401 - JSON
) -> bytes:
    """Return a chunk with all fields that OpenAI sends; without a delta, it is the last chunk, for the usage."""
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    value = {
        "id": "chatcmpl-CAbcdefghijklmnopqrstuvwxyz12",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-benchmark-2026-11-01",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": [] if delta is None else [choice],
        "usage": usage,
    }
    return json.dumps(value, separators=(",", ":")).encode()


def _frame(data: bytes) -> bytes:
    event = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(event), event)


# The texts differ, because LiteLLM's proxy ends a stream that repeats itself.
_TEXTS = [{"content": f"{TOKEN.decode()}{index:02}"} for index in range(_BLOCK)]
TOKEN_CHUNK = chunk(_TEXTS[0])
_FIRST = _frame(chunk({"role": "assistant", "content": ""}))
_TOKENS = [_frame(chunk(text)) for text in _TEXTS]
_TOKENS_WITH_LOGPROBS = [_frame(chunk(text, logprobs={"content": []})) for text in _TEXTS]


def _end(tokens: int) -> bytes:
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    return _frame(chunk({}, "stop")) + _frame(chunk(None, usage=usage)) + _frame(b"[DONE]") + b"0\r\n\r\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
            if not length:  # LiteLLM's proxy sometimes requests the list of models
                writer.write(_NOT_FOUND)
                continue
            request = json.loads(await reader.readexactly(int(length)))
            writer.write(_HEAD + _FIRST)
            tokens = _TOKENS_WITH_LOGPROBS if request.get("logprobs") else _TOKENS
            await _write_tokens(writer, tokens, request["max_tokens"], request.get("rate"))
            writer.write(_end(request["max_tokens"]))
            await writer.drain()
            if b"connection: close" in head:
                break
    writer.close()


async def _write_tokens(writer: asyncio.StreamWriter, tokens: list[bytes], count: int, rate: float | None) -> None:
    if rate is None:
        block = b"".join(tokens)
        for _ in range(count // _BLOCK):
            writer.write(block)
            await writer.drain()
        writer.write(b"".join(tokens[: count % _BLOCK]))
        return
    loop = asyncio.get_running_loop()
    started = loop.time()
    for index in range(count):
        await asyncio.sleep(started + index / rate - loop.time())
        writer.write(tokens[index % _BLOCK])


async def main() -> None:
    """Print the port and serve until the process is stopped."""
    server = await asyncio.start_server(_serve, HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
