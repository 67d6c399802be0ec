"""The mesh of another process, which a scripted server stands in for."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from typing import Any
from unittest.mock import create_autospec

import pytest

from llm_streaming.connection import MESH_VARIABLE, mesh_of_environment
from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.remote import mesh as remote_mesh
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.mesh.remote.requests import Request, user_id
from llm_streaming.mesh.remote.service import MeshService


class Keeper:
    """The process that keeps the mesh open.

    Attributes:
        script: the messages with which it answers each request.
        requests: the requests that it received.
    """

    def __init__(self, path: Path) -> None:
        keeper = self
        self.script: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keeper.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()
                for message in keeper.script:
                    self.wfile.write(json.dumps(message).encode() + b"\n")

            def log_message(self, *_: object) -> None:
                pass

        self.server = UnixStreamServer(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def keeper(short_folder: Path) -> Iterator[tuple[Keeper, RemoteMesh]]:
    path = short_folder / "control.sock"
    keeper = Keeper(path)
    keeper.script = [{"returned": "127.0.0.1:1"}]
    yield keeper, RemoteMesh.at(str(path))
    keeper.server.shutdown()
    keeper.server.server_close()


def test_progress_is_repeated_and_the_result_is_returned(keeper, capsys: pytest.CaptureFixture[str]) -> None:
    other, mesh = keeper
    other.script = [{"progress": "one"}, {"progress": "two"}, {"returned": None}]
    mesh.wait("m", timeout=5)
    assert other.requests[-1] == {
        "method": "wait",
        "arguments": ["m"],
        "options": {"timeout": 5},
        "user": user_id(),
    }
    assert capsys.readouterr().out == "one\ntwo\n"


def test_a_large_manifest_is_not_sent(keeper) -> None:
    other, mesh = keeper
    with pytest.raises(MeshError) as caught:
        mesh.apply({"kind": "Model", "metadata": {"name": "x" * 100_000}})
    assert str(caught.value) == "the mesh accepts requests of at most 100,000 bytes: make the manifest smaller"
    assert [request["method"] for request in other.requests] == ["address"]


@pytest.mark.parametrize("script", [[], [{"progress": "half"}]])
def test_an_answer_that_breaks_off_is_an_error(keeper, script: list[dict[str, Any]]) -> None:
    other, mesh = keeper
    other.script = script
    with pytest.raises(MeshError) as caught:
        mesh.wait()
    assert str(caught.value) == "the mesh was closed before it answered: `llm-streaming up` printed the reason"


@pytest.mark.parametrize(("name", "kind"), [("ManifestError", ManifestError), ("MeshError", MeshError)])
def test_errors_come_back_with_their_class_and_message(keeper, name: str, kind: type[Exception]) -> None:
    other, mesh = keeper
    other.script = [{"raised": name, "message": "the reason"}]
    with pytest.raises(kind, match=r"^the reason$") as caught:
        mesh.logs("m")
    assert type(caught.value) is kind


def test_without_a_mesh_at_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MESH_VARIABLE, "")
    assert mesh_of_environment() is None
    path = tmp_path / "control.sock"
    expected = (
        f"{MESH_VARIABLE} points to {path}, where no mesh is open any more: run `llm-streaming up` again and the line "
        "that it prints, or unset the variable"
    )
    with pytest.raises(MeshError, match=f"^{re.escape(expected)}$"):
        RemoteMesh.at(str(path))


def test_a_stopped_process_is_not_waited_for(keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    other, _ = keeper
    other.server.shutdown()  # the socket still listens, but accepts no connection
    monkeypatch.setattr(remote_mesh, "_CONNECT_TIMEOUT", 0.1)
    with pytest.raises(MeshError) as caught:
        RemoteMesh.at(other.server.server_address)
    assert str(caught.value) == (
        "the mesh does not answer within 0.1 s: if `llm-streaming up` was stopped by Ctrl-Z, run `fg` in its shell"
    )


def test_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir()
    with pytest.raises(MeshError) as caught:
        MeshService(create_autospec(EmbeddedMesh, instance=True, home=home))
    assert str(caught.value) == (
        f"the mesh cannot listen for other processes at {home}/control.sock (AF_UNIX path too long): set TMPDIR to a "
        "folder with a short path on this machine, such as /tmp"
    )


def test_a_mesh_without_its_socket_is_closed(keeper) -> None:
    other, mesh = keeper
    assert not mesh.closed
    Path(other.server.server_address).unlink()
    assert mesh.closed


class Open(EmbeddedMesh):
    """An embedded mesh without processes."""

    home = Path()

    def __init__(self, home: Path) -> None:
        self.home = home

    def check(self) -> None:
        """Everything is well."""


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Request(method="__init__"), "there is no method __init__"),
        (Request(method="wait", options={"timeout": "soon"}), "Input should be a valid number, unable to parse"),
        (Request(method="apply", arguments=("/etc/passwd",)), "Input should be a valid dictionary"),
        (Request(method="logs"), "Missing required argument"),
    ],
)
def test_a_call_that_no_method_takes_is_refused(short_folder: Path, asked: Request, reason: str) -> None:
    with MeshService(Open(short_folder)) as service, pytest.raises(MeshError) as caught:
        service.answer(asked)
    words = str(caught.value)
    assert words.startswith(f"the mesh does not understand the request ({reason}")
    assert words.endswith("): use the version of llm-streaming that opened the mesh")
