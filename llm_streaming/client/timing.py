"""Measures streams: the time to the first text, and the tokens per second after it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable
from dataclasses import dataclass

from llm_streaming.protocol import ChatEvent


@dataclass(frozen=True)
class Timing:
    """The times of one stream, measured by its reader.

    Args:
        arrivals: seconds from the request to each event with text, in order.
        total: seconds from the request to the last event.
        tokens: the number of tokens in the answer, as reported by the engine; None if the engine reports none.
    """

    arrivals: tuple[float, ...]
    total: float
    tokens: int | None

    @property
    def first_token(self) -> float | None:
        """Seconds from the request to the first text; None if there was no text."""
        return self.arrivals[0] if self.arrivals else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens per second after the first token; None if there are fewer than two, or all arrived at once."""
        if self.first_token is None or self.tokens is None or self.tokens < 2 or self.total <= self.first_token:
            return None
        return (self.tokens - 1) / (self.total - self.first_token)

    def __str__(self) -> str:
        first = "no text" if self.first_token is None else f"first token after {self.first_token:.2f} s"
        rate = f", then {self.tokens_per_second:.0f} tokens/s" if self.tokens_per_second else ""
        return f"{first}{rate}, {self.total:.2f} s in all"


class Stopwatch:
    """Measures the times of a stream, starting when the stopwatch is created.

    Example:
        >>> stopwatch = Stopwatch()
        >>> stopwatch.note(ChatEvent("Hello!", "stop", None, [], {}))
        >>> len(stopwatch.timing.arrivals)
        1
    """

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._arrivals: list[float] = []
        self._tokens: int | None = None

    def note(self, event: ChatEvent) -> None:
        """Record that an event has arrived now."""
        self._last = time.perf_counter()
        if event.content:
            self._arrivals.append(self._last - self._started)
        if event.usage:
            self._tokens = event.usage.get("completion_tokens")

    @property
    def timing(self) -> Timing:
        """The times so far."""
        return Timing(tuple(self._arrivals), self._last - self._started, self._tokens)


async def measure(events: AsyncIterable[ChatEvent]) -> Timing:
    """Read an asynchronous client's stream to its end, and return its times.

    Raises:
        InferenceError: the call failed.
    """
    stopwatch = Stopwatch()
    async for event in events:
        stopwatch.note(event)
    return stopwatch.timing
