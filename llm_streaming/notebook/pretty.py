"""An answer's Markdown: as text while it grows, and rendered once it is whole."""

from __future__ import annotations

from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.output import PER_SECOND, LiveOutput, escaped

try:
    from markdown_it import MarkdownIt
except ModuleNotFoundError:
    raise LLMStreamingError(
        "pretty output needs the package markdown-it-py, which is not installed: run `make setup`, or "
        "`pip install 'llm-streaming[notebooks]'`"
    ) from None


class PrettyText:
    """Shows an answer in one output of the cell that runs."""

    per_second = PER_SECOND

    def __init__(self) -> None:
        self._output = LiveOutput()

    def show(self, text: str) -> None:
        """Show the text so far as it is."""
        self._output.replace(escaped(text), text)

    def finish(self, text: str) -> None:
        """Show the whole text rendered."""
        self._output.replace(rendered(text), text)


def rendered(markdown: str) -> str:
    """Markdown as HTML that is safe to show, though nobody vouches for what a model writes.

    HTML in it stays text, a link that would run code too, and an image is a link: loaded by itself, its address could
    tell another server what was said. JupyterLab, given Markdown, loads images, and ``nbconvert`` lets scripts through.
    """
    return str(MarkdownIt("js-default").disable("image").render(markdown))
