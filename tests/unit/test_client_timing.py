"""The times of a stream, measured with a fake clock."""

from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from llm_streaming.client.timing import Stopwatch, Timing, measure
from llm_streaming.protocol import ChatEvent

# The first event has no text, and the last has only the usage.
EVENTS = [
    ChatEvent("", None, None, [], {}),
    ChatEvent("Hel", None, None, [], {}),
    ChatEvent("lo!", "stop", None, [], {}),
    ChatEvent("", None, {"completion_tokens": 2}, [], {}),
]
# The request is sent at 10, and an event comes each half second.
TIMING = Timing(arrivals=(1.0, 1.5), total=2.0, tokens=2)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((10.0, 10.5, 11.0, 11.5, 12.0))
    monkeypatch.setattr("llm_streaming.client.timing.time", SimpleNamespace(perf_counter=lambda: next(times)))


def test_a_stopwatch_takes_the_times_of_events() -> None:
    stopwatch = Stopwatch()
    assert stopwatch.timing == Timing((), 0.0, None)
    for event in EVENTS:
        stopwatch.note(event)
    assert stopwatch.timing == TIMING


def test_a_stopwatch_has_the_times_so_far() -> None:
    stopwatch = Stopwatch()
    for event in EVENTS[:2]:
        stopwatch.note(event)
    assert stopwatch.timing == Timing((1.0,), 1.0, None)


async def test_an_asynchronous_stream_is_measured_the_same() -> None:
    async def events() -> AsyncIterator[ChatEvent]:
        for event in EVENTS:
            yield event

    assert await measure(events()) == TIMING


def test_a_timing_says_how_fast_tokens_came_once_they_did() -> None:
    assert TIMING.first_token == 1.0
    assert TIMING.tokens_per_second == 1.0
    assert str(TIMING) == "first token after 1.00 s, then 1 tokens/s, 2.00 s in all"


def test_a_stream_without_text_has_no_first_token() -> None:
    timing = Timing(arrivals=(), total=2.0, tokens=0)
    assert (timing.first_token, timing.tokens_per_second) == (None, None)
    assert str(timing) == "no text, 2.00 s in all"
