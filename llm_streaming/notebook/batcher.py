"""How often an output that grows is shown anew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Batcher:
    """Collects a text, and shows it as it grows, but not more often than a browser can follow.

    Args:
        show: takes all of the text so far. When it raises, nothing is lost: the next call gets the same and what has
            come since.
        per_second: how often `show` is called at most, the last time aside.
        clock: tells the time in seconds.
    """

    def __init__(
        self, show: Callable[[str], None], per_second: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._show = show
        self._interval = 1 / per_second
        self._clock = clock
        self._pieces: list[str] = []
        self._shown, self._shown_at = 0, -math.inf

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._pieces)

    def add(self, text: str) -> None:
        """Take what is new, and show it if it is time to."""
        if text:
            self._pieces.append(text)
        if self._clock() - self._shown_at >= self._interval:
            self.flush()

    def flush(self) -> None:
        """Show what has not been shown yet."""
        if len(self._pieces) > self._shown:
            self._show(self.text)
            self._shown, self._shown_at = len(self._pieces), self._clock()
