"""Execute notebooks from start to end: ``python -m llm_streaming.execute notebooks/01-openai-streaming.ipynb``.

What ``make demo`` and ``make course`` run. Papermill's own command cannot merge streamed output, and takes parameters
that a notebook does not have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError

from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook import recorded


class NotebookError(LLMStreamingError):
    """A notebook cannot be executed, or failed while it was."""


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Execute a notebook into `output`, and return what it recorded.

    Raises:
        NotebookError: it has no such parameter, or a cell failed; then the notebook is written up to there.
    """
    if not notebook.is_file():
        raise NotebookError(f"there is no notebook {notebook}")
    known = papermill.inspect_notebook(str(notebook))
    if unknown := parameters.keys() - known.keys():
        raise NotebookError(f"{notebook} has no parameter {', '.join(sorted(unknown))}, only {', '.join(known)}")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        executed = papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters=dict(parameters),
            cwd=str(notebook.parent),
            kernel_name="python3",
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],  # its warning that it listens on loopback is nobody's concern here
        )
    except PapermillExecutionError as error:
        raise NotebookError(f"{notebook}: cell {error.exec_count} failed: {error.ename}: {error.evalue}") from None
    except RuntimeError as error:  # nbclient's, of a kernel that has died
        raise NotebookError(f"{notebook}: {error}") from None
    return recorded(executed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the notebooks that the command line names; returns the exit status."""
    options = _parser().parse_args(arguments)
    failed = False
    for notebook in options.notebooks:
        output = options.output / notebook.name
        print(f"{notebook} -> {output}", flush=True)
        try:
            results = execute(notebook, output, dict(options.parameters))
        except NotebookError as error:
            print(error, file=sys.stderr)
            failed = True
        else:
            for name, value in results.items():
                print(f"  {name}: {value}")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m llm_streaming.execute", description="Execute notebooks.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/notebooks"), help="folder for executed copies")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
