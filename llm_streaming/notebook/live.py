"""An answer as it grows."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Protocol

from llm_streaming.client.timing import Timing
from llm_streaming.notebook.batcher import Batcher
from llm_streaming.notebook.streams import StreamInterrupted, timed
from llm_streaming.protocol import ChatEvent


class _Surface(Protocol):
    """Where a text is shown that grows."""

    per_second: float

    def show(self, text: str) -> None: ...

    def finish(self, text: str) -> None: ...


class _Printed:
    """Standard output."""

    per_second = 20.0  # looks smooth

    def __init__(self) -> None:
        self._length = 0

    def show(self, text: str) -> None:
        print(text[self._length :], end="")
        self._length = len(text)  # known before the flush: that takes time, and an interrupt may come in the middle
        sys.stdout.flush()

    def finish(self, text: str) -> None:
        if text:
            print(flush=True)


def show(events: Iterable[ChatEvent], pretty: bool = False) -> Timing:
    """Show a stream's text as it comes, and return its times. What has arrived is shown whatever happens.

    Interrupting the cell ends the generation at once.

    Args:
        events: the stream.
        pretty: whether to show the answer's Markdown rendered once it is whole. Takes a notebook.

    Raises:
        StreamInterrupted: the cell was interrupted.
        InferenceError: the stream failed.
        LLMStreamingError: it is an asynchronous client's, or pretty output lacks a package.
    """
    stream, surface = timed(events), _surface(pretty)
    answer = Batcher(surface.show, surface.per_second)
    try:
        with closing(iter(stream)) as reading:  # so that an interrupt ends the generation, wherever it comes
            for event in reading:
                answer.add(event.content)
    except KeyboardInterrupt:
        raise StreamInterrupted(answer.text, stream.timing) from None
    finally:
        answer.flush()
        surface.finish(answer.text)
    return stream.timing


def _surface(pretty: bool) -> _Surface:
    if not pretty:
        return _Printed()
    from llm_streaming.notebook.pretty import PrettyText  # whose packages a terminal does not need

    return PrettyText()
