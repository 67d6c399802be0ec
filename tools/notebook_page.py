"""A notebook in JupyterLab's page, used as a person uses it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page

ERROR = "application/vnd.jupyter.stderr"
"""The kind of an output that is an error; JupyterLab shows standard error's as the same."""

# Keeps the lengths that the cell's output has while the cell runs, whenever the page changes.
_WATCH = """cell => {
    cell.lengths = new Set();
    new MutationObserver(() => {
        const length = cell.querySelector(".jp-Cell-outputWrapper").textContent.length;
        if (length && cell.querySelector(".jp-InputArea-prompt")?.textContent === "[*]:") cell.lengths.add(length);
    }).observe(cell, {childList: true, characterData: true, subtree: true});
}"""


class Cell:
    """A code cell."""

    def __init__(self, locator: Locator) -> None:
        self.locator = locator
        self.outputs = locator.locator(".jp-OutputArea-output")

    def start(self) -> None:
        """Select the cell and run it; returns at once."""
        self.locator.evaluate(_WATCH)
        self.locator.locator(".jp-InputPrompt:visible").first.click()
        self.locator.page.keyboard.press("Control+Enter")

    def wait(self) -> None:
        """Return when the cell has run, with or without an error."""
        self.locator.locator(".jp-InputArea-prompt", has_text=re.compile(r"^\[\d+\]:$")).wait_for()

    def run(self) -> None:
        """Run the cell, and return when it has run, with or without an error."""
        self.start()
        self.wait()

    def wait_for_growth(self, times: int) -> None:
        """Return when the output has had so many lengths while the cell ran, or the cell has run."""
        self.locator.page.wait_for_function(
            """([cell, times]) => cell.lengths.size >= times
                || /^\\[\\d+\\]:$/.test(cell.querySelector(".jp-InputArea-prompt").textContent)""",
            arg=[self.locator.element_handle(), times],
        )

    @property
    def source(self) -> str:
        """Its code."""
        return str(self.locator.locator(".cm-content").inner_text())

    @property
    def running(self) -> bool:
        """Whether its prompt is ``[*]:``."""
        return bool(self.locator.locator(".jp-InputArea-prompt").inner_text() == "[*]:")

    @property
    def lengths(self) -> list[int]:
        """The lengths, in characters, that its output has had while it ran, in order."""
        found: list[int] = self.locator.evaluate("cell => [...cell.lengths]")
        return found

    @property
    def kinds(self) -> list[str]:
        """The MIME types of its outputs; those of streams and errors are JupyterLab's own."""
        return [output.get_attribute("data-mime-type") or "" for output in self.outputs.all()]

    @property
    def text(self) -> str:
        """The text of its outputs."""
        return "".join(self.outputs.all_text_contents())


class Notebook:
    """A notebook that is open in a page of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.panel = page.locator(".jp-NotebookPanel:visible")
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    def wait_until_ready(self) -> None:
        """Return when the notebook is shown and its kernel is there."""
        self.panel.locator(".jp-Toolbar-kernelName", has_text="Python 3").wait_for()
        # The toolbar's indicator would not do: it is idle before there is a kernel.
        self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()

    @property
    def cells(self) -> list[Cell]:
        """Its code cells."""
        return [Cell(locator) for locator in self.panel.locator(".jp-CodeCell").all()]

    def interrupt(self) -> None:
        """Press the button that interrupts the kernel."""
        self.panel.get_by_role("button", name="Interrupt the kernel").click()

    def save(self) -> None:
        """Save the notebook, and return when that is done."""
        with self.page.expect_response(lambda response: response.request.method == "PUT"):
            self.page.keyboard.press("Control+S")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of what the notebook shows, or of the whole notebook."""
        size = self.page.viewport_size
        assert size is not None  # noqa: S101 - it was given
        if whole:
            height = self.panel.locator(".jp-WindowedPanel-outer").evaluate(
                "notebook => { notebook.scrollTop = 0; return notebook.scrollHeight; }"
            )
            self.page.set_viewport_size({"width": size["width"], "height": height + 150})  # 150: what is around it
        path.parent.mkdir(parents=True, exist_ok=True)
        self.panel.screenshot(path=path)
        self.page.set_viewport_size(size)
