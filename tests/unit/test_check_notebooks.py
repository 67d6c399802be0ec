"""The checks of `tools.check_notebooks`: each reports its problem, and none reports one in a correct notebook."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tools.check_notebooks import CHECKS, HIDDEN, Notebook

PLOT = {"data": {"image/png": "iVBORw0KGgo="}, "metadata": {"image/png": {"alt": ""}}, "output_type": "display_data"}


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def code(number: int, text: str, *tags: str) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    return {
        "cell_type": "code",
        "execution_count": number,
        "metadata": {"tags": list(tags)},
        "outputs": [{"name": "stdout", "output_type": "stream", "text": ["5 events\n"]}],
        "source": source,
    }


def correct_notebook() -> Notebook:
    solution = code(5, "print('short')", "solution", "hide-cell")
    solution["metadata"]["jupyter"] = dict(HIDDEN)
    return {
        "cells": [
            markdown("# Streams\n\nWhat they are.\n\nAbout 10 minutes."),
            markdown("## Parameters"),
            code(1, "target = 'embedded'", "parameters"),
            code(2, "check_setup(target)"),
            markdown("## Read"),
            code(3, "print('5 events')"),
            markdown("## Exercises\n\n### Ask for less"),
            code(4, "# your turn", "exercise"),
            solution,
            markdown("## Clean up"),
            code(6, "mesh.close()"),
            markdown("## What you have learned\n\n- It streams."),
            code(7, "record(tokens_per_second=1.0)"),
        ]
    }


def problems(notebook: Notebook) -> list[str]:
    return [problem for check in CHECKS for problem in check(notebook)]


def test_a_correct_notebook_has_no_problems() -> None:
    assert problems(correct_notebook()) == []


def source(cell: int, text: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook["cells"][cell]["source"] = text.splitlines(keepends=True)

    return change


def outputs(cell: int, *found: dict[str, Any]) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook["cells"][cell]["outputs"] = list(found)

    return change


def tags(cell: int, *found: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook["cells"][cell]["metadata"]["tags"] = list(found)

    return change


def printed(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"name": name, "output_type": "stream", "text": [text]}


HEADINGS = (
    "the notebook needs the headings Parameters, Exercises, Clean up, What you have learned, each once and in this "
    "order; no other heading may come before Parameters"
)
PARAMETERS = "the first code cell, and no other, must be tagged 'parameters'"
EXERCISES = "the notebook needs at least one cell tagged 'exercise', each followed by a cell tagged 'solution'"
PIECES = "cell [3]: the printed output is in several pieces: execute the notebook with `make outputs`"

BROKEN = {
    "no time": (
        source(0, "# Streams"),
        ["the first cell needs a title and the time that the notebook takes: 'About 10 minutes.'"],
    ),
    "a heading is missing": (source(9, "Clean up"), [HEADINGS]),
    "a heading before the parameters": (source(0, "# Streams\n\nAbout 10 minutes.\n\n## Read"), [HEADINGS]),
    "no parameters": (tags(2), [PARAMETERS]),
    "parameters twice": (tags(5, "parameters"), [PARAMETERS]),
    "set-up not checked": (source(3, "print(1)"), ["the second code cell must check the set-up: check_setup(target)"]),
    "nothing recorded": (source(12, "print('record(1)')"), ["the last code cell must record results: record(…)"]),
    "no exercise": (tags(7), [EXERCISES]),
    "a solution that shows": (
        tags(8, "solution"),
        [f"cell [5]: a solution needs the tag 'hide-cell' too, and {HIDDEN} as metadata 'jupyter'"],
    ),
    "a long cell": (
        source(5, "x = 1\n" * 19),
        ["cell [3]: the cell has 20 lines, more than 18: move details into the package"],
    ),
    "an error": (outputs(5, {"output_type": "error"}), ["cell [3]: the output contains an error or a warning"]),
    "a warning": (outputs(5, printed("oh", "stderr")), ["cell [3]: the output contains an error or a warning"]),
    "pieces": (outputs(5, printed("a"), printed("b")), [PIECES]),
    "a path": (
        outputs(5, printed("in /home/me/x")),
        ["cell [3]: the cell contains a path of this machine, '/home/me'"],
    ),
    "a key": (source(5, f"key = 'sk-{'a' * 24}'"), [f"cell [3]: the cell contains a key, 'sk-{'a' * 24}'"]),
    "a trace": (
        outputs(5, printed("Traceback (most recent call last)")),
        ["cell [3]: the cell contains a stack trace, 'Traceback (most recent call last)'"],
    ),
    "a plot without words": (
        outputs(5, PLOT),
        ["cell [3]: a plot has no alt text: show it with display_figure(figure, alt)"],
    ),
    "a misspelling": (source(4, "## Read\n\nYou recieve it."), ["'You recieve it.': recieve ==> receive"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_notebook_has_this_problem(case: str) -> None:
    change, expected = BROKEN[case]
    notebook = copy.deepcopy(correct_notebook())
    change(notebook)
    assert problems(notebook) == expected


def test_cells_run_out_of_order_are_a_problem() -> None:
    notebook = correct_notebook()
    notebook["cells"][5]["execution_count"] = 9
    counts = [1, 2, 9, 4, 5, 6, 7]
    assert problems(notebook) == [f"the outputs do not come from one run in order: the execution counts are {counts}"]
