"""What both twins of the HTTP client share: the request they send, and what they make of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import (
    ChatEvent,
    ChatRequest,
    Completion,
    decode_completion,
    decode_error,
    decode_event,
    decode_text_event,
    encode_request,
)

Message = dict[str, Any]


def origin_of(address: str) -> str:
    """Turn ``host:port``, or a URL, into a URL without a path.

    Raises:
        InferenceError: it is neither.
    """
    origin = address.rstrip("/") if "://" in address else f"http://{address}"
    try:
        url = httpx.URL(origin)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise InferenceError(f"{address!r} is no address: give the mesh's host:port, which mesh.address holds")
    return origin


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
    body = encode_request(request)
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"parameters: expected what JSON can hold, but {error}") from None
    return body


def refusal(model: str, status: int, body: bytes) -> InferenceError:
    """Say why a call was answered with an HTTP error: in the server's words, where it has any."""
    try:
        words = str(decode_error(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        words = body.decode(errors="replace").strip()
    if not words and status == httpx.codes.NOT_FOUND:
        words = not_deployed(model)
    return InferenceError(words or f"the call of model '{model}' failed with HTTP {status}", status=status)


def unreachable(origin: str, error: httpx.HTTPError, partial: str = "") -> InferenceError:
    """Say why a call broke off before its answer was complete."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            words = nobody_answers(origin)
        case httpx.TimeoutException():
            words = too_silent(origin)
        case _:
            words = broke_off(type(error).__name__)
    return InferenceError(words, partial=partial)


def not_deployed(model: str) -> str:
    """The sentence about a model that the mesh does not know."""
    return f"model '{model}' is not deployed here: apply its manifest and wait until it is ready"


def nobody_answers(where: str) -> str:
    """The sentence about an address without a server."""
    return f"nobody answers at {where}: is the mesh open, and its address right?"


def too_silent(where: str) -> str:
    """The sentence about a server that has said nothing for longer than the client waits."""
    return f"{where} was silent for longer than the client's timeout allows"


def broke_off(kind: str) -> str:
    """The sentence about a connection that was lost; `kind` is what the transport calls it."""
    return f"the answer broke off before it was complete ({kind}): see the server's log"


def completion_of(response: httpx.Response, model: str) -> Completion:
    """Read a unary answer.

    Raises:
        InferenceError: the call failed, or the answer is not one.
    """
    if response.is_error:
        raise refusal(model, response.status_code, response.content)
    return read_completion(response.text)


def json_object(data: str) -> dict[str, Any]:
    """Parse an inference response that came as JSON.

    Raises:
        ProtocolError: it is no JSON object.
    """
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ProtocolError(f"expected an inference response, a JSON object, but got {data[:80]!r}")
    return found


def read_completion(data: Any, parse: Callable[[Any], dict[str, Any]] = json_object) -> Completion:  # noqa: ANN401
    """Read the body of a unary answer; `parse` makes the protocol's JSON of what the transport delivers.

    Raises:
        InferenceError: it reports an error, or is not an answer.
    """
    try:
        return decode_completion(parse(data))
    except EngineError as error:
        raise InferenceError(str(error), status=error.status, code=error.code or error.type) from None
    except ProtocolError as error:
        raise InferenceError(str(error), status=httpx.codes.OK) from None


class _Output(msgspec.Struct, gc=False):
    name: str
    data: list[str]


class _Response(msgspec.Struct, gc=False):
    outputs: list[_Output]
    parameters: dict[str, Any] = {}


_RESPONSE = msgspec.json.Decoder(_Response)


def read_event(data: str) -> ChatEvent:
    """Read one event's data over HTTP.

    Raises:
        EngineError: the event reports an error.
        ProtocolError: it is malformed.
    """
    usual = None
    try:
        response = _RESPONSE.decode(data)
        _, content, *_, whole = response.outputs
        if (content.name, whole.name) == ("content", "output_all") and "error" not in response.parameters:
            (text,), (line,) = content.data, whole.data
            usual = decode_text_event(text, line)
    except (msgspec.MsgspecError, ValueError):
        pass  # what is unusual is read with care, and what is wrong refused in words
    return usual or decode_event(json_object(data))


class StreamReader:
    """Reads the events of one stream, and keeps what has arrived for whoever has to report a failure.

    Args:
        model: the model's name.
        decode: makes an event of what the transport delivers for one.

    Attributes:
        partial: the text so far.
        started: whether any event has arrived.
    """

    def __init__(self, model: str, decode: Callable[[Any], ChatEvent] = read_event) -> None:
        self.partial = ""
        self.started = False
        self._model = model
        self._decode = decode
        self._finished = False

    def read(self, data: str | bytes) -> ChatEvent:
        """Decode one event's data.

        Raises:
            InferenceError: the event reports an error, or is malformed.
        """
        self.started = True
        try:
            event = self._decode(data)
        except EngineError as error:
            raise InferenceError(
                str(error),
                status=error.status,
                code=error.code or error.type,
                retry_after=error.retry_after,
                partial=self.partial,
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
