"""The command line, ``llm-streaming``: kubectl's verbs for both meshes, and a chat."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from llm_streaming.errors import LLMStreamingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for what failed, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        import typer
    except ModuleNotFoundError:
        print(
            "error: the command line needs the package typer, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[cli]'`",
            file=sys.stderr,
        )
        return 1
    from llm_streaming.cli.app import app

    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        status = app(words, prog_name="llm-streaming", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        print(f"error: {' '.join(error.format_message().split())}{_more(error)}", file=sys.stderr)
        return error.exit_code
    except LLMStreamingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read the output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return int(status or 0)


def _more(error: Exception) -> str:
    """Where the right usage stands: known of an error that a command's own arguments caused."""
    context = getattr(error, "ctx", None)
    return f" (`{context.command_path} --help` shows the usage)" if context else ""
