"""The exceptions of this package: each says in one sentence what happened and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LLMStreamingError(Exception):
    """Everything this package raises on purpose; its message is written for the person who reads it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints instead of a traceback: in a notebook the sentence is enough."""
        return [f"{type(self).__name__}: {self}"]


class ProtocolError(LLMStreamingError):
    """A request or an answer breaks the wire contract; the message names tensor, index and what was expected."""


class ManifestError(LLMStreamingError):
    """A manifest cannot be read, checked or resolved."""


class MeshError(LLMStreamingError):
    """The mesh, one of its servers or a model on it cannot do what was asked."""


class EngineError(LLMStreamingError):
    """An engine refused a request or failed while it answered.

    Args:
        message: one sentence, in the engine's own words where it has them.
        status: the HTTP status OpenAI's API would answer with.
        type: OpenAI's error type, such as ``invalid_request_error``.
        code: OpenAI's error code, such as ``context_length_exceeded``, or None.
        retry_after: seconds to wait before trying again, where the provider names them.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 500,
        type: str = "server_error",  # noqa: A002 - OpenAI's own name
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.retry_after = retry_after

    def as_openai(self) -> dict[str, Any]:
        """The error as OpenAI's API states it: ``{"error": {"message", "type", "code"}}``."""
        return {"error": {"message": str(self), "type": self.type, "code": self.code}}


class InferenceError(LLMStreamingError):
    """A call to a model failed.

    Args:
        message: one sentence about what went wrong.
        status: the HTTP status, or None where the connection broke before any.
        code: OpenAI's error code or type, or None.
        retry_after: seconds to wait before asking again, where a stream's error names them; whole answers have no
            place for it but their words.
        partial: the text that had arrived before the failure; ``""`` where none had.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        partial: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.partial = partial


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """A hint to append to a message about an unknown name: `` (did you mean x?)``, or ``""`` if none is similar.

    Args:
        name: the unknown name.
        known: the names that exist.
        prefix: what to write before the nearest name, such as the path of the mapping that holds it.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""
