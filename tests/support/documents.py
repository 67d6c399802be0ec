"""Parts of the project's documents that tests compare with the code."""

import re

from llm_streaming.paths import project_root


def code_spans(text: str) -> list[str]:
    """Return the code between backquotes in the running text of Markdown, without its code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def code_blocks(text: str, language: str = "[a-z]*") -> list[str]:
    """Return the code blocks in Markdown, of all languages or of the languages that a pattern matches."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def makefile_targets() -> list[str]:
    """Return the targets of the Makefile."""
    return re.findall(r"^([a-z-]+):", (project_root() / "Makefile").read_text(), re.MULTILINE)
