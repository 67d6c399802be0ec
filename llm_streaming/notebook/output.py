"""One output of a cell that is replaced as it grows, and the HTML in it."""

from __future__ import annotations

import html
import uuid
from collections.abc import Iterable, Sequence

PER_SECOND = 10.0
"""How often it may be replaced: the browser lays the whole text out anew each time."""

_WRAPPED = "white-space: pre-wrap; overflow-wrap: anywhere"
_PLACED = "text-align: left; vertical-align: top"  # for JupyterLab, whose tables hold numbers
_PLACE = 'align="left" valign="top"'  # for pages without styles


class LiveOutput:
    """An output of the cell that runs, empty at first."""

    def __init__(self) -> None:
        from IPython.display import display

        self._id = uuid.uuid4().hex
        self._page = ""
        display({"text/plain": ""}, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]

    def replace(self, page: str, text: str) -> None:
        """Show something else, unless it is the same.

        Args:
            page: HTML.
            text: the same, for where no HTML can be shown.
        """
        from IPython.display import update_display

        if page != self._page:
            update_display({"text/html": page, "text/plain": text}, raw=True, display_id=self._id)  # type: ignore[no-untyped-call]
            self._page = page


def escaped(text: str) -> str:
    """HTML that shows a text as it is, with its lines and blanks, in the colours of the page; no HTML in it works."""
    return f'<pre style="{_WRAPPED}">{html.escape(text)}</pre>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table of texts, which reads well too where a page's styles are dropped, as on GitHub."""
    width = 100 // max(len(heads), 1)
    head = "".join(
        f'<th scope="col" width="{width}%" {_PLACE} style="{_PLACED}">{html.escape(text)}</th>' for text in heads
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<table width="100%"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(text: str) -> str:
    lines = html.escape(text).replace("\n", "<br>")
    return f'<td {_PLACE} style="{_PLACED}; {_WRAPPED}">{lines}</td>'
