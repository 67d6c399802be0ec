"""Executes notebooks from start to end: ``python -m llm_streaming.execute notebooks/01-openai-streaming.ipynb``.

``make demo`` and ``make course`` run this module instead of papermill's own command, which does not merge streamed
output and accepts parameters that a notebook does not have.
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
from llm_streaming.printable import printable


class NotebookError(LLMStreamingError):
    """A notebook cannot be executed, or one of its cells failed."""


def execute(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Execute a notebook, write the executed copy, and return the results that it recorded.

    Args:
        notebook: the notebook's path. It runs in its own folder.
        output: the path of the executed copy. After a failure, it contains the outputs up to the failed cell.
        parameters: values of the notebook's parameters.

    Raises:
        NotebookError: the notebook or a parameter does not exist, or a cell failed.
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
            extra_arguments=["--log-level=ERROR"],  # hides the kernel's warning about loopback
        )
    except PapermillExecutionError as error:
        raise NotebookError(f"{notebook}: cell {error.exec_count} failed: {error.ename}: {error.evalue}") from None
    except RuntimeError as error:  # nbclient raises it when the kernel dies
        raise NotebookError(f"{notebook}: {error}") from None
    return recorded(executed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the notebooks named on the command line, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m llm_streaming.execute", description="Execute notebooks.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/notebooks"), help="folder for executed copies")
    parser.add_argument(
        "-p", dest="parameters", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set a parameter"
    )
    options = parser.parse_args(arguments)
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
                print(printable(f"  {name}: {value}"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
