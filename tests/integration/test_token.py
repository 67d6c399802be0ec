"""A mesh with a token: who has to have it, and who sends it without being told."""

import http.server
import json
import signal
import socketserver
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from llm_streaming import AsyncChatClient, AsyncGrpcChatClient, ChatClient, GrpcChatClient
from llm_streaming.cli import main
from llm_streaming.client import tokens
from llm_streaming.client.base import AsyncClient
from llm_streaming.connection import MESH_VARIABLE, open_mesh
from llm_streaming.errors import InferenceError
from llm_streaming.execute import execute
from llm_streaming.manifests import Server
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.routes import Routes
from llm_streaming.mesh.processes.access import UNAUTHORIZED
from llm_streaming.mesh.processes.envoy import start_envoy
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.mesh.remote.service import MeshService
from llm_streaming.notebook.metrics import read_metrics
from llm_streaming.paths import project_root
from llm_streaming.sharing.gateway import Gateway
from llm_streaming.sharing.guests import GuestService
from llm_streaming.sharing.tunnel import SharedMesh
from tests.support.command_line import Up
from tests.support.doors import DOORS, door
from tests.support.provider import streamed
from tests.support.scripted import Scripted, scripted_mesh

QUESTION = [{"role": "user", "content": "Count."}]
MODEL = Scripted.model


