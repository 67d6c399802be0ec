"""The processes of the embedded mesh: their ports, failures at the start, and the end of all of them."""

import os
import re
import signal
import socket
import tempfile
import textwrap
from pathlib import Path

import httpx
import psutil
import pytest

from llm_streaming import connect
from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server, to_yaml
from llm_streaming.mesh.embedded import servers
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import free_ports, wait_until
from tests.support.processes import all_processes_of_a_mesh, process_of, processes_in, python


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A folder with the manifest of one Server, which is capable of llm-local."""
    (tmp_path / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    return tmp_path


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MeshError) as refused:
            EmbeddedMesh(port=port)
    assert str(refused.value) == (
        f"port {port} on 127.0.0.1 cannot be used (Address already in use): choose another port, or stop the program "
        "that listens there"
    )


def test_ports_that_are_taken_meanwhile_are_chosen_anew(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        taken = somebody_else.getsockname()[1]
        choices = [[taken]]
        monkeypatch.setattr(servers, "free_ports", lambda count: choices.pop() if choices else free_ports(count))
        with EmbeddedMesh(servers=local, port=free_ports(1)[0]) as mesh:
            assert httpx.get(f"http://{mesh.address}/").status_code == 404
            assert mesh.mlserver("local").metrics_port != taken


def test_a_folder_with_a_long_path_is_refused(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(MeshError) as caught:
        EmbeddedMesh(servers=local)
    assert re.sub(r"/llm-streaming-\w+", "", str(caught.value)) == (
        f"the mesh cannot create its sockets in {folder}, because this path is too long: set TMPDIR to a folder with a "
        "short path on this machine, such as /tmp"
    )
    assert list(folder.iterdir()) == []


def test_a_server_that_does_not_start_ends_the_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Server(name="broken", capabilities=(), env={"MLSERVER_PARALLEL_WORKERS": "many"})
    (tmp_path / "broken.yaml").write_text(to_yaml(broken.as_dict()))
    # A folder without the meshes of other tests, whose path is short enough for sockets.
    with tempfile.TemporaryDirectory() as empty:
        monkeypatch.setattr(tempfile, "tempdir", empty)
        with pytest.raises(
            MeshError, match=r"(?s)^broken exited with status 1; its last log lines:\n.*parallel_workers"
        ):
            EmbeddedMesh(servers=tmp_path)
        assert list(Path(empty).iterdir()) == []


def test_an_interrupt_before_the_servers_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(count: int) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(servers, "free_ports", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedMesh(port=free_ports(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_connecting_again_after_a_loss_opens_a_new_mesh(local: Path) -> None:
    first = connect("embedded", servers=local)
    assert isinstance(first, EmbeddedMesh)
    process_of(first.home, "supervisor").kill()
    assert wait_until(lambda: first.closed, timeout=60)
    with connect("embedded", servers=local) as second:
        assert (second is first, first.closed, second.closed) == (False, True, False)


def test_a_fork_does_not_hold_the_mesh_open(local: Path) -> None:
    """A forked process has copies of the caller's pipes and sockets."""
    script = (
        "import os, signal, sys\nfrom llm_streaming import connect\n"
        f"mesh = connect(servers={str(local)!r})\n"
        "child = os.fork()\n"
        "if not child:\n    signal.pause()\n"
        "print(mesh.home, child, flush=True)\nsys.stdin.read()\n"
    )
    with python(script) as caller:
        home, child = next(line for line in caller.stdout if line.startswith("/")).split()
        running = processes_in(Path(home))
        caller.kill()
    survivors = psutil.wait_procs(running, timeout=60)[1]
    os.kill(int(child), signal.SIGKILL)
    assert survivors == []


OPENERS = {
    "main thread": "mesh = connect('embedded')",
    "worker thread": """
        found = []
        worker = threading.Thread(target=lambda: found.append(connect('embedded')))
        worker.start()
        worker.join()
        mesh = found[0]
    """,
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("end", ["SIGKILL", "exit", "SIGKILL of the supervisor too"])
def test_everything_ends_with_the_process_that_opened_the_mesh(opener: str, end: str) -> None:
    script = "import sys, threading\nfrom llm_streaming import connect\n" + textwrap.dedent(OPENERS[opener])
    script += "\nprint(mesh.home, mesh.address, flush=True)\nsys.stdin.read()\n"
    with python(script) as caller:
        home, address = next(line for line in caller.stdout if "llm-streaming-" in line).split()
        running = all_processes_of_a_mesh(Path(home))
        assert {process.name() for process in running} >= {"envoy"}
        if "supervisor" in end:
            process_of(Path(home), "supervisor").kill()
        caller.stdin.close() if end == "exit" else caller.kill()
    _, survivors = psutil.wait_procs(running, timeout=60)
    assert survivors == []
    assert wait_until(lambda: not Path(home).exists(), timeout=60)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.split(":")[1])))


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
