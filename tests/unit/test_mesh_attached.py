"""A mesh of another process, seen from here: what it says when the other side says nothing, or something new."""

import json
import re
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer
from types import SimpleNamespace
from typing import Any

import pytest

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.mesh.remote import client as call_client
from llm_streaming.mesh.remote import requests
from llm_streaming.mesh.remote.mesh import VARIABLE, AttachedMesh, named_in_environment
from llm_streaming.mesh.remote.service import Control


class Keeper:
    """The other side: `script` has the lines that the next call is answered with."""

    def __init__(self, path: Path) -> None:
        keeper = self
        self.script: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []

        class Call(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keeper.calls.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()
                for message in keeper.script:
                    self.wfile.write(json.dumps(message).encode() + b"\n")

            def log_message(self, *_: object) -> None:
                pass

        self.server = UnixStreamServer(str(path), Call)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def keeper() -> Iterator[tuple[Keeper, AttachedMesh]]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are too deep for a socket's path on macOS
        path = Path(folder) / "control.sock"
        keeper = Keeper(path)
        keeper.script = [{"returned": "127.0.0.1:1"}]
        yield keeper, AttachedMesh(str(path))
        keeper.server.shutdown()
        keeper.server.server_close()


def test_it_tells_what_is_told_and_returns_what_is_returned(keeper, capsys: pytest.CaptureFixture[str]) -> None:
    other, mesh = keeper
    other.script = [{"told": "one"}, {"told": "two"}, {"returned": None}]
    mesh.wait("m", timeout=5)
    assert other.calls[-1] == {"call": "wait", "holder": requests.holder(), "names": ["m"], "timeout": 5.0}
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize("script", [[], [{"told": "half"}]])
def test_an_end_without_an_answer_is_a_failure(keeper, script: list[dict[str, Any]]) -> None:
    other, mesh = keeper
    other.script = script
    with pytest.raises(MeshError) as caught:
        mesh.wait()
    assert str(caught.value) == "the mesh ended before it answered: what `llm-streaming up` printed says why"


@pytest.mark.parametrize(("name", "kind"), [("ManifestError", ManifestError), ("MeshError", MeshError)])
def test_exceptions_come_back_as_they_were(keeper, name: str, kind: type[Exception]) -> None:
    other, mesh = keeper
    other.script = [{"raised": name, "message": "so it is"}]
    with pytest.raises(kind, match=r"^so it is$") as caught:
        mesh.logs("m")
    assert type(caught.value) is kind


def test_where_nobody_keeps_a_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert named_in_environment() is None
    path = tmp_path / "control.sock"
    expected = (
        f"{VARIABLE} names {path}, where no mesh is open any more: run `llm-streaming up` again and the line that it "
        "prints, or unset the variable"
    )
    with pytest.raises(MeshError, match=f"^{re.escape(expected)}$"):
        AttachedMesh(str(path))


def test_a_keeper_that_is_stopped_is_not_waited_for(keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    other, _ = keeper
    other.server.shutdown()  # it listens still, and accepts nobody
    monkeypatch.setattr(call_client, "_ANSWER_TIMEOUT", 0.1)
    with pytest.raises(MeshError) as caught:
        AttachedMesh(other.server.server_address)
    assert str(caught.value) == (
        "the mesh does not answer within 0.1 s: if `llm-streaming up` was stopped by Ctrl-Z, `fg` in its shell lets it "
        "go on"
    )


def test_a_folder_whose_path_is_too_long_for_a_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir()
    with pytest.raises(MeshError) as caught:
        Control(SimpleNamespace(home=home))
    assert str(caught.value) == (
        f"other processes cannot be let into the mesh at {home}/control.sock (AF_UNIX path too long): name a folder on "
        "this machine with a short path in TMPDIR, such as /tmp"
    )


def test_a_mesh_whose_keeper_has_gone_is_closed(keeper) -> None:
    other, mesh = keeper
    assert not mesh.closed
    Path(other.server.server_address).unlink()
    assert mesh.closed
