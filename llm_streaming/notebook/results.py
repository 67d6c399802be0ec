"""Results that a notebook records for those who have executed it."""

from __future__ import annotations

from typing import Any

RESULTS = "application/vnd.llm-streaming.results+json"
"""The output type that holds what a notebook recorded."""


def record(**results: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Show named results at the end of a notebook, and keep them in it for those who executed it."""
    from IPython.display import display

    text = "\n".join(f"{name}: {value}" for name, value in results.items())
    display({RESULTS: results, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]


def recorded(notebook: dict[str, Any]) -> dict[str, Any]:
    """Collect what an executed notebook has recorded."""
    results: dict[str, Any] = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            results |= output.get("data", {}).get(RESULTS, {})
    return results
