"""A growing text is shown at a limited rate, and all of it is shown."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from llm_streaming.notebook import live_output
from llm_streaming.notebook.live_output import GrowingText


class Clock:
    """The clock of `GrowingText`, which the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(live_output, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_fast_stream_is_shown_at_a_bounded_rate(clock: Clock) -> None:
    shown = list[tuple[float, str]]()
    text = GrowingText(lambda text: shown.append((clock.now, text)), 20)
    words = [f"{number} " for number in range(10_000)]
    for word in words:
        clock.now += 0.0005  # 2,000 tokens a second
        text.add(word)
    clock.now += 1
    text.add("")
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(shown)]
    assert min(gaps) >= 0.05
    assert 90 < len(shown) <= 5 * 20 + 2
    assert shown[-1][1] == text.text == "".join(words)


def test_a_slow_stream_is_shown_at_once(clock: Clock) -> None:
    shown = list[str]()
    text = GrowingText(shown.append, 20)
    for word in ("one ", "two ", "", "three"):
        clock.now += 1
        text.add(word)
    assert shown == ["one ", "one two ", "one two three"]


def test_waiting_text_is_shown_when_time_has_passed_without_text(clock: Clock) -> None:
    shown = list[str]()
    text = GrowingText(shown.append, 20)
    text.add("one ")
    text.add("two")
    clock.now += 1
    text.add("")
    text.add("")
    assert shown == ["one ", "one two"]


def failing_once(shown: list[str], error: BaseException) -> Callable[[str], None]:
    failures = [error]

    def show(text: str) -> None:
        if failures:
            raise failures.pop()
        shown.append(text)

    return show


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the browser is gone")])
def test_text_that_could_not_be_shown_is_kept(error: BaseException) -> None:
    shown = list[str]()
    text = GrowingText(failing_once(shown, error), 20)
    with pytest.raises(type(error)):
        text.add("one")
    text.add("")
    text.add("")
    assert shown == ["one"]
