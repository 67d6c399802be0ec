"""What a reader feels of a stream: how long until the first words, and how fast the rest follows."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Generator, Iterable
from dataclasses import dataclass

from llm_streaming.protocol import ChatEvent


@dataclass(frozen=True)
class Timing:
    """Figures of one stream, as its reader saw them.

    Args:
        arrivals: seconds from the request to each event that brought text, in order.
        total: seconds from the request to the end.
        tokens: tokens of the answer, as the engine counted them; None where it did not.
    """

    arrivals: tuple[float, ...]
    total: float
    tokens: int | None

    @property
    def first_token(self) -> float | None:
        """Seconds from the request to the first text; None where there was none."""
        return self.arrivals[0] if self.arrivals else None

    @property
    def tokens_per_second(self) -> float | None:
        """How fast tokens came once they did; None where there are too few to say."""
        if self.first_token is None or self.tokens is None or self.tokens < 2 or self.total <= self.first_token:
            return None
        return (self.tokens - 1) / (self.total - self.first_token)

    def __str__(self) -> str:
        first = "no text" if self.first_token is None else f"first token after {self.first_token:.2f} s"
        rate = f", then {self.tokens_per_second:.0f} tokens/s" if self.tokens_per_second else ""
        return f"{first}{rate}, {self.total:.2f} s in all"


class TimedStream:
    """Passes a stream's events on and takes its times.

    Args:
        events: the stream; its request is sent when the iteration begins, and the clock starts with it.
    """

    def __init__(self, events: Iterable[ChatEvent]) -> None:
        self._events = events
        self._clock: _Clock | None = None

    def __iter__(self) -> Generator[ChatEvent, None, None]:
        clock = self._clock = _Clock()
        try:
            for event in self._events:
                clock.note(event)
                yield event
        finally:
            if isinstance(self._events, Generator):
                self._events.close()  # at once, and not when the last traceback that holds it is forgotten

    @property
    def timing(self) -> Timing:
        """The figures so far."""
        return self._clock.timing if self._clock else Timing((), 0.0, None)


async def measure(events: AsyncIterable[ChatEvent]) -> Timing:
    """Read an asynchronous client's stream to its end, and return its times.

    Raises:
        InferenceError: the call failed.
    """
    clock = _Clock()
    async for event in events:
        clock.note(event)
    return clock.timing


class _Clock:
    """Notes when events arrive, from the moment it is made."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._arrivals: list[float] = []
        self._tokens: int | None = None

    def note(self, event: ChatEvent) -> None:
        self._last = time.perf_counter()
        if event.content:
            self._arrivals.append(self._last - self._started)
        if event.usage:
            self._tokens = event.usage.get("completion_tokens")

    @property
    def timing(self) -> Timing:
        return Timing(tuple(self._arrivals), self._last - self._started, self._tokens)
