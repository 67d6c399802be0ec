"""One line in the server's log for each request that failed, instead of MLServer's hundred or none."""

from __future__ import annotations

import logging

from mlserver.errors import MLServerError
from mlserver.logging import logger

from llm_streaming.errors import EngineError, ProtocolError

# Who logs what a runtime has raised: the HTTP server after an event was sent, and MLServer's gRPC server. And asyncio:
# when a client leaves, MLServer forgets its generators, which then complain that they are closed by somebody else: by
# their own name, or, where a task of asyncio's closes them, by that of the variable which they set.
_LOGGERS = ("uvicorn.error", "mlserver.grpc", "asyncio")
_FORGOTTEN = ("DataPlane.infer_stream", "<ContextVar name='model_name'")


class ChatError(MLServerError):
    """A request that failed, and has been logged."""


class _Logged(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Pass over failures that stand in the log already, and over clients that have left."""
        if record.name == "asyncio":
            return not any(sign in record.getMessage() for sign in _FORGOTTEN)
        error = record.exc_info[1] if record.exc_info else None
        while error is not None and not isinstance(error, ChatError):
            error = error.__cause__ or error.__context__
        return error is None


def silence_mlserver() -> None:
    """Have known failures logged here alone; may be called again."""
    for name in _LOGGERS:
        others = logging.getLogger(name)
        if not any(isinstance(one, _Logged) for one in others.filters):
            others.addFilter(_Logged())


def log_failure(error: Exception) -> EngineError:
    """Log why a request failed, and return it as an engine's error.

    What nobody has foreseen is logged with its traceback, and told without: it may hold anything.
    """
    match error:
        case EngineError():
            failure = error
        case ProtocolError():
            failure = EngineError(str(error), status=422, type="invalid_request_error")
        case _:
            logger.exception("a request failed in a way that nobody has foreseen")
            return EngineError(f"the server failed ({type(error).__name__}): its log says more", type="server_error")
    logger.error("%s (status %s)", failure, failure.status)
    return failure
