"""Turns failures over HTTP and gRPC into `InferenceError`, with the same messages for both transports."""

from __future__ import annotations

import json
from typing import Any

from llm_streaming.errors import EngineError, InferenceError, ProtocolError
from llm_streaming.protocol import decode_error

# MLServer uses only four gRPC statuses, and SC2's agent none (contract §3 and §5). Unlisted statuses become 500.
_HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 404,  # Envoy's 404 when no route matches the call
    "FAILED_PRECONDITION": 422,  # from MLServer
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# gRPC uses the same statuses for failures of the connection and of the server, so the messages are compared.
_UNREACHABLE = ("failed to connect", "errors resolving", "DNS resolution failed")
_CUT = ("Received RST_STREAM", "Socket closed", "recvmsg:", "Stream removed", "Cancelling all calls", "GOAWAY")


def no_server(address: str) -> InferenceError:
    """Build the error for a call that could not connect to a server."""
    return InferenceError(f"no server answers at {address}: check that the mesh is open and the address is right")


def too_silent(address: str) -> InferenceError:
    """Build the error for a call whose server sent nothing for longer than the client's timeout."""
    return InferenceError(f"{address} sent nothing for longer than the client's timeout")


def connection_lost(kind: str) -> InferenceError:
    """Build the error for a call whose connection broke. `kind`: the transport's name for the failure."""
    return InferenceError(
        f"the answer broke off before it was complete ({kind}), most likely because the model's server exited: "
        "mesh.logs or `llm-streaming logs` shows why; ask again, and connect again if the mesh is closed"
    )


def not_deployed(model: str) -> str:
    """Build the message about a model that is not on the mesh."""
    return f"model '{model}' is not deployed here: apply its manifest and wait until it is ready"


def reported_error(error: EngineError | ProtocolError, status: int | None = None) -> InferenceError:
    """Build the error for an answer that reports a failure or is malformed. `status`: that of a malformed answer."""
    if isinstance(error, ProtocolError):
        return InferenceError(str(error), status=status)
    return InferenceError(str(error), status=error.status, code=error.code or error.type, retry_after=error.retry_after)


def http_error(model: str, status: int, body: bytes) -> InferenceError:
    """Build the error for an HTTP response with an error status, from the message in its body if there is one."""
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
    """Build the error for a gRPC call that ended with an error status; `error` is gRPC's ``RpcError`` or call.

    `started`: whether a part of the answer had arrived. `own_deadline`: whether the client set a deadline for the call.
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
        http_status = 413  # by default, gRPC servers accept messages up to 4 MB
    message = message or f"the call to model '{model}' failed with gRPC status {status}"
    return InferenceError(message, status=http_status)
