"""Several streams at once, side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing

from llm_streaming.client.timing import Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.output import PER_SECOND, LiveOutput, table
from llm_streaming.notebook.streams import StreamInterrupted, timed
from llm_streaming.protocol import ChatEvent


class SideBySideError(LLMStreamingError):
    """Streams have failed that were shown side by side; the others came to their end.

    Args:
        failures: what was raised, by the stream's label.
        partial: the text of every stream, whole or not, by its label.
        timing: the figures of every stream, by its label.
    """

    def __init__(
        self, failures: Mapping[str, Exception], partial: Mapping[str, str], timing: Mapping[str, Timing]
    ) -> None:
        super().__init__("; ".join(f"{label}: {error}" for label, error in failures.items()))
        self.failures = failures
        self.partial = partial
        self.timing = timing


def show_side_by_side(streams: Mapping[str, Iterable[ChatEvent]]) -> dict[str, Timing]:
    """Show streams as they come, all at once, each in a column of its own; returns their times.

    One that fails does not end the others. Interrupting the cell ends all of them, each at its next event: the runtimes
    here send one every few seconds at least, also while the model is silent. A second interrupt does not wait for that.

    Args:
        streams: the streams by their labels, each read by a thread of its own.

    Raises:
        StreamInterrupted: the cell was interrupted.
        SideBySideError: some have failed; the sentence is also in their columns.
        LLMStreamingError: a stream is an asynchronous client's.
    """
    columns = {label: _Column(events) for label, events in streams.items()}
    output, cancelled = LiveOutput(), threading.Event()
    try:
        with ThreadPoolExecutor(max(len(columns), 1)) as pool:  # which joins its threads
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
    """One stream, and what has come of it: a thread of its own reads, another shows."""

    def __init__(self, events: Iterable[ChatEvent]) -> None:
        self._stream = timed(events)
        self._pieces: list[str] = []
        self.failure: Exception | None = None
        self.summary = "…"

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def timing(self) -> Timing:
        return self._stream.timing

    def read(self, cancelled: threading.Event) -> None:
        """Read the stream to its end; once cancelled, to its next event."""
        try:
            with closing(iter(self._stream)) as reading:
                for event in reading:
                    self._pieces.append(event.content)
                    if cancelled.is_set():
                        break
        except Exception as error:  # noqa: BLE001 - it is raised again, when the other streams have ended
            self.failure = error
        self.summary = str(self.failure or self.timing)


def _partial(columns: Mapping[str, _Column]) -> dict[str, str]:
    return {label: column.text for label, column in columns.items()}


def _timing(columns: Mapping[str, _Column]) -> dict[str, Timing]:
    return {label: column.timing for label, column in columns.items()}


def _page(columns: Mapping[str, _Column]) -> tuple[str, str]:
    """The streams as a table, and below each other for where no table can be shown."""
    rows = [[column.text for column in columns.values()], [column.summary for column in columns.values()]]
    plain = (f"{label}\n{column.text}\n({column.summary})" for label, column in columns.items())
    return table(list(columns), rows), "\n\n".join(plain)
