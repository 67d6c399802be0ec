"""Fixtures of all tests: the embedded mesh with both walkthrough models, and a mesh with a scripted provider."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.support.scripted import Scripted, scripted_mesh

CPU = "local-chat-completions-cpu"
OPENAI = "openai-chat-completions"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--executed", help="folder of executed notebooks whose results are checked, such as build/notebooks"
    )


@pytest.fixture(scope="session", autouse=True)
def no_provider() -> Iterator[None]:
    """Remove keys, providers and open meshes from the environment, so that no test uses them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("OPENAI_") or name == MESH_VARIABLE]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let interrupts raise KeyboardInterrupt also in a shell's background, where processes ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def patient_httpx() -> Iterator[None]:
    """Let httpx wait for a minute, and not for five seconds, where a test sets no timeout: the machine may be busy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "read", "write", "pool"):
            patch.setattr(DEFAULT_TIMEOUT_CONFIG, name, 60.0)
        yield


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """An empty folder with a path that is short enough for a socket; on macOS the paths of pytest's are too long."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def mesh(no_provider: None) -> Iterator[EmbeddedMesh]:
    """The embedded mesh with the models of both walkthroughs, ready."""
    from llm_streaming import connect

    with connect("embedded") as mesh:
        assert isinstance(mesh, EmbeddedMesh)
        for model in (CPU, OPENAI):
            mesh.apply(f"manifests/{model}.yaml")
        mesh.wait()
        yield mesh


@pytest.fixture(scope="session")
def scripted(no_provider: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A mesh whose model relays to a scripted provider."""
    with scripted_mesh(tmp_path_factory.mktemp("scripted")) as scripted:
        yield scripted
