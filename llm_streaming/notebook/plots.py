"""The figures of the course. Each has an alternative text: sentences that describe the figure's data.

The functions raise `LLMStreamingError` for an answer that has no text, or whose tokens the server did not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from llm_streaming.client.timing import Timing
from llm_streaming.errors import LLMStreamingError
from llm_streaming.protocol.json import counted

Picture: TypeAlias = tuple[Figure, str]
"""A figure and its alternative text: the arguments of `llm_streaming.notebook.display_figure`."""

# Okabe and Ito's colours, which colour-blind people can tell apart. The marker shapes differ too.
_FIRST: dict[str, Any] = {"color": "#0072B2", "marker": "o"}
_WHOLE: dict[str, Any] = {"color": "#D55E00", "marker": "s"}
_QUIET = "#999999"


def timeline(timings: Mapping[str, Timing]) -> Picture:
    """Plot when text arrived: a row for each answer, with a bar until the first text and a dot for each arrival.

    Args:
        timings: the times of each answer, by the label of its row.
    """
    figure, (axes,) = _figure(height=0.9 + 0.5 * len(timings))
    rows = range(len(timings))
    firsts = [_measured(timing)[0] for timing in timings.values()]
    arrivals = [(seconds, row) for row, timing in enumerate(timings.values()) for seconds in timing.arrivals]
    axes.barh(rows, firsts, height=0.3, color=_QUIET, label="nothing to read yet")
    axes.plot(*zip(*arrivals, strict=True), linestyle="none", markersize=4, label="text arrives", **_FIRST)
    axes.set_yticks(rows, list(timings))
    axes.invert_yaxis()
    axes.set(xlabel="seconds since the question", xlim=(0, None))
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure, " ".join(_row(name, timing) for name, timing in timings.items())


def waits_by_length(timings: Sequence[Timing]) -> Picture:
    """Plot the waits for the first words and for the whole answer against the answer's length.

    Args:
        timings: the times of answers of different lengths.
    """
    ordered = sorted(timings, key=lambda timing: _measured(timing)[1])
    firsts, tokens = zip(*map(_measured, ordered), strict=True)
    totals = [timing.total for timing in ordered]
    figure, (axes,) = _figure()
    _line(axes, tokens, totals, "the whole answer", _WHOLE)
    _line(axes, tokens, firsts, "the first words", _FIRST)
    axes.set(xlabel="tokens of the answer", ylabel="seconds of waiting", xlim=(0, None), ylim=(0, None))
    return figure, (
        f"Answers of {tokens[0]} to {tokens[-1]} tokens: the first words came after {_range(firsts)}, "
        f"the whole answer after {_range(totals)}."
    )


def waits_by_users(loads: Mapping[int, Sequence[Timing]]) -> Picture:
    """Plot the waits for the first words and for the whole answer against the number of simultaneous users.

    Args:
        loads: the times of each user's answer, by the number of users.
    """
    figure, (axes,) = _figure()
    firsts = _firsts(loads)
    totals = {users: [timing.total for timing in load] for users, load in loads.items()}
    _spread(axes, totals, "the whole answer", _WHOLE)
    _spread(axes, firsts, "the first words", _FIRST)
    _label(axes, loads, "seconds of waiting")
    return figure, " ".join(
        f"{counted(users, 'user')}: first words after {_range(firsts[users])}, "
        f"whole answers after {_range(totals[users])}."
        for users in loads
    )


def capacity(loads: Mapping[int, Sequence[Timing]], slots: int) -> Picture:
    """Plot a server's tokens per second and the wait for the first words against the number of simultaneous users.

    Args:
        loads: the times of each user's answer, by the number of users. All users ask at the same moment.
        slots: how many requests the server answers at the same time.
    """
    figure, (rate, wait) = _figure(columns=2)
    firsts = _firsts(loads)
    rates = {users: throughput(load) for users, load in loads.items()}
    _line(rate, list(rates), list(rates.values()), "", _WHOLE)
    _label(rate, loads, "tokens per second, of all together")
    _spread(wait, firsts, "", _FIRST)
    _label(wait, loads, "seconds until the first words")
    for axes in (rate, wait):
        axes.axvline(slots, color=_QUIET, linestyle="--", zorder=0)
        above = axes.get_xaxis_transform()  # x in users, y as a fraction of the axes' height
        axes.text(slots, 1.01, f"{slots} slots", transform=above, ha="center", va="bottom", color="#555555")
    return figure, f"The server has {slots} slots. " + " ".join(
        f"{counted(users, 'user')}: {rates[users]:.0f} tokens/s together, first words after {_range(firsts[users])}."
        for users in loads
    )


def activity(seconds: Sequence[float], active: Sequence[float], answered: Sequence[float]) -> Picture:
    """Plot how many requests a server was answering, and how many it had answered, while a load ran.

    Args:
        seconds: the times at which the server's metrics were read, from the start of the load.
        active: the number of requests that the server was answering at each of these times.
        answered: the number of requests that the server had answered by each of these times.
    """
    figure, (axes,) = _figure()
    steps = {"drawstyle": "steps-post"}
    _line(axes, seconds, answered, "answered", _WHOLE | steps)
    _line(axes, seconds, active, "being answered", _FIRST | steps)
    axes.set(xlabel="seconds since the load began", ylabel="requests", ylim=(0, None))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, (
        f"{answered[-1]:.0f} requests were answered in {seconds[-1]:.1f} s, and at most {max(active):.0f} at a time."
    )


def throughput(load: Sequence[Timing]) -> float:
    """Return the tokens per second of all answers together, from the common start to the end of the last answer."""
    return sum(_measured(timing)[1] for timing in load) / max(timing.total for timing in load)


def _figure(*, columns: int = 1, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    # Do not use pyplot, which would keep the figure and show it again.
    figure = Figure(figsize=(8, height), layout="constrained", facecolor="white")
    axes = list(figure.subplots(1, columns, squeeze=False)[0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(color="#e6e6e6")
        each.set_axisbelow(True)
    return figure, axes


def _line(axes: Axes, x: Sequence[float], y: Sequence[float], name: str, style: Mapping[str, Any]) -> None:
    """Draw a line, and write its name next to its last point."""
    axes.plot(x, y, **style)
    axes.annotate(name, (x[-1], y[-1]), (8, 1), textcoords="offset points", va="bottom", color=style["color"])


def _spread(axes: Axes, values: Mapping[int, Sequence[float]], name: str, style: Mapping[str, Any]) -> None:
    """Draw a point for each user's value, and a line through the medians."""
    points = [(users, value) for users, found in values.items() for value in found]
    axes.plot(*zip(*points, strict=True), linestyle="none", alpha=0.4, **style)
    _line(axes, list(values), [median(found) for found in values.values()], name, {"color": style["color"]})


def _label(axes: Axes, loads: Mapping[int, object], ylabel: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(loads), [str(users) for users in loads])
    axes.minorticks_off()
    axes.set(xlabel="users who ask at once", ylabel=ylabel, ylim=(0, None))


def _firsts(loads: Mapping[int, Sequence[Timing]]) -> dict[int, list[float]]:
    return {users: [_measured(timing)[0] for timing in load] for users, load in loads.items()}


def _measured(timing: Timing) -> tuple[float, int]:
    """Return an answer's time to its first text, in seconds, and its number of tokens."""
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