@pytest.fixture(scope="module")
def guarded(no_provider: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A mesh whose requests need a token."""
    with scripted_mesh(tmp_path_factory.mktemp("guarded"), token=True) as guarded:
        guarded.replies["Count."] = streamed("one")
        yield guarded


def token_of(guarded: Scripted) -> str:
    assert guarded.mesh.token is not None
    return guarded.mesh.token


@pytest.mark.parametrize("kind", DOORS)
def test_each_client_sends_the_token_of_its_mesh(guarded: Scripted, kind: str) -> None:
    chunks = list(door(kind, guarded.mesh).stream(MODEL, QUESTION))
    assert "".join(one["delta"].get("content", "") for each in chunks for one in each["choices"]) == "one"


@pytest.mark.parametrize("kind", [AsyncChatClient, AsyncGrpcChatClient])
async def test_each_asynchronous_client_sends_the_token_of_its_mesh(guarded: Scripted, kind: type) -> None:
    client: AsyncClient = kind(guarded.mesh.address)
    async with client:
        assert "".join([event.content async for event in client.stream(MODEL, QUESTION)]) == "one"


def test_requests_without_the_right_token_are_refused(guarded: Scripted) -> None:
    address = guarded.mesh.address
    found = []
    for kind in (ChatClient, GrpcChatClient):
        for token in ("wrong", token_of(guarded)[:-1], token_of(guarded) + "x"):
            with kind(address, token=token) as client, pytest.raises(InferenceError) as caught:
                client.complete(MODEL, QUESTION)
            found.append((caught.value.status, str(caught.value)))
    assert found == [(401, UNAUTHORIZED)] * 6
    base_url = f"http://{address}/v2/models/{MODEL}/infer"
    with (
        openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="requires a token"),
    ):
        client.chat.completions.create(model=MODEL, messages=[])
    assert httpx.get(f"http://{address}/v2/models/{MODEL}/ready").status_code == 401
    assert httpx.get(f"http://{address}/v2/models/{MODEL}/ready", headers=guarded.mesh.headers).status_code == 200


def test_the_model_does_not_see_the_token(short_folder: Path) -> None:
    """MLServer hands a request's headers to the model. A server that answers with them is in MLServer's place."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps([name.lower() for name in self.headers]).encode())

        def log_message(self, *_: object) -> None:
            pass

    metrics_port, port = free_ports(2)
    mlserver = MLServer(Server(name="api", capabilities=()), short_folder / "0", metrics_port, short_folder)
    routes = Routes(short_folder / "envoy" / "routes.json")
    routes.add("m", mlserver)
    with socketserver.ThreadingUnixStreamServer(str(mlserver.socket("http")), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        envoy = start_envoy("mesh", routes.bootstrap(port, [mlserver], "secret"), (LOOPBACK, port))
        headers = {"authorization": "Bearer secret", "x-other": "1"}
        answer = httpx.get(f"http://{LOOPBACK}:{port}/v2/models/m/ready", headers=headers)
        envoy.stop()
        server.shutdown()
    assert (answer.status_code, "authorization" in answer.json(), "x-other" in answer.json()) == (200, False, True)


async def test_metrics_need_no_token(guarded: Scripted) -> None:
    assert (await read_metrics(guarded.mesh.metrics_address("api"))).by("gen_ai_server_active_requests", "x") == {}


def test_the_token_goes_only_to_its_mesh() -> None:
    tokens.remember("127.0.0.1:4000", "secret")
    assert tokens.authorization("127.0.0.1:4000", None) == {"authorization": "Bearer secret"}
    assert tokens.authorization("127.0.0.1:4000", "other") == {"authorization": "Bearer other"}
    for address in ("127.0.0.1:40000", "127.0.0.1", "127.0.0.1:4001", "evil.example:4000"):
        assert tokens.authorization(address, None) == {}


def test_guests_of_a_shared_mesh_need_only_the_invitation(guarded: Scripted) -> None:
    guarded.replies["Count."] = streamed("one")
    mesh = guarded.mesh
    metrics = int(mesh.metrics_address("api").rpartition(":")[2])
    with (
        MeshService(mesh) as service,
        GuestService(mesh, service) as guests,
        Gateway(
            int(mesh.address.rpartition(":")[2]),
            {"api": metrics},
            guests.path,
            host=LOOPBACK,
            mesh_token=mesh.token,
        ) as gateway,
        SharedMesh(str(gateway.invitation)) as guest,
    ):
        assert guest.token is None
        for kind in DOORS:
            assert list(door(kind, guest).stream(MODEL, QUESTION))
        assert httpx.get(f"http://{guest.metrics_address('api')}/metrics").status_code == 200


def test_other_processes_read_the_token(guarded: Scripted, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    with MeshService(guarded.mesh) as service:
        monkeypatch.setenv(MESH_VARIABLE, str(service.path))
        monkeypatch.setattr(tokens, "_TOKENS", {})
        with open_mesh("embedded") as mesh:
            assert isinstance(mesh, RemoteMesh)
            assert mesh.token == guarded.mesh.token
        assert main(["chat", MODEL, "Count."]) == 0
    assert "one" in capsys.readouterr().out


def test_the_token_is_only_in_files_of_this_account(guarded: Scripted) -> None:
    home = guarded.mesh.home
    token = token_of(guarded)
    holders = {path for path in home.rglob("*") if path.is_file() and token in path.read_text(errors="replace")}
    assert holders == {home / "authorization", home / "envoy" / "envoy.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    lines = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert token not in str(lines)
    assert token not in f"{guarded.mesh} {vars(guarded.mesh)}"


@pytest.fixture(scope="module")
def up(no_provider: None) -> Iterator[Up]:
    up = Up("--token")
    yield up
    up.end(signal.SIGTERM)


def test_up_tells_how_curl_sends_the_token(up: Up) -> None:
    header = up.home / "authorization"
    line = up.process.stderr.readline()
    assert line == f"The mesh requires a token, which these programs send. For curl, add: -H @{header}\n"
    url = f"http://{up.address}/v2/models/absent/ready"
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url]
    statuses = [
        subprocess.run([*curl, *more], capture_output=True, text=True, timeout=60).stdout
        for more in ([], ["-H", f"@{header}"])
    ]
    assert statuses == ["401", "404"]


@pytest.mark.parametrize("name", ["01-openai-streaming", "03-grpc-streaming", "04-openai-client"])
def test_notebooks_send_the_token_and_do_not_show_it(
    up: Up, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MESH_VARIABLE, up.control)
    execute(project_root() / "notebooks" / f"{name}.ipynb", tmp_path / "executed.ipynb", {})
    token = (up.home / "authorization").read_text().split()[-1]
    assert token not in (tmp_path / "executed.ipynb").read_text()
