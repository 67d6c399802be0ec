"""Operates a notebook in JupyterLab's page by the keyboard and the mouse, as a person does."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page

ERROR = "application/vnd.jupyter.stderr"
"""The MIME type that JupyterLab gives to errors and to output on standard error."""

# Records the length of the cell's output at each change of the page while the cell runs.
_WATCH = """cell => {
    cell.lengths = new Set();
    new MutationObserver(() => {
        const length = cell.querySelector(".jp-Cell-outputWrapper").textContent.length;
        if (length && cell.querySelector(".jp-InputArea-prompt")?.textContent === "[*]:") cell.lengths.add(length);
    }).observe(cell, {childList: true, characterData: true, subtree: true});
}"""


class Cell:
    """A code cell of an open notebook."""

    def __init__(self, locator: Locator) -> None:
        self.locator = locator
        self.outputs = locator.locator(".jp-OutputArea-output")

    def start(self) -> None:
        """Start the cell without waiting until it has finished."""
        self.locator.evaluate(_WATCH)
        self.locator.locator(".jp-InputPrompt:visible").first.click()
        self.locator.page.keyboard.press("Control+Enter")

    def wait(self) -> None:
        """Wait until the cell has finished, with or without an error."""
        self.locator.locator(".jp-InputArea-prompt", has_text=re.compile(r"^\[\d+\]:$")).wait_for()

    def run(self) -> None:
        """Run the cell and wait until it has finished, with or without an error."""
        self.start()
        self.wait()

    def wait_for_growth(self, times: int) -> None:
        """Wait until the output has had this many different lengths, or until the cell has finished."""
        self.locator.page.wait_for_function(
            """([cell, times]) => cell.lengths.size >= times
                || /^\\[\\d+\\]:$/.test(cell.querySelector(".jp-InputArea-prompt").textContent)""",
            arg=[self.locator.element_handle(), times],
        )

    @property
    def source(self) -> str:
        """The code of the cell."""
        return str(self.locator.locator(".cm-content").inner_text())

    @property
    def running(self) -> bool:
        """Whether the cell is running, which its prompt ``[*]:`` shows."""
        return bool(self.locator.locator(".jp-InputArea-prompt").inner_text() == "[*]:")

    @property
    def lengths(self) -> list[int]:
        """The different lengths, in characters, that the output has had while the cell ran, in order."""
        found: list[int] = self.locator.evaluate("cell => [...cell.lengths]")
        return found

    @property
    def kinds(self) -> list[str]:
        """The MIME types of the outputs; JupyterLab has types of its own for streams and errors."""
        return [output.get_attribute("data-mime-type") or "" for output in self.outputs.all()]

    @property
    def text(self) -> str:
        """The text of all outputs."""
        return "".join(self.outputs.all_text_contents())


class Notebook:
    """A notebook that is open in its own page; `console` collects the messages of the browser's console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.panel = page.locator(".jp-NotebookPanel:visible")
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    def wait_until_ready(self) -> None:
        """Wait until the page shows the notebook and the kernel is ready."""
        self.panel.locator(".jp-Toolbar-kernelName", has_text="Python 3").wait_for()
        # The toolbar's indicator cannot be used: it shows "idle" before the kernel has started.
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()

    @property
    def cells(self) -> list[Cell]:
        """The code cells, in order."""
        return [Cell(locator) for locator in self.panel.locator(".jp-CodeCell").all()]

    def interrupt(self) -> None:
        """Press the button that interrupts the kernel."""
        self.panel.get_by_role("button", name="Interrupt the kernel").click()

    def save(self) -> None:
        """Save the notebook and wait until it is saved."""
        with self.page.expect_response(lambda response: response.request.method == "PUT"):
            self.page.keyboard.press("Control+S")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of the visible part of the notebook, or of the whole notebook.

        Args:
            path: the file to write; its folder is created if necessary.
            whole: whether the picture shows all cells.
        """
        size = self.page.viewport_size
        assert size is not None  # noqa: S101 - `Lab.open` sets it
        if whole:
            height = self.panel.locator(".jp-WindowedPanel-outer").evaluate(
                "notebook => { notebook.scrollTop = 0; return notebook.scrollHeight; }"
            )
            self.page.set_viewport_size({"width": size["width"], "height": height + 150})  # 150: the toolbars
        path.parent.mkdir(parents=True, exist_ok=True)
        self.panel.screenshot(path=path)
        self.page.set_viewport_size(size)
