"""The exceptions of this package. Each message says in one sentence what happened and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Self

from llm_streaming.printable import printable


class LLMStreamingError(Exception):
    """The base class of all exceptions that this package defines."""

    def __str__(self) -> str:
        """Return the message, with control characters shown, because parts of it may come from a model or provider."""
        return printable(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Make IPython print the message instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class ProtocolError(LLMStreamingError):
    """A request or a response violates the wire format (contract §1 and §2).

    The message gives the location, such as a tensor and an index, what was expected and what was found.
    """


class ManifestError(LLMStreamingError):
    """A manifest cannot be read, is invalid, or names a file that does not exist."""


class MeshError(LLMStreamingError):
    """The mesh, one of its servers or a model on it cannot do what was requested."""


class EngineError(LLMStreamingError):
    """An engine rejected a request, or failed while it answered the request.

    Args:
        message: one sentence, which is the engine's own message if there is one.
        status: the HTTP status that OpenAI's API would return.
        type: OpenAI's error type, such as ``invalid_request_error``.
        code: OpenAI's error code, such as ``context_length_exceeded``, or None.
        retry_after: seconds to wait before a retry, or None if the provider does not say.
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

    def rewrite(self, change: Callable[[str], str]) -> Self:
        """Apply a function to the message, the type and the code, and return the same error."""
        self.args = (change(str(self)),)
        self.type = change(self.type)
        self.code = self.code and change(self.code)
        return self

    def as_openai(self) -> dict[str, Any]:
        """Return the error as a response body of OpenAI's API: ``{"error": {"message", "type", "code"}}``."""
        return {"error": {"message": str(self), "type": self.type, "code": self.code}}


class InferenceError(LLMStreamingError):
    """A call to a model failed.

    Args:
        message: one sentence about what went wrong.
        status: the HTTP status, or None if no status arrived.
        code: OpenAI's error code or type, or None.
        retry_after: seconds to wait before a retry, or None. Only errors in streams have this field; an error in place
            of a whole answer can give the seconds only in its message.
        partial: the text that had arrived before the failure, or ``""``.
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
        self.message = str(self)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.partial = partial


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a hint for a message about an unknown name, `` (did you mean x?)``, or ``""`` if no known name is similar.

    Args:
        name: the unknown name.
        known: the names that exist.
        prefix: text to put before the similar name, such as the path of the mapping that contains it.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {prefix}{nearest[0]}?)" if nearest else ""
