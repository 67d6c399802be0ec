"""Check that the course's notebooks follow one template; ``make check`` runs this script on the committed files.

The template requires short cells, and outputs that come from one run of the cells in order and contain no secrets and
no paths of the machine. Ruff checks the notebooks' code.
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

from llm_streaming.paths import project_root

Notebook = dict[str, Any]
Cell = dict[str, Any]

TITLE = re.compile(r"# .+\n(?:.|\n)*About \d+ minutes\.")
HEADINGS = ("Parameters", "Exercises", "Clean up", "What you have learned")
HIDDEN = {"source_hidden": True, "outputs_hidden": True}
MEDIAN_LINES, MOST_LINES = 8, 18
SHORTEST_ALT = 40  # characters: a shorter alt text can only name the plot, not describe it

SECRETS_AND_PATHS = {
    "a path of this machine": re.compile(r"/(?:root|home|tmp|work|Users|private)/[\w.-]+"),
    "a key": re.compile(r"\bsk-[\w-]{20,}|\bBearer [\w.-]{16,}"),
    "a stack trace": re.compile(r"Traceback \(most recent call last\)|^\s*File \"[^\"]+\", line \d+", re.MULTILINE),
}


def check_template(notebook: Notebook) -> Iterator[str]:
    """Report a missing or misplaced part: title, headings, parameters, set-up check and recorded results."""
    cells = notebook["cells"]
    if not TITLE.match(source_of(cells[0])):
        yield "the first cell needs a title and the time that the notebook takes: 'About 10 minutes.'"
    found = [heading for cell in cells for heading in re.findall(r"^## (.+)$", markdown_of(cell), re.MULTILINE)]
    if [heading for heading in found if heading in HEADINGS] != list(HEADINGS) or found[0] != HEADINGS[0]:
        yield (
            f"the notebook needs the headings {', '.join(HEADINGS)}, each once and in this order; no other heading may "
            f"come before {HEADINGS[0]}"
        )
    code = code_cells(notebook)
    if [tags_of(cell) == ["parameters"] for cell in code] != [True] + [False] * (len(code) - 1):
        yield "the first code cell, and no other, must be tagged 'parameters'"
    if "check_setup(target)" not in source_of(code[1]):
        yield "the second code cell must check the set-up: check_setup(target)"
    if not re.search(r"^record\(", source_of(code[-1]), re.MULTILINE):
        yield "the last code cell must record results: record(…)"


def check_exercises(notebook: Notebook) -> Iterator[str]:
    """Report an exercise without a solution, or a solution that is not folded away."""
    code = code_cells(notebook)
    exercises = [number for number, cell in enumerate(code) if "exercise" in tags_of(cell)]
    solutions = [number for number, cell in enumerate(code) if "solution" in tags_of(cell)]
    if not exercises or solutions != [number + 1 for number in exercises]:
        yield "the notebook needs at least one cell tagged 'exercise', each followed by a cell tagged 'solution'"
    for number in solutions:
        cell = code[number]
        if "hide-cell" not in tags_of(cell) or cell["metadata"].get("jupyter") != HIDDEN:
            yield f"{name_of(cell)}: a solution needs the tag 'hide-cell' too, and {HIDDEN} as metadata 'jupyter'"


def check_length(notebook: Notebook) -> Iterator[str]:
    """Report a code cell that is too long, or a median length that is too large."""
    lengths = [(name_of(cell), source_of(cell).count("\n") + 1) for cell in code_cells(notebook)]
    for name, lines in lengths:
        if lines > MOST_LINES:
            yield f"{name}: the cell has {lines} lines, more than {MOST_LINES}: move details into the package"
    if statistics.median(lines for _, lines in lengths) >= MEDIAN_LINES:
        yield f"the code cells are too long: at least half of them have {MEDIAN_LINES} lines or more"


def check_run(notebook: Notebook) -> Iterator[str]:
    """Report outputs that are not from one run in order, contain an error or a warning, or are printed in pieces."""
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"the outputs do not come from one run in order: the execution counts are {counts}"
    for cell in code_cells(notebook):
        kinds = [output.get("name", output["output_type"]) for output in cell["outputs"]]
        if "error" in kinds or "stderr" in kinds:
            yield f"{name_of(cell)}: the output contains an error or a warning"
        if any(pair == ("stdout", "stdout") for pair in itertools.pairwise(kinds)):
            yield f"{name_of(cell)}: the printed output is in several pieces: execute the notebook with `make outputs`"


def check_secrets(notebook: Notebook) -> Iterator[str]:
    """Report keys, stack traces and paths of this machine, in cells and outputs."""
    for cell in notebook["cells"]:
        text = "\n".join([source_of(cell), *(output_text(output) for output in cell.get("outputs", ()))])
        for what, pattern in SECRETS_AND_PATHS.items():
            if found := pattern.search(text):
                yield f"{name_of(cell)}: the cell contains {what}, {found[0].strip()[:40]!r}"


def check_alt_text(notebook: Notebook) -> Iterator[str]:
    """Report plots without alt text, which describes a plot to people who cannot see it."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if "image/png" in output.get("data", {}) and len(alt) < SHORTEST_ALT:
                yield f"{name_of(cell)}: a plot has no alt text: show it with display_figure(figure, alt)"


