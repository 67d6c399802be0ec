"""Check the course's notebooks as they are committed: what ``make check`` runs beside ruff, which finds unused imports.

They follow one template, their cells are short, their outputs come from one run in order and hold nothing of the
machine they were made on.
"""

import itertools
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Notebook = dict[str, Any]
Cell = dict[str, Any]

TITLE = re.compile(r"# .+\n(?:.|\n)*About \d+ minutes\.")
FRAME = ("Parameters", "Exercises", "Clean up", "What you have learned")
HIDDEN = {"source_hidden": True, "outputs_hidden": True}
MEDIAN_LINES, MOST_LINES = 8, 18
SHORTEST_ALT = 40  # characters: enough to say what a plot shows, and not only that there is one

SECRETS_AND_PATHS = {
    "a path of this machine": re.compile(r"/(?:root|home|tmp|work|Users|private)/[\w.-]+"),
    "a key": re.compile(r"\bsk-[\w-]{20,}|\bBearer [\w.-]{16,}"),
    "a stack trace": re.compile(r"Traceback \(most recent call last\)|^\s*File \"[^\"]+\", line \d+", re.MULTILINE),
}


def follows_template(notebook: Notebook) -> Iterator[str]:
    """Title and goal, parameters, set-up, sections, exercises, cleaning up, what was learned, results."""
    cells = notebook["cells"]
    if not TITLE.match(text_of(cells[0])):
        yield "the first cell needs a title, and how long the notebook takes: 'About 10 minutes.'"
    found = [heading for cell in cells for heading in re.findall(r"^## (.+)$", markdown_of(cell), re.MULTILINE)]
    if [heading for heading in found if heading in FRAME] != list(FRAME) or found[0] != FRAME[0]:
        yield f"needs the headings {', '.join(FRAME)}, each once and in this order, the first of them before all others"
    code = code_cells(notebook)
    if [tags_of(cell) == ["parameters"] for cell in code] != [True] + [False] * (len(code) - 1):
        yield "its first code cell, and no other, is tagged 'parameters'"
    if "check_setup(target)" not in text_of(code[1]):
        yield "its second code cell checks the set-up: check_setup(target)"
    if not re.search(r"^record\(", text_of(code[-1]), re.MULTILINE):
        yield "its last code cell records results: record(…)"


def has_exercises(notebook: Notebook) -> Iterator[str]:
    """Each exercise has a cell to work in, and right after it a solution that runs and is folded away."""
    code = code_cells(notebook)
    exercises = [number for number, cell in enumerate(code) if "exercise" in tags_of(cell)]
    solutions = [number for number, cell in enumerate(code) if "solution" in tags_of(cell)]
    if not exercises or solutions != [number + 1 for number in exercises]:
        yield "needs at least one cell tagged 'exercise', each followed by one tagged 'solution'"
    for number in solutions:
        cell = code[number]
        if "hide-cell" not in tags_of(cell) or cell["metadata"].get("jupyter") != HIDDEN:
            yield f"{named(cell)}: a solution is tagged 'hide-cell' too, and its metadata's 'jupyter' is {HIDDEN}"


def has_short_cells(notebook: Notebook) -> Iterator[str]:
    """One claim, one small cell."""
    lines = {named(cell): text_of(cell).count("\n") + 1 for cell in code_cells(notebook)}
    for name, number in lines.items():
        if number > MOST_LINES:
            yield f"{name}: {number} lines of code, more than {MOST_LINES}: move what is not the point into the package"
    if statistics.median(lines.values()) >= MEDIAN_LINES:
        yield f"half of its code cells have {MEDIAN_LINES} lines or more"


def comes_from_one_run(notebook: Notebook) -> Iterator[str]:
    """Execution counts go up by one; streams are merged; nothing failed or warned."""
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"its outputs do not come from one run in order: the execution counts are {counts}"
    for cell in code_cells(notebook):
        kinds = [output.get("name", output["output_type"]) for output in cell["outputs"]]
        if "error" in kinds or "stderr" in kinds:
            yield f"{named(cell)}: its output holds an error or a warning"
        if any(pair == ("stdout", "stdout") for pair in itertools.pairwise(kinds)):
            yield f"{named(cell)}: its printed output is in several pieces: execute it with `make outputs`"


def keeps_secrets(notebook: Notebook) -> Iterator[str]:
    """Nothing in a cell or an output tells of this machine, or opens anything."""
    for cell in notebook["cells"]:
        text = "\n".join([text_of(cell), *(written(output) for output in cell.get("outputs", ()))])
        for what, pattern in SECRETS_AND_PATHS.items():
            if found := pattern.search(text):
                yield f"{named(cell)}: holds {what}, {found[0].strip()[:40]!r}"


def describes_plots(notebook: Notebook) -> Iterator[str]:
    """Who cannot see a plot reads what it shows."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if "image/png" in output.get("data", {}) and len(alt) < SHORTEST_ALT:
                yield f"{named(cell)}: a plot without alt text: show it with display_figure(figure, alt)"


def is_spelled_well(notebook: Notebook) -> Iterator[str]:
    """No usual misspelling in prose or code; what the model wrote is its own affair."""
    text = "\n".join(text_of(cell) for cell in notebook["cells"])
    codespell = [sys.executable, "-m", "codespell_lib", "-"]
    said = subprocess.run(codespell, input=text, capture_output=True, text=True).stdout
    for line, correction in re.findall(r"^\d+: (.*)\n\t(.+ ==> .+)$", said, re.MULTILINE):
        yield f"'{line.strip()[:60]}': {correction}"


RULES: tuple[Callable[[Notebook], Iterator[str]], ...] = (
    follows_template,
    has_exercises,
    has_short_cells,
    comes_from_one_run,
    keeps_secrets,
    describes_plots,
    is_spelled_well,
)


def code_cells(notebook: Notebook) -> list[Cell]:
    """Its code cells, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(cell: Cell) -> str:
    """A cell's source."""
    return "".join(cell["source"])


def markdown_of(cell: Cell) -> str:
    """A cell's prose; of a code cell it is empty."""
    return text_of(cell) if cell["cell_type"] == "markdown" else ""


def tags_of(cell: Cell) -> list[str]:
    """A cell's tags."""
    return list(cell["metadata"].get("tags", ()))


def named(cell: Cell) -> str:
    """How a person finds a cell: by its number, or the words it begins with."""
    if cell.get("execution_count"):
        return f"cell [{cell['execution_count']}]"
    return f"cell '{text_of(cell)[:30].splitlines()[0]}'" if text_of(cell) else "an empty cell"


def written(output: dict[str, Any]) -> str:
    """An output's texts."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return "\n".join(
        "".join(text) if isinstance(text, list) else str(text) for text in [output.get("text", ""), *data.values()]
    )


def main(arguments: list[str]) -> int:
    """Check the notebooks that are named, or all; returns the exit status."""
    paths = [Path(argument) for argument in arguments] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    wrong = 0
    for path in paths:
        notebook = json.loads(path.read_text())
        for problem in (problem for rule in RULES for problem in rule(notebook)):
            wrong += 1
            print(f"{path.name}: {problem}")
    if not wrong:
        print(f"{len(paths)} notebooks follow the template")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
