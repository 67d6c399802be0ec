"""The command line understands all its commands in the documents."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from llm_streaming.cli.app import app
from llm_streaming.paths import project_root
from tests.support.documents import code_blocks, code_spans

DOCUMENTS = [project_root() / "README.md", *sorted((project_root() / "docs").glob("*.md"))]


def commands_in(text: str) -> list[str]:
    """Return every ``llm-streaming …`` in Markdown: lines of code blocks, with their continuations, and code spans."""
    lines = "\n".join(code_blocks(text)).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|[|$(]\s*)(llm-streaming\s.*)", line) for line in [*lines, *code_spans(text)]]
    return [match[1] for match in found if match]


def parse(words: list[str]) -> None:
    """Parse a command line without running it."""
    command = typer.main.get_command(app)
    name = "llm-streaming"
    while True:
        context = command.make_context(name, list(words))
        if not hasattr(command, "resolve_command"):
            return
        protected = context._protected_args  # noqa: SLF001 - its public name is deprecated
        name, command, words = command.resolve_command(context, [*protected, *context.args])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_are_understood(path: Path) -> None:
    for line in commands_in(path.read_text()):
        words = shlex.split(re.split(r"\s[|>&]|\s#|\)", line)[0])[1:]
        if words and "…" not in words:
            parse(words)


def test_a_command_that_is_not_understood_is_found() -> None:
    text = "`llm-streaming up`\n```console\n$ llm-streaming apply \\\n    -f x | cat\n$ llm-streaming applied\n```\n"
    assert [line.split() for line in commands_in(text)] == [
        ["llm-streaming", "apply", "-f", "x", "|", "cat"],
        ["llm-streaming", "applied"],
        ["llm-streaming", "up"],
    ]
    parse(["apply", "-f", "x"])
    with pytest.raises(typer.TyperException, match="No such command"):
        parse(["applied"])
