"""Shows the text of one stream as it arrives, printed or as rendered Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Protocol

from llm_streaming.client.timing import Stopwatch, Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.live_output import PER_SECOND, GrowingText, LiveOutput, escaped, markdown_renderer
from llm_streaming.protocol import ChatEvent


class StreamInterrupted(KeyboardInterrupt):
    """The user interrupted a cell while it showed a stream, which stopped the generation.

    As after any interrupt, the cells that follow do not run. A notebook shows one sentence instead of a traceback.

    Args:
        partial: the text that had arrived; for several streams, by their labels.
        timing: the times until then; for several streams, by their labels.
    """

    def __init__(self, partial: str | Mapping[str, str], timing: Timing | Mapping[str, Timing]) -> None:
        super().__init__("the cell was interrupted and the generation stopped; the text that had arrived is shown")
        self.partial = partial
        self.timing = timing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


def show(events: Iterable[ChatEvent], pretty: bool = False) -> Timing:
    """Show a stream's text as it arrives, and return the stream's times.

    Interrupting the cell stops the generation at once. The text that has arrived is shown in any case.

    Args:
        events: the stream.
        pretty: whether to render the answer's Markdown once it is complete. This needs a notebook.

    Raises:
        StreamInterrupted: the cell was interrupted.
        InferenceError: the stream failed.
        LLMStreamingError: the stream is an asynchronous client's, or pretty output lacks a package.
    """
    stream = closing_stream(events)
    output: _Output = _MarkdownOutput() if pretty else _PrintedOutput()
    answer = GrowingText(output.show, output.per_second)
    stopwatch = Stopwatch()
    try:
        with stream:
            for event in events:
                stopwatch.note(event)
                answer.add(event.content)
    except KeyboardInterrupt:
        raise StreamInterrupted(answer.text, stopwatch.timing) from None
    finally:
        answer.flush()
        output.finish(answer.text)
    return stopwatch.timing


def closing_stream(events: Iterable[ChatEvent]) -> ExitStack:
    """Return a context manager that closes a stream, and so ends its generation, however the block is left.

    Raises:
        LLMStreamingError: the stream is an asynchronous client's, or not a stream.
    """
    if not isinstance(events, Iterable):
        raise LLMStreamingError(
            f"expected a stream of ChatClient or GrpcChatClient, but got {type(events).__name__}: read an asynchronous "
            "client's stream with `async for`"
        )
    context = ExitStack()
    if close := getattr(events, "close", None):  # a list has none
        context.callback(close)
    return context


class _Output(Protocol):
    per_second: float

    def show(self, text: str) -> None: ...

    def finish(self, text: str) -> None: ...


class _PrintedOutput:
    """Prints the text to standard output."""

    per_second = 20.0  # looks smooth

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str) -> None:
        print(text[self._length :], end="")
        self._length = len(text)  # set before the flush, which an interrupt can break off
        sys.stdout.flush()

    def finish(self, text: str) -> None:
        if text:
            print(flush=True)


class _MarkdownOutput:
    """Shows the text as it is while it grows, and rendered at its end, in an output of the running cell."""

    per_second = PER_SECOND

    def __init__(self) -> None:
        self._render = markdown_renderer()
        self._output = LiveOutput()

    def show(self, text: str) -> None:
        self._output.replace(escaped(text), text)

    def finish(self, text: str) -> None:
        self._output.replace(self._render(text), text)
