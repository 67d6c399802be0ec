"""What both twins of the HTTP client share: the request they send, and what they make of an answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import (
    ChatEvent,
    ChatRequest,
    Completion,
    decode_completion,
    decode_error,
    decode_event,
    encode_request,
)

Message = dict[str, Any]


def origin_of(address: str) -> str:
    """Turn ``host:port``, or a URL, into a URL without a path."""
    return address.rstrip("/") if "://" in address else f"http://{address}"


def path_of(model: str, endpoint: str) -> str:
    """The Open Inference Protocol's path of a model's endpoint."""
    return f"/v2/models/{quote(model, safe='')}/{endpoint}"


def request_body(
    messages: Sequence[Message], tools: Sequence[Message] | None, parameters: dict[str, Any]
) -> dict[str, Any]:
    """Encode a chat request; ``tool_choice`` and ``parallel_tool_calls`` are among `parameters`, as in OpenAI's API.

    Raises:
        ProtocolError: a message or a tool is malformed.
    """
    sampling = dict(parameters)
    request = ChatRequest(
        messages=list(messages),
        tools=list(tools) if tools else None,
        tool_choice=sampling.pop("tool_choice", None),
        parallel_tool_calls=sampling.pop("parallel_tool_calls", None),
        parameters=sampling,
    )
    return encode_request(request)


def refusal(model: str, status: int, body: bytes) -> InferenceError:
    """Say why a call was answered with an HTTP error: in the server's words, where it has any."""
    try:
        words = str(decode_error(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        words = body.decode(errors="replace").strip()
    if not words and status == httpx.codes.NOT_FOUND:
        words = f"model '{model}' is not deployed here: apply its manifest and wait until it is ready"
    return InferenceError(words or f"the call of model '{model}' failed with HTTP {status}", status=status)


def unreachable(origin: str, error: httpx.HTTPError, partial: str = "") -> InferenceError:
    """Say why a call broke off before its answer was complete."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            words = f"nobody answers at {origin}: is the mesh open, and its address right?"
        case httpx.TimeoutException():
            words = f"{origin} was silent for longer than the client's timeout allows"
        case _:
            words = f"the answer broke off before it was complete ({type(error).__name__}): see the server's log"
    return InferenceError(words, partial=partial)


def completion_of(response: httpx.Response, model: str) -> Completion:
    """Read a unary answer.

    Raises:
        InferenceError: the call failed, or the answer is not one.
    """
    if response.is_error:
        raise refusal(model, response.status_code, response.content)
    try:
        return decode_completion(_object(response.text))
    except ProtocolError as error:
        raise InferenceError(str(error), status=response.status_code) from None


class StreamReader:
    """Reads the events of one stream, and keeps what has arrived for whoever has to report a failure.

    Attributes:
        partial: the text so far.
    """

    def __init__(self, model: str) -> None:
        self.partial = ""
        self._model = model
        self._finished = False

    def read(self, data: str) -> ChatEvent:
        """Decode one event's data.

        Raises:
            InferenceError: the event reports an error, or is malformed.
        """
        try:
            event = decode_event(_object(data))
        except EngineError as error:
            raise InferenceError(
                str(error), status=error.status, code=error.code or error.type, partial=self.partial
            ) from None
        except ProtocolError as error:
            raise InferenceError(str(error), partial=self.partial) from None
        self.partial += event.content
        self._finished = self._finished or event.finish_reason is not None
        return event

    def end(self) -> None:
        """Check, after the last event, that the answer is whole.

        Raises:
            InferenceError: no event said why it ended: something on the way has cut it.
        """
        if not self._finished:
            raise InferenceError(
                f"the stream of model '{self._model}' ended without a finish_reason: the answer is not complete",
                partial=self.partial,
            )


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError(f"expected an inference response, a JSON object, but got {data[:80]!r}")
    return found
