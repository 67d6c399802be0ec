"""JupyterLab in a headless Chromium, for the browser tests and the README's animation.

The real JupyterLab server runs with settings of its own, listens on loopback and requires a token. It opens copies of
the notebooks, so it changes no file of the checkout when it saves a notebook.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import nbformat
from playwright.sync_api import Browser, sync_playwright

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports, wait_until
from llm_streaming.paths import project_root
from tools.install_chromium import MISSING, find_chromium
from tools.notebook_page import Notebook

TIMEOUT = 120
"""Seconds that a step may take on a slow machine."""

# Chromium has no sandbox for root, and needs none, because it opens only pages of this machine. The last four options
# prevent connections to Google's servers.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_SETTINGS = {
    # Keep all cells in the page, even those out of sight, and leave no empty space after the last cell.
    "notebook-extension/tracker": '{"windowingMode": "none", "scrollPastEnd": false}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
_SERVER = "jupyterlab"


class Lab:
    """A JupyterLab server and a browser that shows one of its notebooks at a time.

    Args:
        group: the process group to start the server in; the server writes all its files into the group's folder.
        browser: the browser.

    Raises:
        MeshError: the server did not start. The message contains the last lines of its log.
    """

    def __init__(self, group: ProcessGroup, browser: Browser) -> None:
        self.project = group.home / "project"
        self.notebook: Notebook | None = None
        self._group = group
        self._browser = browser
        self._token = secrets.token_hex()
        self._address = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        _copy_project(self.project)
        _write_settings(group.home / "settings")
        group.start([Process(_SERVER, self._command(), self._environment())])
        if not wait_until(lambda: group.ended() is not None or self._answers(), timeout=TIMEOUT) or group.ended():
            raise group.ended() or MeshError(f"{_SERVER} does not answer:\n{self.log()}")

    def open(self, name: str, *, width: int = 1200, height: int = 1000) -> Notebook:
        """Open a notebook, after closing the notebook that was open.

        Args:
            name: the notebook's file name in the folder ``notebooks``.
            width: the width of the page in pixels.
            height: the height of the page in pixels.
        """
        self.close()
        context = self._browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        context.set_default_timeout(TIMEOUT * 1000)
        page = context.new_page()
        self.notebook = Notebook(page)
        # Log the page in with a cookie. In the address, the token would appear in error messages.
        context.request.get(f"{self._address}/lab", headers={"Authorization": f"token {self._token}"})
        page.goto(f"{self._address}/lab/tree/notebooks/{name}?reset")
        self.notebook.wait_until_ready()
        return self.notebook

    def close(self) -> None:
        """Close the open notebook, if there is one."""
        if self.notebook:
            self.notebook.page.context.close()
            self.notebook = None

    def write(self, name: str, *sources: str) -> None:
        """Write a notebook with these code cells under a name that `open` accepts."""
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        kernel = {"name": "python3", "display_name": "Python 3"}  # without it, JupyterLab shows a dialogue
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, self.project / "notebooks" / name)

    def log(self) -> str:
        """Return the last 30 lines of the server's log, which never contains the token."""
        return self._group.log(_SERVER, lines=30)

    def _command(self) -> list[str]:
        port = self._address.rpartition(":")[2]
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ip={LOOPBACK}"),
            *(f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.project}"),
        ]

    def _environment(self) -> dict[str, str]:
        """Return this process's environment, without any provider or mesh, and with the server's token and folders."""
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        own = {name: str(self._group.home / folder) for name, folder in folders.items()}
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != MESH_VARIABLE and not name.startswith("OPENAI_")
        }
        # The token is in the environment, because every user of the machine can read the command line.
        return inherited | own | {"JUPYTER_TOKEN": self._token}

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._address}/api").is_success
        except httpx.TransportError:
            return False


@contextmanager
def jupyterlab() -> Iterator[Lab]:
    """Start JupyterLab and a headless Chromium; stop both when the block ends."""
    chromium = find_chromium() or sys.exit(MISSING)
    group = ProcessGroup()
    try:
        with sync_playwright() as playwright:
            yield Lab(group, playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS))
    finally:
        group.stop()


def _copy_project(target: Path) -> None:
    """Create a project folder with links to the models and manifests, and copies of the notebooks without outputs."""
    target.mkdir()
    for name in ("models", "manifests"):
        (target / name).symlink_to(project_root() / name)
    (target / "notebooks").mkdir()
    for path in (project_root() / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, target / "notebooks" / path.name)


def _write_settings(folder: Path) -> None:
    for plugin, settings in _SETTINGS.items():
        path = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(settings)
