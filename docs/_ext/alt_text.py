"""Reads notebooks for the site, with the alternative texts of their pictures."""

from __future__ import annotations

import nbformat


def read_notebook(text: str) -> nbformat.NotebookNode:
    """Read a notebook, and copy the alternative text of each picture to the place where myst-nb reads it.

    Jupyter stores the text in the output's metadata: ``{"image/png": {"alt": "…"}}``. myst-nb reads it from the cell's
    metadata: ``{"mystnb": {"image": {"alt": "…"}}}``.

    Args:
        text: the notebook's JSON.

    Raises:
        ValueError: a picture has no alternative text, or a cell has several pictures: myst-nb reads one text per cell.
    """
    notebook: nbformat.NotebookNode = nbformat.reads(text, as_version=4)
    for number, cell in enumerate(notebook.cells, start=1):
        pictures = [
            output.metadata.get(kind, {}).get("alt", "")
            for output in cell.get("outputs", ())
            for kind in output.get("data", {})
            if kind.startswith("image/")
        ]
        if len(pictures) > 1:
            raise ValueError(f"cell {number} has {len(pictures)} pictures: show each in a cell of its own")
        if pictures == [""]:
            raise ValueError(f"the picture of cell {number} has no alternative text: show it with display_figure")
        if pictures:
            cell.metadata["mystnb"] = {"image": {"alt": pictures[0]}}
    return notebook
