"""Makes log records of this process safe: no text can hide secrets in them, control a terminal or forge a record."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from llm_streaming.masking import masked
from llm_streaming.printable import printable

_create = logging.getLogRecordFactory()


def safe_text(text: str) -> str:
    """Hide secrets, show control characters, and indent all lines but the first, so that none looks like a record."""
    return printable(masked(text.rstrip("\n"))).replace("\n", "\n    ")


def protect_logs() -> None:
    """Apply `safe_text` to every record that this process logs from now on."""
    logging.setLogRecordFactory(_create_safe)


def _create_safe(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 - as the function that it replaces
    record = _create(*args, **kwargs)
    record.msg = safe_text(str(record.msg))
    if isinstance(record.args, tuple):  # formatters of uvicorn read the single arguments
        record.args = tuple(each if isinstance(each, int | float) else safe_text(str(each)) for each in record.args)
    if record.exc_info:
        record.exc_text = "\n".join(map(safe_text, traceback.format_exception(*record.exc_info)))
    return record
