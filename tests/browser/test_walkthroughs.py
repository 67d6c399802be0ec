"""The walkthroughs in JupyterLab, run cell by cell as a reader does."""

from pathlib import Path

import nbformat
import pytest

from llm_streaming.notebook import recorded
from llm_streaming.paths import project_root
from tools.lab import Lab
from tools.notebook_page import ERROR

WALKTHROUGHS = sorted((project_root() / "notebooks").glob("0[12]-*.ipynb"))
ENOUGH = 5
"""An output that has had this many lengths while its cell ran has grown."""


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_walkthroughs() -> None:
    assert len(WALKTHROUGHS) == 2


@pytest.mark.parametrize("path", WALKTHROUGHS, ids=lambda path: path.stem)
def test_the_answer_grows_while_the_cell_runs(lab: Lab, pictures: Path, path: Path) -> None:
    sources = [cell.source for cell in code_cells(path)]
    streaming = next(number for number, source in enumerate(sources) if "connect_sse(" in source)
    notebook = lab.open(path.name)
    cells = notebook.cells
    assert len(cells) == len(sources)
    for number, cell in enumerate(cells):
        cell.start()
        if number == streaming:
            cell.wait_for_growth(ENOUGH)
            notebook.screenshot(pictures / f"{path.stem}.growing.png")
        cell.wait()
        assert ERROR not in cell.kinds, cell.text
    notebook.screenshot(pictures / f"{path.stem}.png", whole=True)
    notebook.save()
    saved = code_cells(lab.project / "notebooks" / path.name)
    assert len(cells[streaming].lengths) >= ENOUGH
    assert cells[streaming].text == saved[streaming].outputs[0].text
    assert [len(cell.kinds) for cell in cells] == [len(cell.outputs) for cell in saved]
    assert recorded({"cells": saved}).keys() == recorded({"cells": code_cells(path)}).keys() != set()
