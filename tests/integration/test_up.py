"""`llm-streaming up`: its messages, and the end of the mesh and all its processes."""

import signal
import stat
from collections.abc import Iterator

import psutil
import pytest

from llm_streaming.cli import main
from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.mesh.processes.ports import wait_until
from tests.support.command_line import Up
from tests.support.processes import all_processes_of_a_mesh, process_of, processes_in

NOTICE = (
    "Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: using a small local model, SmolLM2-135M-Instruct, instead of "
    "OpenAI."
)


@pytest.fixture(scope="module")
def up(no_provider: None) -> Iterator[Up]:
    up = Up()
    yield up
    up.end(signal.SIGTERM)


def test_one_line_on_standard_output_and_the_others_on_standard_error(up: Up) -> None:
    assert up.progress == [
        NOTICE,
        f"The embedded mesh is open at {up.address} until Ctrl-C. In other shells, also for JupyterLab, run:",
    ]
    assert stat.S_IMODE(up.home.stat().st_mode) == 0o700


@pytest.mark.parametrize(("number", "status"), [("SIGINT", 0), ("SIGTERM", 0), ("SIGKILL", -9)])
def test_nothing_is_left_when_it_ends(number: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    up = Up()
    running = all_processes_of_a_mesh(up.home)
    assert up.end(signal.Signals[number]) == (status, "", "")
    assert psutil.wait_procs(running, timeout=60)[1] == []
    assert wait_until(lambda: not up.home.exists(), timeout=60)
    monkeypatch.setenv(MESH_VARIABLE, up.control)
    assert main(["get"]) == 1
    assert capsys.readouterr().err == (
        f"error: {MESH_VARIABLE} points to {up.control}, where no mesh is open any more: run `llm-streaming up` again "
        "and the line that it prints, or unset the variable\n"
    )


def test_it_ends_when_servers_exit_again_and_again() -> None:
    up = Up()
    killed = None
    for _ in range(3):
        killed = process_of(up.home, "envoy", other_than=killed)
        killed.kill()
    out, err = up.process.communicate(timeout=60)
    assert (up.process.returncode, out) == (1, "")
    assert err.startswith(
        "error: the mesh was closed, because its servers exited 3 times within 60 s: connect again; envoy exited with "
        "status -9; its last log lines:\n"
    )
    assert processes_in(up.home) == []
