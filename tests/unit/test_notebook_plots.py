"""The figures of the notebooks: their lines, bars and labels, and their alternative texts."""

from typing import cast

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from llm_streaming.client.timing import Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook import plots

STREAMED = Timing(arrivals=(0.1, 0.5, 0.9), total=1.0, tokens=3)
WHOLE = Timing(arrivals=(1.2,), total=1.2, tokens=3)
LONGER = Timing(arrivals=(0.1, 2.0), total=2.5, tokens=6)


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    return [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.lines]


def test_a_timeline_has_a_bar_of_waiting_and_a_dot_for_each_arrival() -> None:
    figure, alt = plots.timeline({"infer_stream": STREAMED, "infer": WHOLE})
    (axes,) = figure.axes
    assert lines(axes) == [([0.1, 0.5, 0.9, 1.2], [0, 0, 0, 1])]
    assert [bar.get_width() for bar in cast(list[Rectangle], axes.patches)] == [0.1, 1.2]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["text arrives", "nothing to read yet"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["infer_stream", "infer"]
    assert alt == ("infer_stream: text arrived 3 times, from 0.10 to 0.90 s. infer: text arrived once, after 1.20 s.")


def test_waits_are_drawn_over_lengths_in_order() -> None:
    figure, alt = plots.waits_by_length([LONGER, STREAMED])
    assert lines(figure.axes[0]) == [([3, 6], [1.0, 2.5]), ([3, 6], [0.1, 0.1])]
    assert [text.get_text() for text in figure.axes[0].texts] == ["the whole answer", "the first words"]
    assert alt == (
        "Answers of 3 to 6 tokens: the first words came after 0.10 s, the whole answer after 1.00 to 2.50 s."
    )


def test_waits_of_users_are_drawn_each_and_by_their_median() -> None:
    figure, alt = plots.waits_by_users({1: [STREAMED], 2: [STREAMED, LONGER]})
    assert lines(figure.axes[0]) == [
        ([1, 2, 2], [1.0, 1.0, 2.5]),
        ([1, 2], [1.0, 1.75]),
        ([1, 2, 2], [0.1, 0.1, 0.1]),
        ([1, 2], [0.1, 0.1]),
    ]
    assert alt == (
        "1 user: first words after 0.10 s, whole answers after 1.00 s. "
        "2 users: first words after 0.10 s, whole answers after 1.00 to 2.50 s."
    )


def test_capacity_is_the_rate_of_all_users_until_the_last_answer_is_complete() -> None:
    figure, alt = plots.capacity({1: [STREAMED], 2: [STREAMED, LONGER]}, slots=2)
    rate, wait = figure.axes
    assert lines(rate) == [([1, 2], [3.0, 3.6]), ([2, 2], [0, 1])]  # the second marks the slots
    assert lines(wait)[:2] == [([1, 2, 2], [0.1, 0.1, 0.1]), ([1, 2], [0.1, 0.1])]
    assert alt == (
        "The server has 2 slots. 1 user: 3 tokens/s together, first words after 0.10 s. "
        "2 users: 4 tokens/s together, first words after 0.10 s."
    )


def test_activity_says_how_many_were_answered_and_how_many_at_once() -> None:
    figure, alt = plots.activity([0.0, 0.5, 1.25], active=[1, 4, 0], answered=[0, 1, 5])
    assert lines(figure.axes[0]) == [([0.0, 0.5, 1.25], [0, 1, 5]), ([0.0, 0.5, 1.25], [1, 4, 0])]
    assert alt == "5 requests were answered in 1.2 s, and at most 4 at a time."


@pytest.mark.parametrize("timing", [Timing((), 1.0, 0), Timing((0.1,), 1.0, None)])
def test_an_answer_that_was_not_measured_is_refused(timing: Timing) -> None:
    with pytest.raises(
        LLMStreamingError, match=r"^cannot plot an answer that has no text, or whose tokens the server did not count$"
    ):
        plots.waits_by_length([timing])
