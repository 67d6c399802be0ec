"""Shows the warnings that a server sends with an answer (contract §2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import orjson

from llm_streaming.printable import one_line

_CALLER = 5  # the frames from `warnings.warn` up to the code that reads a stream


def show_warnings(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Issue a Python warning for each sentence in a response's ``parameters.warnings``, and return the response."""
    parameters = response.get("parameters")
    given = parameters.get("warnings") if isinstance(parameters, Mapping) else None
    try:
        sentences = orjson.loads(given) if isinstance(given, str) else []
    except orjson.JSONDecodeError:
        sentences = []
    for sentence in sentences if isinstance(sentences, list) else []:
        warnings.warn(one_line(str(sentence)), stacklevel=_CALLER)
    return response
