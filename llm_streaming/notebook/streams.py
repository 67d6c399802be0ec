"""What all ways to show a stream have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llm_streaming.client.timing import TimedStream, Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.protocol import ChatEvent


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


def timed(events: Iterable[ChatEvent]) -> TimedStream:
    """Take the times of a stream.

    Raises:
        LLMStreamingError: it is none, or an asynchronous client's.
    """
    if not isinstance(events, Iterable):
        raise LLMStreamingError(
            f"expected a stream of ChatClient or GrpcChatClient, but got {type(events).__name__}: an asynchronous "
            "client's stream is read with `async for`"
        )
    return TimedStream(events)
