"""Shows the warnings that a server sends with an answer (contract §2)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from llm_streaming.errors import ProtocolError
from llm_streaming.printable import one_line
from llm_streaming.protocol import json

_CALLER = 5  # the frames from `warnings.warn` up to the code that reads a stream


def show_warnings(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Issue a Python warning for each sentence in a response's ``parameters.warnings``, and return the response."""
    parameters = response.get("parameters")
    if isinstance(parameters, Mapping) and "warnings" in parameters:
        with suppress(ProtocolError):  # another server may use this name for something else
            for sentence in json.parse(parameters["warnings"], list, "warnings", "a list"):
                warnings.warn(one_line(str(sentence)), stacklevel=_CALLER)
    return response
