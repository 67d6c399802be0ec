"""What stopping a cell raises."""

from __future__ import annotations

from collections.abc import Mapping

from llm_streaming.client.timing import Timing


class StreamInterrupted(KeyboardInterrupt):
    """Whoever ran a cell has stopped it while it showed a stream, and with it the generation.

    The cells after it are not run, as after any interrupt, but a notebook shows one sentence and no traceback.

    Args:
        partial: the text that had arrived; of several streams, by their labels.
        timing: the figures until then; of several streams, by their labels.
    """

    def __init__(self, partial: str | Mapping[str, str], timing: Timing | Mapping[str, Timing]) -> None:
        super().__init__("the cell was stopped, and the generation with it; all that had arrived is shown")
        self.partial = partial
        self.timing = timing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]
