"""docs/troubleshooting.md: the code contains every message that the page quotes."""

import ast
import re
from collections.abc import Iterator

import pytest

from llm_streaming.paths import project_root

ROOT = project_root()
ROW = re.compile(r"^\| (`+)(?P<message>.+?)\1 \|", re.MULTILINE)
ANY = "…"  # stands for the part of a message that varies


def quoted() -> list[str]:
    """Return the messages in the tables whose first column is headed ``message``."""
    page = (ROOT / "docs/troubleshooting.md").read_text()
    tables = re.findall(r"^\| message \|.*?(?:\n\n|\Z)", page, re.MULTILINE | re.DOTALL)
    return [row["message"] for table in tables for row in ROW.finditer(table)]


def texts(source: str) -> Iterator[str]:
    """Return the strings in a module's source; `ANY` stands for the values in f-strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else ANY for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def said() -> str:
    modules = [*ROOT.glob("llm_streaming/**/*.py"), *ROOT.glob("tools/*.py")]
    return "\n".join(text for module in sorted(modules) for text in texts(module.read_text()))


@pytest.mark.parametrize("message", quoted())
def test_the_code_contains_the_message(message: str, said: str) -> None:
    words = [re.escape(piece) for piece in message.split(ANY) if piece.strip()]
    assert re.search(".*".join(words), said)


def test_every_table_of_messages_is_read() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(quoted()) == len(rows)
