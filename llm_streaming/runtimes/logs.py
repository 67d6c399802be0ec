"""One line in the server's log for a request that failed, instead of MLServer's hundred."""

from __future__ import annotations

import logging

from mlserver.errors import MLServerError

# Who logs what a runtime has raised: the HTTP server after an event was sent, and MLServer's gRPC server.
_LOGGERS = ("uvicorn.error", "mlserver.grpc")


class ChatError(MLServerError):
    """A request that failed in a way the runtime knows: its words say all, and its traceback nothing."""


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        failure = _known_failure(record.exc_info[1] if record.exc_info else None)
        if failure:
            record.msg, record.args = "%s (status %s)", (str(failure), failure.status_code)
            record.exc_info = record.exc_text = None
        return True


def _known_failure(error: BaseException | None) -> ChatError | None:
    """Find a `ChatError` among an exception and what it was raised from."""
    while error is not None and not isinstance(error, ChatError):
        error = error.__cause__ or error.__context__
    return error


def shorten_logs() -> None:
    """Have known failures logged in one line; may be called again."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(one, _OneLine) for one in logger.filters):
            logger.addFilter(_OneLine())
