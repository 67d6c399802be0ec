"""The notebooks as they are committed: from one run, in order, without errors, and with their results."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from llm_streaming.notebook import recorded
from llm_streaming.project import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"/(?:root|home|tmp|Users)/\w|sk-[A-Za-z0-9]{20,}")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"01-openai-streaming", "02-local-streaming"}


@each_notebook
def test_outputs_come_from_one_run_in_order(path: Path) -> None:
    counts = [cell["execution_count"] for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_no_output_is_an_error(path: Path) -> None:
    kinds = {output["output_type"] for cell in code_cells(read(path)) for output in cell["outputs"]}
    assert "error" not in kinds


@each_notebook
def test_streamed_text_is_one_output(path: Path) -> None:
    streams = [
        [output["name"] for output in cell["outputs"] if output["output_type"] == "stream"]
        for cell in code_cells(read(path))
    ]
    assert [names for names in streams if len(names) > len(set(names))] == []


@each_notebook
def test_one_cell_holds_the_parameters(path: Path) -> None:
    tagged = [cell for cell in code_cells(read(path)) if "parameters" in cell["metadata"].get("tags", ())]
    assert len(tagged) == 1


@each_notebook
def test_cells_are_short(path: Path) -> None:
    lengths = sorted("".join(cell["source"]).count("\n") + 1 for cell in code_cells(read(path)))
    assert lengths[len(lengths) // 2] < 8
    assert lengths[-1] <= 18


@each_notebook
def test_nothing_of_this_machine_is_in_it(path: Path) -> None:
    assert MACHINE_PATH.findall(path.read_text()) == []


@each_notebook
def test_results_are_recorded(path: Path) -> None:
    results = recorded(read(path))
    assert results["tokens_per_second"] > 0
    assert 0 < results["seconds_to_first_token"] < 60
