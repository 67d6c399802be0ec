"""The figures of the course. Each comes with its alternative text: sentences made of the same data as the figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from llm_streaming.client.timing import Timing
from llm_streaming.errors import LLMStreamingError

Picture: TypeAlias = tuple[Figure, str]
"""A figure and its alternative text: the arguments of `llm_streaming.notebook.display_figure`."""

# Okabe and Ito's colours, which colour-blind people can tell apart. The marker shapes differ too.
_FIRST, _WHOLE, _QUIET = "#0072B2", "#D55E00", "#999999"


def timeline(timings: Mapping[str, Timing]) -> Picture:
    """Plot when text arrived: a row for each answer, with a bar until the first text and a dot for each arrival.

    Args:
        timings: the times of the answers, by the names of their rows.

    Raises:
        LLMStreamingError: an answer has no text, or its tokens were not counted.
    """
    figure, (axes,) = _figure(height=0.9 + 0.5 * len(timings))
    for row, timing in enumerate(timings.values()):
        first, _ = _measured(timing)
        axes.barh(row, first, height=0.3, color=_QUIET, label="nothing to read yet")
        axes.plot(timing.arrivals, [row] * len(timing.arrivals), "o", markersize=4, color=_FIRST, label="text arrives")
    axes.set_yticks(range(len(timings)), list(timings))
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds since the question")
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))  # each label once, not once per row
    figure.legend(named.values(), named.keys(), loc="outside upper right", ncols=2, frameon=False)
    return figure, " ".join(_row(name, timing) for name, timing in timings.items())


def waits_by_length(timings: Sequence[Timing]) -> Picture:
    """Plot the waits for the first words and for the whole answer, by the length of the answer.

    Args:
        timings: the times of answers of different lengths.

    Raises:
        LLMStreamingError: an answer has no text, or its tokens were not counted.
    """
    ordered = sorted(timings, key=lambda timing: _measured(timing)[1])
    firsts, tokens = zip(*map(_measured, ordered), strict=True)
    totals = [timing.total for timing in ordered]
    figure, (axes,) = _figure()
    _line(axes, tokens, totals, _WHOLE, "s", "the whole answer")
    _line(axes, tokens, firsts, _FIRST, "o", "the first words")
    axes.set_xlabel("tokens of the answer")
    axes.set_ylabel("seconds of waiting")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return figure, (
        f"Answers of {tokens[0]} to {tokens[-1]} tokens: the first words came after {_range(firsts)}, "
        f"the whole answer after {_range(totals)}."
    )


def waits_by_users(loads: Mapping[int, Sequence[Timing]]) -> Picture:
    """Plot the waits for the first words and for the whole answer, by the number of simultaneous users.

    Args:
        loads: the times of each user's answer, by the number of users.

    Raises:
        LLMStreamingError: an answer has no text, or its tokens were not counted.
    """
    figure, (axes,) = _figure()
    totals = {users: [timing.total for timing in load] for users, load in loads.items()}
    _spread(axes, totals, _WHOLE, "s", "the whole answer")
    _spread(axes, _firsts(loads), _FIRST, "o", "the first words")
    _label_users(axes, loads)
    axes.set_ylabel("seconds of waiting")
    return figure, " ".join(
        f"{_people(users)}: first words after {_range(_firsts(loads)[users])}, "
        f"whole answers after {_range(totals[users])}."
        for users in loads
    )


def capacity(loads: Mapping[int, Sequence[Timing]], slots: int) -> Picture:
    """Plot a server's tokens per second and the wait for the first words, by the number of simultaneous users.

    Args:
        loads: the times of each user's answer, by the number of users, who all ask at the same moment.
        slots: how many requests the server answers at the same time.

    Raises:
        LLMStreamingError: an answer has no text, or its tokens were not counted.
    """
    figure, (rate, wait) = _figure(columns=2)
    rates = {users: throughput(load) for users, load in loads.items()}
    _line(rate, list(rates), list(rates.values()), _WHOLE, "s", "")
    rate.set_ylabel("tokens per second, of all together")
    _spread(wait, _firsts(loads), _FIRST, "o", "")
    wait.set_ylabel("seconds until the first words")
    for axes in (rate, wait):
        _label_users(axes, loads)
        axes.axvline(slots, color=_QUIET, linestyle="--", zorder=0)
        above = axes.get_xaxis_transform()  # x in users, y as a fraction of the axes' height
        axes.text(slots, 1.01, f"{slots} slots", transform=above, ha="center", va="bottom", color="#555555")
    return figure, f"The server has {slots} slots. " + " ".join(
        f"{_people(users)}: {rates[users]:.0f} tokens/s together, first words after {_range(waits)}."
        for users, waits in _firsts(loads).items()
    )


def activity(seconds: Sequence[float], active: Sequence[float], answered: Sequence[float]) -> Picture:
    """Plot how many requests a server was answering, and had answered, while a load ran.

    Args:
        seconds: the times at which its metrics were read.
        active: the requests that it was answering at these times.
        answered: the requests that it had answered by then.
    """
    figure, (axes,) = _figure()
    _line(axes, seconds, answered, _WHOLE, "s", "answered", drawstyle="steps-post")
    _line(axes, seconds, active, _FIRST, "o", "being answered", drawstyle="steps-post")
    axes.set_xlabel("seconds since the load began")
    axes.set_ylabel("requests")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, (
        f"{answered[-1]:.0f} requests were answered in {seconds[-1]:.1f} s, and at most {max(active):.0f} at a time."
    )


def throughput(load: Sequence[Timing]) -> float:
    """Return the tokens per second of all answers together, from the common start to the end of the last answer.

    Raises:
        LLMStreamingError: an answer has no text, or its tokens were not counted.
    """
    return sum(_measured(timing)[1] for timing in load) / max(timing.total for timing in load)


def _figure(*, columns: int = 1, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    # Without pyplot, which keeps every figure and shows it again.
    figure = Figure(figsize=(8, height), layout="constrained", facecolor="white")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#e6e6e6")
        each.set_axisbelow(True)
    return figure, axes


def _line(
    axes: Axes, x: Sequence[float], y: Sequence[float], color: str, marker: str, name: str, drawstyle: str = "default"
) -> None:
    """Draw a line with its name at its end."""
    axes.plot(x, y, color=color, marker=marker, drawstyle=drawstyle)
    axes.annotate(name, (x[-1], y[-1]), (8, 1), textcoords="offset points", va="bottom", color=color)


def _spread(axes: Axes, values: Mapping[int, Sequence[float]], color: str, marker: str, name: str) -> None:
    """Draw the value of every user, and a line through the medians."""
    points = [(users, value) for users, found in values.items() for value in found]
    axes.plot(*zip(*points, strict=True), marker, color=color, alpha=0.4, linestyle="none")
    medians = [median(found) for found in values.values()]
    _line(axes, list(values), medians, color, "", name)


def _label_users(axes: Axes, loads: Mapping[int, object]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(loads), [str(users) for users in loads])
    axes.minorticks_off()
    axes.set_xlabel("users who ask at once")
    axes.set_ylim(bottom=0)


def _firsts(loads: Mapping[int, Sequence[Timing]]) -> dict[int, list[float]]:
    return {users: [_measured(timing)[0] for timing in load] for users, load in loads.items()}


def _measured(timing: Timing) -> tuple[float, int]:
    """Return the seconds to the first text and the number of tokens."""
    if timing.first_token is None or timing.tokens is None:
        raise LLMStreamingError("cannot plot an answer that has no text, or whose tokens the server did not count")
    return timing.first_token, timing.tokens


def _row(name: str, timing: Timing) -> str:
    if len(timing.arrivals) == 1:
        return f"{name}: text arrived once, after {timing.arrivals[0]:.2f} s."
    return f"{name}: text arrived {len(timing.arrivals)} times, from {_range(timing.arrivals)}."


def _range(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    ends = dict.fromkeys(f"{value:.2f}" for value in (ordered[0], ordered[-1]))  # equal ends are written once
    return " to ".join(ends) + " s"


def _people(users: int) -> str:
    return "1 user" if users == 1 else f"{users} users"
