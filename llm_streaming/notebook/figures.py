"""Figures that say in words what they show."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def display_figure(figure: Figure, alt: str) -> None:
    """Show a figure as a PNG image, and close it.

    Args:
        figure: matplotlib's.
        alt: what it shows, in a sentence for those who do not see it: the image's alternative text, and the output's
            plain text.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    image = io.BytesIO()
    figure.savefig(image, format="png", bbox_inches="tight")
    plt.close(figure)  # or else Jupyter shows it once more when the cell ends
    encoded = base64.b64encode(image.getvalue()).decode()
    display(  # type: ignore[no-untyped-call]
        {"image/png": encoded, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True
    )
