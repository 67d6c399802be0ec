"""Logs each failed request in one line; MLServer alone logs a hundred lines or none."""

from __future__ import annotations

import logging

from mlserver.errors import MLServerError
from mlserver.logging import logger

from llm_streaming.errors import EngineError, ProtocolError

# The HTTP server (after an event was sent) and MLServer's gRPC server log a runtime's exception once more. asyncio logs
# an error after a client has left, because MLServer does not close its generators and asyncio closes them later, in
# another context. The record names the generator or the context variable that it sets.
_LOGGERS = ("uvicorn.error", "mlserver.grpc", "asyncio")
_UNCLOSED_GENERATORS = ("DataPlane.infer_stream", "<ContextVar name='model_name'")


class ChatError(MLServerError):
    """A failure that has been logged.

    Its status is never 400 or 404, because SC2's agent reloads the model on these (contract §3).
    """

    def __init__(self, failure: EngineError) -> None:
        super().__init__(str(failure), 422 if failure.status in (400, 404) else failure.status)


class _DropKnown(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop failures that have been logged already, and the errors after a client has left."""
        if record.name == "asyncio":
            return not any(sign in record.getMessage() for sign in _UNCLOSED_GENERATORS)
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and not isinstance(error, ChatError):
            error = error.__cause__ or error.__context__
        return error is None


_DROP_KNOWN = _DropKnown()


def silence_mlserver() -> None:
    """Keep other loggers from repeating failures that have been logged; may be called again."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_DROP_KNOWN)  # does nothing when the filter is there already


def log_failure(error: Exception) -> EngineError:
    """Log why a request failed, and return the failure as an `EngineError`.

    An unforeseen exception is logged with its traceback. The client is told only its type, because its message could
    hold secrets.
    """
    match error:
        case EngineError():
            failure = error
        case ProtocolError():
            failure = EngineError(str(error), status=422, type="invalid_request_error")
        case _:
            logger.exception("a request failed with an unforeseen exception")
            return EngineError(f"the server failed ({type(error).__name__}): its log says more", type="server_error")
    logger.error("%s (status %s)", failure, failure.status)
    return failure
