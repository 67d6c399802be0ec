"""Writes the figures of a run: as JSON, as a Markdown table and as plots."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import TIMES, Figure, format_number, format_target

_HEAD = (
    "| part | what | at | measured | reference | compared | rounds | target | reached |\n"
    "|---|---|---|---:|---|---:|---:|---|---|\n"
)
_REACHED = {None: "", True: "yes", False: "**no**"}


def write_json(path: Path, run: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    """Write the description of a run and its figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {**run, "figures": [figure.as_json() for figure in figures]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def table(run: Mapping[str, Any], figures: Sequence[Figure]) -> str:
    """Return the description of a run and its figures as Markdown, figures with a target first."""
    aimed = [figure for figure in figures if figure.target]
    others = [figure for figure in figures if not figure.target]
    description = "".join(f"- {name}: {value}\n" for name, value in run.items())
    explanation = (
        "The columns 'measured' and 'reference' show medians over the rounds. 'compared' is the median of the rounds' "
        "ratios or, if it has a sign, of their differences. Within a round, the variants were measured in turn.\n"
    )
    return (
        f"# Benchmarks\n\n{description}\n{explanation}\n## Figures with a target\n\n{_rows(aimed)}\n"
        f"## Other figures\n\n{_rows(others)}"
    )


def _rows(figures: Sequence[Figure]) -> str:
    return _HEAD + "".join(_row(figure) for figure in figures) if figures else "None.\n"


def _row(figure: Figure) -> str:
    numbers, unit = figure.numbers, figure.unit
    compared = f"{numbers['added']:+,.2f} {unit}" if figure.added else f"{_ratio(numbers['ratio'])} {TIMES}"
    cells = (
        figure.part,
        figure.what,
        figure.size,
        f"{format_number(numbers['value'])} {unit}",
        f"{format_number(numbers['reference'])} {unit}, {figure.against}",
        compared,
        str(len(figure.values)),
        format_target(figure.target, unit) if figure.target else "",
        _REACHED[figure.reached],
    )
    return f"| {' | '.join(cells)} |\n"


def _ratio(value: float) -> str:
    return format_number(value) if value >= 0.1 else f"{value:.2g}"


def plot(folder: Path, figures: Sequence[Figure]) -> list[Path]:
    """Draw the figures of each part and unit as a plot in its own file.

    Returns:
        The paths of the SVG files.
    """
    import matplotlib as mpl

    mpl.use("svg")
    panels: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        panels.setdefault((figure.part, figure.unit), []).append(figure)
    return [_panel(folder, part, unit, group) for (part, unit), group in panels.items()]


def _panel(folder: Path, part: str, unit: str, figures: Sequence[Figure]) -> Path:
    """Draw a bar for each figure and one for its reference, with the range of its rounds."""
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
