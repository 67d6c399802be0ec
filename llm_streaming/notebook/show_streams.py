"""Shows streams as they arrive: one stream as text or Markdown, or several streams side by side."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

from llm_streaming.client.timing import Stopwatch, Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.live_output import PER_SECOND, GrowingText, LiveOutput, escaped, markdown_renderer, table
from llm_streaming.printable import printable
from llm_streaming.protocol import ChatEvent


class StreamInterrupted(KeyboardInterrupt):
    """The user interrupted a cell while it showed a stream, which stopped the generation.

    As after any interrupt, the cells that follow do not run. A notebook shows one sentence instead of a traceback.

    Args:
        partial: the text that had arrived; for several streams, by their labels.
        timing: the times up to the interrupt; for several streams, by their labels.
    """

    def __init__(self, partial: str | Mapping[str, str], timing: Timing | Mapping[str, Timing]) -> None:
        super().__init__("the cell was interrupted and the generation stopped; the text that had arrived is shown")
        self.partial = partial
        self.timing = timing

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class SideBySideError(LLMStreamingError):
    """Some of the streams shown side by side failed; the others were read to their end.

    Args:
        failures: the exceptions, by the labels of their streams.
        partial: the text of every stream, complete or not, by its label.
        timing: the times of every stream, by its label.
    """

    def __init__(
        self, failures: Mapping[str, Exception], partial: Mapping[str, str], timing: Mapping[str, Timing]
    ) -> None:
        super().__init__("; ".join(f"{label}: {error}" for label, error in failures.items()))
        self.failures = failures
        self.partial = partial
        self.timing = timing


def show(events: Iterable[ChatEvent], pretty: bool = False) -> Timing:
    """Show a stream's text as it arrives, and return the stream's times.

    Interrupting the cell stops the generation at once. The text that has arrived is shown in any case.

    Args:
        events: the stream.
        pretty: whether to render the answer's Markdown once it is complete. This needs a notebook.

    Raises:
        StreamInterrupted: the cell was interrupted.
        InferenceError: the stream failed.
        LLMStreamingError: the stream is an asynchronous client's, or a package for `pretty` is not installed.
    """
    stream = _closing(events)
    output: _PrintedText | _Markdown = _Markdown() if pretty else _PrintedText()
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
        output.finish(answer.text)
    return stopwatch.timing


def show_side_by_side(streams: Mapping[str, Iterable[ChatEvent]]) -> dict[str, Timing]:
    """Show streams at the same time, each in a column of its own, and return their times.

    A stream that fails does not stop the others. Interrupting the cell stops each stream at its next event; this
    project's runtimes send an event every few seconds, even while the model is silent. A second interrupt does not wait
    for these events.

    Args:
        streams: the streams by their labels. Each is read in its own thread.

    Raises:
        StreamInterrupted: the cell was interrupted.
        SideBySideError: some of the streams failed; their columns show why.
        LLMStreamingError: a stream is an asynchronous client's.
    """
    columns = {label: _Column(events) for label, events in streams.items()}
    output, cancelled, interrupted = LiveOutput(), threading.Event(), False
    try:
        with ThreadPoolExecutor(max(len(columns), 1)) as pool, ExitStack() as leaving:
            leaving.callback(cancelled.set)  # before the pool waits for its threads
            reading = [pool.submit(column.read, cancelled) for column in columns.values()]
            while wait(reading, timeout=1 / PER_SECOND).not_done:
                output.replace(*_page(columns))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        output.replace(*_page(columns))
    texts = {label: column.text for label, column in columns.items()}
    timings = {label: column.stopwatch.timing for label, column in columns.items()}
    failures = {label: column.failure for label, column in columns.items() if column.failure}
    if interrupted:
        raise StreamInterrupted(texts, timings)
    if failures:
        raise SideBySideError(failures, texts, timings)
    return timings


def _closing(events: Iterable[ChatEvent]) -> ExitStack:
    """Return a context manager that closes a stream on exit, which stops its generation."""
    if not isinstance(events, Iterable):
        raise LLMStreamingError(
            f"expected a stream from ChatClient or GrpcChatClient, but got {type(events).__name__}: read an "
            "asynchronous client's stream with `async for`"
        )
    context = ExitStack()
    if close := getattr(events, "close", None):  # a list has no such method
        context.callback(close)
    return context


class _PrintedText:
    """Prints a growing text to standard output."""

    per_second = 20.0  # looks smooth

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str) -> None:
        print(printable(text[self._length :]), end="")
        self._length = len(text)  # set before the flush, because an interrupt can abort the flush
        sys.stdout.flush()

    def finish(self, text: str) -> None:
        if text:
            self.show(f"{text}\n")


class _Markdown:
    """Shows a growing text literally, and renders it when it is complete."""

    per_second = PER_SECOND

    def __init__(self) -> None:
        self._render = markdown_renderer()
        self._output = LiveOutput()

    def show(self, text: str) -> None:
        self._output.replace(escaped(text), text)

    def finish(self, text: str) -> None:
        self._output.replace(self._render(text), text)


class _Column:
    """One stream and its text so far. One thread reads the stream, and another shows the text."""

    def __init__(self, events: Iterable[ChatEvent]) -> None:
        self._events = events
        self._stream = _closing(events)
        self._pieces: list[str] = []
        self.stopwatch = Stopwatch()
        self.failure: Exception | None = None
        self.summary = "…"

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def read(self, cancelled: threading.Event) -> None:
        """Read the stream to its end. If cancelled, stop at the next event."""
        try:
            with self._stream:
                for event in self._events:
                    self.stopwatch.note(event)
                    self._pieces.append(event.content)
                    if cancelled.is_set():
                        break
        except Exception as error:  # noqa: BLE001 - SideBySideError reports it when the other streams have ended
            self.failure = error
        self.summary = str(self.failure or self.stopwatch.timing)


def _page(columns: Mapping[str, _Column]) -> tuple[str, str]:
    """Return the streams as an HTML table, and as plain text one after another."""
    rows = [[column.text for column in columns.values()], [column.summary for column in columns.values()]]
    plain = (f"{label}\n{column.text}\n({column.summary})" for label, column in columns.items())
    return table(list(columns), rows), "\n\n".join(plain)
