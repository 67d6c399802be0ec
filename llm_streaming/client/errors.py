"""Turns the failures that HTTP and gRPC report into `InferenceError`, with the same words for both."""

from __future__ import annotations

import json
from typing import Any

from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import decode_error

# MLServer's gRPC knows four statuses and SC2's agent none (contract §3 and §5). A status that is not here becomes 500.
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,  # Envoy's 404 for a call that no route matches
    "FAILED_PRECONDITION": 422,  # MLServer's
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# gRPC has the same statuses for its own failures and for the server's: only the messages differ.
_UNREACHABLE = ("failed to connect", "errors resolving", "DNS resolution failed")
_CUT = ("Received RST_STREAM", "Socket closed", "recvmsg:", "Stream removed", "Cancelling all calls", "GOAWAY")


def no_server(address: str) -> InferenceError:
    """The error of a call that reached no server."""
    return InferenceError(f"no server answers at {address}: check that the mesh is open and the address is right")


def too_silent(address: str) -> InferenceError:
    """The error of a call whose server sent nothing for longer than the client waits."""
    return InferenceError(f"{address} sent nothing for longer than the client's timeout")


def connection_lost(kind: str) -> InferenceError:
    """The error of a call whose connection broke; `kind` is the transport's name for the failure."""
    return InferenceError(f"the answer broke off before it was complete ({kind}): see the server's log")


def not_deployed(model: str) -> str:
    """The message about a model that the mesh does not have."""
    return f"model '{model}' is not deployed here: apply its manifest and wait until it is ready"


def reported_error(error: EngineError | ProtocolError, status: int | None = None) -> InferenceError:
    """The error of an answer that reports a failure, or that cannot be read, in which case it came with `status`."""
    if isinstance(error, ProtocolError):
        return InferenceError(str(error), status=status)
    return InferenceError(str(error), status=error.status, code=error.code or error.type, retry_after=error.retry_after)


def http_error(model: str, status: int, body: bytes) -> InferenceError:
    """The error of an HTTP response with an error status; its body usually says why."""
    try:
        message = str(decode_error(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip()
    if not message and status == 404:
        message = not_deployed(model)
    return InferenceError(message or f"the call to model '{model}' failed with HTTP {status}", status=status)


def grpc_error(
    error: Any,  # noqa: ANN401 - gRPC has no types
    address: str,
    model: str,
    *,
    started: bool = False,
    own_deadline: bool = False,
) -> InferenceError:
    """The error of a gRPC call that ended with an error status; `error` is gRPC's ``RpcError`` or call.

    `started` says whether part of the answer had arrived, and `own_deadline` whether the client set the deadline.
    """
    status, message = error.code().name, error.details() or ""
    if status == "UNAVAILABLE" and not started and message.startswith(_UNREACHABLE):
        return no_server(address)
    if status == "DEADLINE_EXCEEDED" and own_deadline:
        return too_silent(address)
    was_cut = status == "CANCELLED" or (status == "UNAVAILABLE" and started)
    if was_cut or any(sign in message for sign in _CUT):
        return connection_lost(status)
    http_status = _HTTP_STATUS.get(status, 500)
    if status == "UNIMPLEMENTED" and (not message or "status: 404" in message):
        message = not_deployed(model)
    if status == "RESOURCE_EXHAUSTED" and "larger than max" in message:
        http_status = 413  # gRPC servers take 4 MB unless they are configured otherwise
    message = message or f"the call to model '{model}' failed with gRPC status {status}"
    return InferenceError(message, status=http_status)
