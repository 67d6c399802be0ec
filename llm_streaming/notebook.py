"""What a notebook shows: an answer as it grows, and results that outlive the run."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from llm_streaming.client.timing import TimedStream, Timing
from llm_streaming.protocol import ChatEvent

RESULTS = "application/vnd.llm-streaming.results+json"
"""The output type that holds what a notebook recorded."""

_INTERVAL = 0.05  # seconds between prints: 20 a second look smooth, and a browser keeps up with them


def show(events: Iterable[ChatEvent]) -> Timing:
    """Print a stream's text as it comes, and return its times; what has arrived is shown whatever happens."""
    stream = TimedStream(events)
    waiting, printed = "", 0.0  # printed: when, in seconds of the clock
    timed = iter(stream)
    try:
        for event in timed:
            waiting += event.content
            if waiting and time.perf_counter() - printed >= _INTERVAL:
                print(waiting, end="", flush=True)
                waiting, printed = "", time.perf_counter()
    finally:
        timed.close()  # an interrupt may come while this prints, and has to end the generation all the same
        if waiting or printed:
            print(waiting, flush=True)
    return stream.timing


def record(**results: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Show named results at the end of a notebook, and keep them in it for those who executed it."""
    from IPython.display import display

    text = "\n".join(f"{name}: {value}" for name, value in results.items())
    display({RESULTS: results, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]


def recorded(notebook: dict[str, Any]) -> dict[str, Any]:
    """Collect what an executed notebook has recorded."""
    results: dict[str, Any] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            results |= output.get("data", {}).get(RESULTS, {})
    return results
