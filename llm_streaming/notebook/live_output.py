"""Shows growing text at a limited rate, in a cell output that can be replaced."""

from __future__ import annotations

import html
import math
import uuid
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter

from llm_streaming.errors import LLMStreamingError
from llm_streaming.printable import printable

PER_SECOND = 10.0
"""The maximum updates of a `LiveOutput` per second. At each update, the browser renders the whole text again."""

_WRAPPED = "white-space: pre-wrap; overflow-wrap: anywhere"
_ALIGNED = "text-align: left; vertical-align: top"  # replaces JupyterLab's alignment, which suits numbers
_ALIGNMENT = 'align="left" valign="top"'  # for pages that remove styles


class LiveOutput:
    """An output of the running cell that can be replaced; it is empty at first."""

    def __init__(self) -> None:
        from IPython.display import display

        self._id = uuid.uuid4().hex
        self._page = ""
        display({"text/plain": ""}, raw=True, display_id=self._id)

    def replace(self, page: str, text: str) -> None:
        """Replace the output by an HTML page, and by the same content as plain text for viewers without HTML."""
        from IPython.display import update_display

        if page != self._page:
            update_display({"text/html": page, "text/plain": printable(text)}, raw=True, display_id=self._id)
            self._page = page


class GrowingText:
    """Collects a text and shows it as it grows, at a limited rate.

    Args:
        show: called with the whole text so far. If it raises an exception, the next `add` calls it again.
        per_second: the maximum number of calls of `show` per second.
    """

    def __init__(self, show: Callable[[str], None], per_second: float = PER_SECOND) -> None:
        self._show = show
        self._interval = 1 / per_second
        self._pieces: list[str] = []
        self._shown, self._shown_at = 0, -math.inf

    @property
    def text(self) -> str:
        """The whole text so far."""
        return "".join(self._pieces)

    def add(self, text: str) -> None:
        """Add a piece of text, and show the whole text if it has grown and enough time has passed."""
        if text:
            self._pieces.append(text)
        if len(self._pieces) > self._shown and perf_counter() - self._shown_at >= self._interval:
            self._show(self.text)
            self._shown, self._shown_at = len(self._pieces), perf_counter()


def escaped(text: str) -> str:
    """Return HTML that shows a text literally, with its line breaks and spaces."""
    return f'<pre style="{_WRAPPED}">{html.escape(text)}</pre>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table of texts. The table stays readable on pages that remove styles, such as GitHub's."""
    column = f'<th scope="col" width="{100 // max(len(heads), 1)}%" {_ALIGNMENT} style="{_ALIGNED}">'
    head = "".join(f"{column}{html.escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table width="100%"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(text: str) -> str:
    lines = html.escape(text).replace("\n", "<br>")
    return f'<td {_ALIGNMENT} style="{_ALIGNED}; {_WRAPPED}">{lines}</td>'


def markdown_renderer() -> Callable[[str], str]:
    """Return a function that renders a model's Markdown as HTML that is safe to show.

    HTML in the Markdown is shown as text, and so are links that would run code. Images become links, because browsers
    load images unasked, and an image's address could send the conversation to another server. JupyterLab's own Markdown
    renderer loads images, and ``nbconvert`` does not remove scripts.

    Raises:
        LLMStreamingError: markdown-it-py is not installed.
    """
    try:
        from markdown_it import MarkdownIt
    except ModuleNotFoundError:
        raise LLMStreamingError(
            "pretty output needs the package markdown-it-py, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[notebooks]'`"
        ) from None
    return MarkdownIt("js-default").disable("image").render
