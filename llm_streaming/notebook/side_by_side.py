"""Shows several streams at once, each in a column."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait

from llm_streaming.client.timing import Stopwatch, Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.live_output import PER_SECOND, LiveOutput, table
from llm_streaming.notebook.show_stream import StreamInterrupted, closing_stream
from llm_streaming.protocol import ChatEvent


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


def show_side_by_side(streams: Mapping[str, Iterable[ChatEvent]]) -> dict[str, Timing]:
    """Show streams at the same time, each in a column of its own, and return their times.

    A stream that fails does not end the others. Interrupting the cell ends each stream at its next event; the runtimes
    here send one every few seconds, even while the model is silent. A second interrupt does not wait for that.

    Args:
        streams: the streams by their labels. Each is read in a thread of its own.

    Raises:
        StreamInterrupted: the cell was interrupted.
        SideBySideError: some of the streams failed; their columns show why.
        LLMStreamingError: a stream is an asynchronous client's.
    """
    columns = {label: _Column(events) for label, events in streams.items()}
    output, cancelled = LiveOutput(), threading.Event()
    try:
        with ThreadPoolExecutor(max(len(columns), 1)) as pool:  # joins its threads at the end
            try:
                reading = [pool.submit(column.read, cancelled) for column in columns.values()]
                while wait(reading, timeout=1 / PER_SECOND).not_done:
                    output.replace(*_page(columns))
            finally:
                cancelled.set()
    except KeyboardInterrupt:
        raise StreamInterrupted(_partial(columns), _timing(columns)) from None
    finally:
        output.replace(*_page(columns))
    failures = {label: column.failure for label, column in columns.items() if column.failure}
    if failures:
        raise SideBySideError(failures, _partial(columns), _timing(columns))
    return _timing(columns)


class _Column:
    """One stream and its text so far: one thread reads it, another shows it."""

    def __init__(self, events: Iterable[ChatEvent]) -> None:
        self._events = events
        self._stream = closing_stream(events)
        self._pieces: list[str] = []
        self.stopwatch = Stopwatch()
        self.failure: Exception | None = None
        self.summary = "…"

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def read(self, cancelled: threading.Event) -> None:
        """Read the stream to its end, or once cancelled to its next event."""
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


def _partial(columns: Mapping[str, _Column]) -> dict[str, str]:
    return {label: column.text for label, column in columns.items()}


def _timing(columns: Mapping[str, _Column]) -> dict[str, Timing]:
    return {label: column.stopwatch.timing for label, column in columns.items()}


def _page(columns: Mapping[str, _Column]) -> tuple[str, str]:
    """Return the streams as an HTML table, and as plain text below one another."""
    rows = [[column.text for column in columns.values()], [column.summary for column in columns.values()]]
    plain = (f"{label}\n{column.text}\n({column.summary})" for label, column in columns.items())
    return table(list(columns), rows), "\n\n".join(plain)
