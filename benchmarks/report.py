"""The figures as a Markdown table, those with a target first, and as plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import TIMES, Figure, goal, number

_HEAD = (
    "| part | what | at | measured | reference | compared | rounds | reach | reached |\n"
    "|---|---|---|---:|---|---:|---:|---|---|\n"
)
_REACHED = {None: "", True: "yes", False: "**no**"}


def table(run: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """The run in words and every figure in a row."""
    aimed = [figure for figure in figures if figure.target]
    others = [figure for figure in figures if not figure.target]
    words = "".join(f"- {name}: {value}\n" for name, value in run.items())
    explained = (
        "Measured and reference are medians over the rounds. Compared is the median of the rounds' own ratios, or of "
        "their differences where it has a sign; the variants of a round were measured one after the other.\n"
    )
    return (
        f"# Benchmarks\n\n{words}\n{explained}\n## With a figure to reach\n\n{_rows(aimed)}\n"
        f"## Others\n\n{_rows(others)}"
    )


def _rows(figures: Sequence[Figure]) -> str:
    return _HEAD + "".join(_row(figure) for figure in figures) if figures else "None.\n"


def _row(figure: Figure) -> str:
    numbers, unit = figure.numbers, figure.unit
    compared = f"{numbers['added']:+,.2f} {unit}" if figure.added else f"{_ratio(numbers['ratio'])} {TIMES}"
    reach = goal(figure.target, unit) if figure.target else ""
    cells = (
        figure.part,
        figure.what,
        figure.size,
        f"{number(numbers['value'])} {unit}",
        f"{number(numbers['reference'])} {unit}, {figure.against}",
        compared,
        str(len(figure.values)),
        reach,
        _REACHED[figure.reached],
    )
    return f"| {' | '.join(cells)} |\n"


def _ratio(value: float) -> str:
    return number(value) if value >= 0.1 else f"{value:.2g}"


def plot(folder: Path, figures: Sequence[Figure]) -> list[Path]:
    """Draw a plot for each part and unit, into a file each."""
    import matplotlib as mpl

    mpl.use("svg")
    panels: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        panels.setdefault((figure.part, figure.unit), []).append(figure)
    return [_panel(folder, part, unit, group) for (part, unit), group in panels.items()]


def _panel(folder: Path, part: str, unit: str, figures: Sequence[Figure]) -> Path:
    """Bars with every measured thing beside its reference, each with the smallest and the largest of its rounds."""
    from matplotlib import pyplot

    labels = [f"{figure.what} · {figure.size}\n{figure.against}" for figure in figures]
    picture, axes = pyplot.subplots(figsize=(10, 0.6 * len(figures) + 1.5), layout="constrained")
    for offset, name, series in (
        (-0.2, "measured", [figure.values for figure in figures]),
        (0.2, "reference", [figure.references for figure in figures]),
    ):
        places = [index + offset for index in range(len(figures))]
        medians = [sorted(values)[len(values) // 2] for values in series]
        spread = [
            [middle - min(values) for middle, values in zip(medians, series, strict=True)],
            [max(values) - middle for middle, values in zip(medians, series, strict=True)],
        ]
        axes.barh(places, medians, height=0.38, xerr=spread, label=name)
    axes.set_yticks(range(len(figures)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"{unit}, logarithmic")
    axes.set_title(part)
    axes.legend()
    path = folder / f"{part}-{unit.replace('/', '-per-').replace('µ', 'u')}.svg"
    picture.savefig(path)
    pyplot.close(picture)
    return path
