"""``llm-streaming reset``: between two runs of a workshop."""

from __future__ import annotations

import sys


def reset() -> None:
    """Remove every model from the mesh of `llm-streaming up`, whoever has applied it.

    On a shared mesh only the presenter can.
    """
    from llm_streaming.cli.options import kept_mesh

    with kept_mesh() as mesh:
        if not mesh.resources("Model"):
            print("No models found.", file=sys.stderr)
            return
        mesh.reset()
