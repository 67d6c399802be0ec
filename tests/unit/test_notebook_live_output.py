"""A growing text is shown at a limited rate, and all of it is shown."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from llm_streaming.notebook.live_output import GrowingText


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_fast_stream_is_shown_at_a_bounded_rate() -> None:
    clock, shown = Clock(), list[tuple[float, str]]()
    text = GrowingText(lambda text: shown.append((clock.now, text)), 20, clock)
    words = [f"{number} " for number in range(10_000)]
    for word in words:
        clock.now += 0.0005  # 2,000 tokens a second
        text.add(word)
    text.flush()
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(shown[:-1])]
    assert min(gaps) >= 0.05
    assert 90 < len(shown) <= 5 * 20 + 2
    assert shown[-1][1] == text.text == "".join(words)


def test_a_slow_stream_is_shown_at_once() -> None:
    clock, shown = Clock(), list[str]()
    text = GrowingText(shown.append, 20, clock)
    for word in ("one ", "two ", "", "three"):
        clock.now += 1
        text.add(word)
    assert shown == ["one ", "one two ", "one two three"]


def test_waiting_text_is_shown_when_time_has_passed_without_text() -> None:
    clock, shown = Clock(), list[str]()
    text = GrowingText(shown.append, 20, clock)
    text.add("one ")
    text.add("two")
    clock.now += 1
    text.add("")
    text.flush()
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
    text.flush()
    text.flush()
    assert shown == ["one"]
