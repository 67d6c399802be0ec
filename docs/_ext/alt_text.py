"""Read notebooks so that the site's pictures have alternative texts."""

from __future__ import annotations

import nbformat


def read_notebook(text: str) -> nbformat.NotebookNode:
    """Read a notebook; the alternative text of a cell's picture goes where myst-nb looks for it.

    Notebooks keep it with the picture, as Jupyter does, in the output's metadata: ``{"image/png": {"alt": "…"}}``.
    myst-nb takes it from the cell's: ``{"mystnb": {"image": {"alt": "…"}}}``.

    Raises:
        ValueError: a picture has no alternative text, or a cell has several pictures, of which myst-nb tells one.
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
