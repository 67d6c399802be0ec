"""The command line ``llm-streaming``: kubectl's verbs for each kind of mesh, and a chat."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from llm_streaming.errors import LLMStreamingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0 for success, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C.
    """
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
        context = getattr(error, "ctx", None)  # only errors in a command's arguments have a context
        hint = f" (`{context.command_path} --help` shows the usage)" if context else ""
        print(f"error: {' '.join(error.format_message().split())}{hint}", file=sys.stderr)
        return error.exit_code
    except LLMStreamingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the program that reads the output has exited, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return int(status or 0)
