"""What every engine is, so that whoever holds one need not know which."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol


class Engine(Protocol):
    """Anything that streams OpenAI chat-completion chunks.

    A request is the body of an OpenAI chat completion without ``model``, ``stream`` and ``stream_options``: messages,
    tools and sampling parameters. Every failure is an `llm_streaming.errors.EngineError`.
    """

    @property
    def alive(self) -> bool:
        """Whether it can answer; False when what computes has ended by itself."""
        ...

    def stream(self, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream an answer.

        Closing the generator ends the generation (``contextlib.aclosing``).

        Args:
            request: what is asked.

        Yields:
            One ``chat.completion.chunk`` a piece, as JSON on one line; the one with the usage (``choices: []``) last.

        Raises:
            EngineError: the request is refused, or the answer broke off: without a finish_reason nothing is an answer.
        """
        ...

    async def complete(self, request: dict[str, Any]) -> bytes:
        """The whole answer, one ``chat.completion``, as JSON on one line.

        Args:
            request: what is asked.

        Raises:
            EngineError: the request is refused or fails.
        """
        ...

    async def close(self) -> None:
        """End what is running and free what the engine holds; streams after this raise `EngineError`."""
        ...
