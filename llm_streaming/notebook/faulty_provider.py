"""A local server of OpenAI's API that fails on purpose, for the lesson on failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

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
"""The errors that answer a chat, by the text of its last message."""

FAILURES = ("crashes", "breaks off", "falls silent")
"""Last messages whose answer fails halfway, or pauses."""

BUSY = "busy"
"""A last message that is refused with 429 twice, and then answered."""

ENDLESS = "endless"
"""A last message whose streamed answer goes on until the client closes the connection."""

TOKENS = ("One,", " two,", " three.")
"""The answer to every other chat, token by token."""

_CRASH = Refusal(500, "The model has crashed.", "server_error", None)
_PAUSE = 0.02  # seconds between the tokens of an endless answer


class FaultyProvider:
    """Serves OpenAI's chat completions; the text of a chat's last message selects the failure.

    Args:
        silence: seconds for which the answer to ``falls silent`` pauses.
        retry_after: whole seconds in the ``retry-after`` header of a 429.

    Attributes:
        asked: the last messages of all requests so far.
        left: set when a client has closed its connection before the end of its answer.
        closed: set when the provider is closed.

    Example:
        >>> with FaultyProvider() as provider:
        ...     provider.base_url.endswith("/v1")
        True
    """

    def __init__(self, *, silence: float = 2.0, retry_after: int = 1) -> None:
        self.silence = silence
        self.retry_after = retry_after
        self.asked: list[str] = []
        self.left = threading.Event()
        self.closed = threading.Event()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), lambda *connection: _Handler(self, *connection))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def base_url(self) -> str:
        """The base URL for OpenAI's clients."""
        return f"http://{LOOPBACK}:{self._server.server_port}/v1"

    def close(self) -> None:
        """Stop the server, and end the answers that it still sends."""
        self.closed.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """Handles one request."""

    protocol_version = "HTTP/1.1"

    def __init__(self, provider: FaultyProvider, *connection: Any) -> None:  # noqa: ANN401 - http.server's
        self._provider = provider
        super().__init__(*connection)

    def do_POST(self) -> None:
        """Answer a chat completion, or fail."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = request["messages"][-1]["content"]
        self._provider.asked.append(text)
        try:
            if refusal := self._refusal(text):
                self._refuse(refusal)
            elif request.get("stream"):
                self._stream(text)
            elif text == "crashes":
                self._refuse(_CRASH)
            else:
                self._complete(text)
        except ConnectionError:
            self._provider.left.set()

    def _refusal(self, text: str) -> Refusal | None:
        busy = text == BUSY and self._provider.asked.count(BUSY) <= 2
        return REFUSALS["too often"] if busy else REFUSALS.get(text)

    def _refuse(self, refusal: Refusal) -> None:
        body = _line(_error(refusal))
        wait = {"retry-after": str(self._provider.retry_after)} if refusal.status == 429 else {}
        self._begin(refusal.status, {"content-type": "application/json", "content-length": str(len(body)), **wait})
        self.wfile.write(body)

    def _complete(self, text: str) -> None:
        if text == "falls silent":
            self._provider.closed.wait(self._provider.silence)
        message = {"role": "assistant", "content": "".join(TOKENS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        body = _line({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
        self._begin(200, {"content-type": "application/json", "content-length": str(len(body))})
        self.wfile.write(body[:20] if text == "breaks off" else body)

    def _stream(self, text: str) -> None:
        self._begin(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for event in self._events(text):
            data = b"data: %b\n\n" % event
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if text != "breaks off":  # without its last chunk, the body is incomplete
            self.wfile.write(b"0\r\n\r\n")

    def _events(self, text: str) -> Iterator[bytes]:
        for token in TOKENS:
            yield _line(_chunk({"content": token}))
        while text == ENDLESS and not self._provider.closed.wait(_PAUSE):
            yield _line(_chunk({"content": " more"}))
        if text == "falls silent":
            self._provider.closed.wait(self._provider.silence)
        if text == "crashes":
            yield _line(_error(_CRASH))
        elif text != "breaks off":
            yield _line(_chunk({}, "stop"))
            yield _line({**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE})
            yield b"[DONE]"

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:  # noqa: ANN401 - http.server's
        """Keep the access log out of the notebook."""


_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "faulty"}
_USAGE = {"prompt_tokens": 1, "completion_tokens": len(TOKENS), "total_tokens": 1 + len(TOKENS)}


def _chunk(delta: Mapping[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}


def _error(refusal: Refusal) -> dict[str, Any]:
    return {"error": {"message": refusal.message, "type": refusal.type, "code": refusal.code}}


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
