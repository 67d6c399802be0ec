"""JupyterLab in a browser. A failing test leaves a screenshot, the browser's console and the server's log."""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from llm_streaming.paths import project_root
from tools.lab import Lab, jupyterlab

PICTURES = project_root() / "build" / "browser"


@pytest.fixture(scope="session")
def pictures() -> Path:
    """The folder for screenshots, emptied at the start."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    return PICTURES


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with jupyterlab() as lab:
        yield lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and lab:
        report.sections.append(("JupyterLab's log", lab.log()))
        if lab.notebook:
            report.sections.append(("the browser's console", "\n".join(lab.notebook.console[-30:])))
            lab.notebook.page.screenshot(path=PICTURES / f"failed.{item.name}.png")
    return report
