"""The walkthroughs in JupyterLab, as a reader runs them: cell after cell."""

from pathlib import Path

import nbformat
import pytest

from llm_streaming.notebook import recorded
from llm_streaming.project import project_root
from tools.lab import Lab
from tools.notebook_page import ERROR

WALKTHROUGHS = sorted((project_root() / "notebooks").glob("0[12]-*.ipynb"))
ENOUGH = 5


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def shapes(path: Path) -> list[list[object]]:
    """What outputs each cell has: streams by name, others by their MIME types."""
    return [[output.get("name") or sorted(output.data) for output in cell.outputs] for cell in code_cells(path)]


def test_there_are_walkthroughs() -> None:
    assert len(WALKTHROUGHS) == 2


@pytest.mark.parametrize("path", WALKTHROUGHS, ids=lambda path: path.stem)
def test_the_answer_grows_while_the_cell_runs(lab: Lab, pictures: Path, path: Path) -> None:
    notebook = lab.open(path.name)
    seen = {}
    for number, (cell, committed) in enumerate(zip(notebook.cells, code_cells(path), strict=True)):
        cell.start()
        if "connect_sse(" in committed.source:
            cell.wait_for_growth(ENOUGH)
            notebook.screenshot(pictures / f"{path.stem}.growing.png")
        cell.wait()
        assert ERROR not in cell.kinds, cell.text
        if "connect_sse(" in committed.source:
            seen[number] = (cell.lengths, cell.text)
    notebook.screenshot(pictures / f"{path.stem}.png", whole=True)
    notebook.save()
    saved = lab.project / "notebooks" / path.name
    assert shapes(saved) == shapes(path)
    assert recorded(nbformat.read(saved, as_version=4)).keys() == recorded(nbformat.read(path, as_version=4)).keys()
    ((number, (lengths, text)),) = seen.items()
    assert len(lengths) >= ENOUGH
    assert text == code_cells(saved)[number].outputs[0].text