def check_spelling(notebook: Notebook) -> Iterator[str]:
    """Report common misspellings in prose and code; outputs are not checked, because the model writes them."""
    text = "\n".join(source_of(cell) for cell in notebook["cells"])
    codespell = [sys.executable, "-m", "codespell_lib", "-"]
    report = subprocess.run(codespell, input=text, capture_output=True, text=True).stdout
    for line, correction in re.findall(r"^\d+: (.*)\n\t(.+ ==> .+)$", report, re.MULTILINE):
        yield f"'{line.strip()[:60]}': {correction}"


CHECKS: tuple[Callable[[Notebook], Iterator[str]], ...] = (
    check_template,
    check_exercises,
    check_length,
    check_run,
    check_secrets,
    check_alt_text,
    check_spelling,
)


def code_cells(notebook: Notebook) -> list[Cell]:
    """Return the code cells, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source_of(cell: Cell) -> str:
    """Return the source of a cell."""
    return "".join(cell["source"])


def markdown_of(cell: Cell) -> str:
    """Return the text of a Markdown cell, or an empty string for any other cell."""
    return source_of(cell) if cell["cell_type"] == "markdown" else ""


def tags_of(cell: Cell) -> list[str]:
    """Return the tags of a cell."""
    return list(cell["metadata"].get("tags", ()))


def name_of(cell: Cell) -> str:
    """Return a name by which a person can find a cell: its execution count or, if it has none, its first words."""
    if cell.get("execution_count"):
        return f"cell [{cell['execution_count']}]"
    return f"cell '{source_of(cell)[:30].splitlines()[0]}'" if source_of(cell) else "an empty cell"


def output_text(output: dict[str, Any]) -> str:
    """Return all text of an output."""
    data = {kind: value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")}
    return "\n".join(
        "".join(text) if isinstance(text, list) else str(text) for text in [output.get("text", ""), *data.values()]
    )


def main(arguments: list[str]) -> int:
    """Print the problems of the named notebooks, or of all notebooks; return 1 if there are any, otherwise 0."""
    paths = [Path(argument) for argument in arguments] or sorted((project_root() / "notebooks").glob("*.ipynb"))
    problems = 0
    for path in paths:
        notebook = json.loads(path.read_text())
        for problem in (problem for check in CHECKS for problem in check(notebook)):
            problems += 1
            print(f"{path.name}: {problem}")
    if not problems:
        print(f"{len(paths)} notebooks follow the template")
    return int(problems > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
