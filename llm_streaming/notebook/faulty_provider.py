"""A local server with OpenAI's API that fails on purpose, for the lesson on failures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import orjson

from llm_streaming.mesh.processes.ports import LOOPBACK


class Refusal(NamedTuple):
    """An HTTP error: the status, and the fields of OpenAI's error object."""

    status: int
    message: str
    type: str
    code: str | None


REFUSALS: Mapping[str, Refusal] = {
    "too long": Refusal(400, "This is too long for the model.", "invalid_request_error", "context_length_exceeded"),
    "bad key": Refusal(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    "no model": Refusal(404, "The model does not exist.", "invalid_request_error", "model_not_found"),
    "too often": Refusal(429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
    "overloaded": Refusal(503, "The server is overloaded.", "server_error", None),
}
"""The errors that the server returns, by the text of the chat's last message."""

FAILURES = ("crashes", "breaks off", "falls silent")
"""Last messages whose answers fail part-way, or pause."""

BUSY = "busy"
"""A last message that the server rejects with 429 twice, and then answers."""

ENDLESS = "endless"
"""A last message whose streamed answer continues until the client closes the connection."""

TOKENS = ("One,", " two,", " three.")
"""The answer to every other chat, token by token."""

_CRASH = Refusal(500, "The model has crashed.", "server_error", None)
_PAUSE = 0.02  # seconds between the tokens of an endless answer
_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "faulty"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": len(TOKENS), "total_tokens": 1 + len(TOKENS)}


class FaultyProvider(ThreadingHTTPServer):
    """Serves OpenAI's chat completions; the text of a chat's last message selects the failure.

    Args:
        silence: seconds for which the answer to ``falls silent`` pauses.
        retry_after: whole seconds in the ``retry-after`` header of a 429.

    Attributes:
        base_url: the base URL for OpenAI's clients.
        asked: the last message of each request so far.
        left: set once a client has closed its connection before its answer was complete.
        closed: set once the provider is closed.

    Example:
        >>> with FaultyProvider() as provider:
        ...     provider.base_url.endswith("/v1")
        True
    """

    def __init__(self, *, silence: float = 2.0, retry_after: int = 1) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.silence = silence
        self.retry_after = retry_after
        self.base_url = f"http://{LOOPBACK}:{self.server_port}/v1"
        self.asked: list[str] = []
        self.left = threading.Event()
        self.closed = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop the server and the answers that it is still sending."""
        self.closed.set()
        self.shutdown()
        self.server_close()

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = "HTTP/1.1"
    server: FaultyProvider

    def do_POST(self) -> None:
        """Answer a request for a chat completion, or fail."""
        request = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        text, streamed = request["messages"][-1]["content"], request.get("stream", False)
        self.server.asked.append(text)
        try:
            if refusal := self._refusal(text, streamed):
                self._send(refusal.status, _error(refusal))
            elif streamed:
                self._stream(text)
            else:
                self._complete(text)
        except ConnectionError:
            self.server.left.set()

    def _refusal(self, text: str, streamed: bool) -> Refusal | None:
        if text == BUSY and self.server.asked.count(BUSY) <= 2:
            return REFUSALS["too often"]
        if text == "crashes" and not streamed:
            return _CRASH
        return REFUSALS.get(text)

    def _complete(self, text: str) -> None:
        if text == "falls silent":
            self.server.closed.wait(self.server.silence)
        message = {"role": "assistant", "content": "".join(TOKENS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        completion = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}
        self._send(200, completion, cut=text == "breaks off")

    def _stream(self, text: str) -> None:
        self._begin(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for chunk in self._chunks(text):
            self._send_event(orjson.dumps(chunk))
        if text != "breaks off":  # without the last chunk, the HTTP body is incomplete
            self._send_event(b"[DONE]")
            self.wfile.write(b"0\r\n\r\n")

    def _chunks(self, text: str) -> Iterator[dict[str, Any]]:
        for token in TOKENS:
            yield _chunk({"content": token})
        while text == ENDLESS and not self.server.closed.wait(_PAUSE):
            yield _chunk({"content": " more"})
        if text == "falls silent":
            self.server.closed.wait(self.server.silence)
        if text == "crashes":
            yield _error(_CRASH)
        elif text != "breaks off":
            yield _chunk({}, "stop")
            yield {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}

    def _send(self, status: int, value: dict[str, Any], *, cut: bool = False) -> None:
        body = orjson.dumps(value)
        self._begin(status, {"content-type": "application/json", "content-length": str(len(body))})
        self.wfile.write(body[:20] if cut else body)

    def _send_event(self, data: bytes) -> None:
        event = b"data: %b\n\n" % data
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "connection": "close"}.items():
            self.send_header(name, value)
        if status == 429:
            self.send_header("retry-after", str(self.server.retry_after))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no access log, which would appear in the notebook."""


def _chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}


def _error(refusal: Refusal) -> dict[str, Any]:
    return {"error": {"message": refusal.message, "type": refusal.type, "code": refusal.code}}
