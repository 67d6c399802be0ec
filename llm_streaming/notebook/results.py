"""Displays the results of a notebook: figures with a description, and named values that tests and programs can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULTS = "application/vnd.llm-streaming.results+json"
"""The MIME type of cell outputs that contain named values."""


def record(**results: Any) -> None:  # noqa: ANN401 - any JSON value
    """Display named values, and store them in the notebook as the cell's output."""
    from IPython.display import display

    text = "\n".join(f"{name}: {value}" for name, value in results.items())
    display({RESULTS: results, "text/plain": text}, raw=True)


def recorded(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the named values that an executed notebook contains."""
    results: dict[str, Any] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            results |= output.get("data", {}).get(RESULTS, {})
    return results


def display_figure(figure: Figure, alt: str) -> None:
    """Display a figure as a PNG image, and close it.

    Args:
        figure: matplotlib's figure.
        alt: a sentence that says what the figure shows. It becomes the image's alternative text and the output's plain
            text.
    """
    import matplotlib.pyplot as plt
    from IPython.core.pylabtools import print_figure
    from IPython.display import display

    image = print_figure(figure, base64=True)
    plt.close(figure)  # otherwise Jupyter shows it again at the end of the cell
    display({"image/png": image, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)
