"""JupyterLab and a headless Chromium for it: what the browser test and the animation share.

The server is a real one with settings of its own, on loopback, behind a token. It shows a copy of the notebooks, so
that what JupyterLab saves changes no file of the checkout.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
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

PATIENCE = 120
"""Seconds that a step may take on a slow machine."""

# As root there is no sandbox, and only pages of this machine are opened. The rest keeps Chromium from calling home.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_SETTINGS = {
    # Cells that are out of sight are in the page too, and the last one is its end.
    "notebook-extension/tracker": '{"windowingMode": "none", "scrollPastEnd": false}',
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}
_SERVER = "jupyterlab"


class Lab:
    """A JupyterLab server, and a browser that shows one of its notebooks at a time.

    Args:
        group: the server's process group, to be started; its folder holds everything the server writes.
        browser: the browser.

    Raises:
        MeshError: the server did not start; its last lines say why.
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
        if not wait_until(lambda: group.ended() is not None or self._answers(), timeout=PATIENCE) or group.ended():
            raise group.ended() or MeshError(f"{_SERVER} does not answer:\n{self.log()}")

    def open(self, name: str, *, width: int = 1200, height: int = 1000) -> Notebook:
        """Open a notebook of the folder ``notebooks`` instead of the one that is open.

        Args:
            name: its file name.
            width: the page's, in pixels.
            height: the page's, in pixels.
        """
        self.close()
        context = self._browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE * 1000)
        page = context.new_page()
        self.notebook = Notebook(page)
        # Logs the page in with a cookie: in an address the token would be part of what errors say.
        context.request.get(f"{self._address}/lab", headers={"Authorization": f"token {self._token}"})
        page.goto(f"{self._address}/lab/tree/notebooks/{name}?reset")
        self.notebook.wait_until_ready()
        return self.notebook

    def close(self) -> None:
        """Close the notebook that is open."""
        if self.notebook:
            self.notebook.page.context.close()
            self.notebook = None

    def write(self, name: str, *sources: str) -> None:
        """Write a notebook of code cells, to be opened by this name."""
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        kernel = {"name": "python3", "display_name": "Python 3"}  # without it JupyterLab asks for one
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, self.project / "notebooks" / name)

    def log(self) -> str:
        """The last lines that the server has logged, which keeps its token to itself."""
        return self._group.log(_SERVER, lines=30)

    def _command(self) -> list[str]:
        port = self._address.rpartition(":")[2]
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ip={LOOPBACK}"),
            *(f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={self.project}"),
        ]

    def _environment(self) -> dict[str, str]:
        """This process's, without a provider's key or an open mesh, and with folders of the server's own."""
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        own = {name: str(self._group.home / folder) for name, folder in folders.items()}
        # The token is not on the command line, which every user of the machine can read.
        return _without_provider(os.environ) | own | {"JUPYTER_TOKEN": self._token}

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._address}/api").is_success
        except httpx.TransportError:
            return False


@contextmanager
def jupyterlab() -> Iterator[Lab]:
    """Start JupyterLab and a headless Chromium, and end both."""
    chromium = find_chromium() or sys.exit(MISSING)
    group = ProcessGroup()
    try:
        with sync_playwright() as playwright:
            yield Lab(group, playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS))
    finally:
        group.stop()


def _without_provider(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name != MESH_VARIABLE and not name.startswith("OPENAI_")
    }


def _copy_project(target: Path) -> None:
    """Give the notebooks, without their outputs, a place in which they find the models and manifests."""
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
