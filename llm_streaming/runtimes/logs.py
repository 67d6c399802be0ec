"""Logging of failed requests in one line each, where MLServer by itself logs a hundred lines or none."""

from __future__ import annotations

import logging

from mlserver.errors import MLServerError
from mlserver.logging import logger

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.masking import masked
from llm_streaming.protocol.response import sendable
from llm_streaming.runtimes.request_limits import RequestRefusedError

# uvicorn (once an event has been sent) and MLServer's gRPC server log a runtime's exception a second time. asyncio logs
# an error after a client has disconnected: MLServer does not close its generators, so asyncio closes them later, in
# another context. That record contains the name of the generator, or of the context variable that the generator sets.
_LOGGERS = ("uvicorn.error", "mlserver.grpc", "asyncio")
_UNCLOSED_GENERATORS = ("DataPlane.infer_stream", "<ContextVar name='model_name'")


class ChatError(MLServerError):
    """A failure that a runtime reports to MLServer; the failure of a request has already been logged.

    The status is never 400 or 404, because SC2's agent reloads the model after these (contract §3).
    """

    def __init__(self, failure: EngineError) -> None:
        super().__init__(str(failure), 422 if failure.status in (400, 404) else failure.status)


class _DropKnown(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Drop failures that have been logged already, and asyncio's errors after a client has disconnected."""
        if record.name == "asyncio":
            return not any(sign in record.getMessage() for sign in _UNCLOSED_GENERATORS)
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and not isinstance(error, ChatError):
            error = error.__cause__ or error.__context__
        return error is None


_DROP_KNOWN = _DropKnown()


def silence_mlserver() -> None:
    """Stop other loggers from logging a failure a second time; it is safe to call this function repeatedly."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_DROP_KNOWN)  # has no effect if the logger already has the filter


def log_failure(error: Exception) -> EngineError:
    """Log why a request failed, and return the failure as an `EngineError`.

    An unexpected exception is logged with its traceback. The client receives neither its type nor its message, because
    they say nothing about the request and could contain secrets.

    Returns:
        An error that every transport can send: without secrets and lone surrogates, and with short texts.
    """
    match error:
        case EngineError():
            failure = error
        case ProtocolError():
            failure = EngineError(str(error), status=422, type="invalid_request_error")
        case RequestRefusedError():
            failure = EngineError(str(error), status=error.status_code, type="invalid_request_error")
        case _:
            logger.exception("a request failed with an unexpected exception")
            return EngineError("the server failed unexpectedly: see the server's log")
    failure.rewrite(lambda text: sendable(masked(text)))
    logger.error("%s (status %s)", failure, failure.status)
    return failure
