"""What a gRPC status means: the same `InferenceError` as over HTTP, as far as the transport tells."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode

from llm_streaming.client.calls import StreamReader, broke_off, nobody_answers, not_deployed, too_silent
from llm_streaming.errors import InferenceError

_HTTP = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.UNIMPLEMENTED: 404,  # what Envoy, which has no route, makes of its 404
    StatusCode.FAILED_PRECONDITION: 422,  # MLServer's
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}  # everything else is a 500: MLServer's gRPC knows four statuses, and SC2's agent none (contract §3 and §5)

# gRPC reports what it found out itself and what the server said in the same way; only the words differ.
_UNREACHABLE = ("failed to connect", "errors resolving", "DNS resolution failed")
_CUT = ("Received RST_STREAM", "Socket closed", "recvmsg:", "Stream removed", "Cancelling all calls", "GOAWAY")


def failure(error: Any, where: str, model: str, reader: StreamReader | None = None) -> InferenceError:  # noqa: ANN401
    """Say why a call failed.

    Args:
        error: gRPC's ``RpcError``, of either twin.
        where: the server's address.
        model: the model's name.
        reader: who read the stream; None for a unary call.
    """
    code, words = error.code(), error.details() or ""
    partial = reader.partial if reader else ""
    started = reader is not None and reader.started
    match code:
        case StatusCode.UNAVAILABLE if not started and words.startswith(_UNREACHABLE):
            return InferenceError(nobody_answers(where))
        case StatusCode.DEADLINE_EXCEEDED if reader is None:
            return InferenceError(too_silent(where))
        case StatusCode.UNAVAILABLE if started:
            return lost(code.name, partial)
        case StatusCode.CANCELLED:
            return lost(code.name, partial)
        case _ if any(cut in words for cut in _CUT):
            return lost(code.name, partial)
    status = _HTTP.get(code, 500)
    if code == StatusCode.UNIMPLEMENTED and (not words or "status: 404" in words):
        words = not_deployed(model)
    if code == StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        status = 413  # gRPC servers take 4 MB unless told otherwise
    return InferenceError(
        words or f"the call of model '{model}' failed with gRPC status {code.name}", status=status, partial=partial
    )


def lost(kind: str, partial: str) -> InferenceError:
    """Say that the connection was lost; `kind` is the status gRPC gives it."""
    return InferenceError(broke_off(kind), partial=partial)
