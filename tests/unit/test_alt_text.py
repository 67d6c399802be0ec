"""The pictures of the site have the alternative texts of the notebooks."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from llm_streaming.paths import project_root

spec = spec_from_file_location("alt_text", project_root() / "docs/_ext/alt_text.py")
assert spec is not None
assert spec.loader is not None
alt_text = module_from_spec(spec)
spec.loader.exec_module(alt_text)


def picture(alt: str | None) -> dict[str, Any]:
    metadata = {} if alt is None else {"image/png": {"alt": alt}}
    return {"output_type": "display_data", "data": {"image/png": "", "text/plain": "a figure"}, "metadata": metadata}


def notebook(*outputs: dict[str, Any]) -> str:
    cell = {
        "id": "one",
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {"tags": ["plot"]},
        "outputs": list(outputs),
        "source": "",
    }
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def test_the_alternative_text_goes_where_myst_nb_looks_for_it() -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": "hello"}
    (cell,) = alt_text.read_notebook(notebook(stream, picture("A line that rises"))).cells
    assert cell.metadata == {"tags": ["plot"], "mystnb": {"image": {"alt": "A line that rises"}}}


def test_a_cell_without_pictures_stays_as_it_is() -> None:
    (cell,) = alt_text.read_notebook(notebook()).cells
    assert cell.metadata == {"tags": ["plot"]}


@pytest.mark.parametrize("alt", [None, ""])
def test_a_picture_without_one_is_refused(alt: str | None) -> None:
    with pytest.raises(ValueError, match="the picture of cell 1 has no alternative text"):
        alt_text.read_notebook(notebook(picture(alt)))


def test_several_pictures_in_one_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="cell 1 has 2 pictures"):
        alt_text.read_notebook(notebook(picture("one"), picture("two")))
