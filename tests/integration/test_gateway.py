"""The gateway and the tunnel of a shared mesh: access control, and streams through both."""

import asyncio
import http.server
import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

import llm_streaming.connection
from llm_streaming import ChatClient, GrpcChatClient, connect
from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.errors import InferenceError, MeshError
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports
from llm_streaming.mesh.remote.service import MeshService
from llm_streaming.sharing.gateway import REFUSED, Gateway
from llm_streaming.sharing.guests import GuestService
from llm_streaming.sharing.invitation import Invitation
from llm_streaming.sharing.tunnel import SharedMesh, start_tunnel
from tests.support.doors import DOORS, door
from tests.support.provider import Reply, answer, chunk, sse, streamed
from tests.support.scripted import Scripted

QUESTION = [{"role": "user", "content": "Count."}]
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"


def open_gateway(scripted: Scripted, guests: GuestService) -> Gateway:
    port = int(scripted.mesh.address.rpartition(":")[2])
    metrics = int(scripted.mesh.metrics_address("api").rpartition(":")[2])
    return Gateway(port, {"api": metrics}, guests.path, host=LOOPBACK)


@pytest.fixture(scope="module")
def guests(scripted: Scripted) -> Iterator[GuestService]:
    """The server that answers the requests of guests."""
    with MeshService(scripted.mesh) as service, GuestService(scripted.mesh, service) as guests:
        yield guests


@pytest.fixture(scope="module")
def gateway(scripted: Scripted, guests: GuestService) -> Iterator[Gateway]:
    with open_gateway(scripted, guests) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def guest(gateway: Gateway) -> Iterator[SharedMesh]:
    with SharedMesh(str(gateway.invitation)) as guest:
        yield guest


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}])
@pytest.mark.parametrize("path", ["/v2/models/scripted/ready", "/llm-streaming", "/nowhere"])
def test_a_request_without_the_token_is_refused(gateway: Gateway, path: str, headers: dict[str, str]) -> None:
    answer = httpx.post(f"https://{gateway.invitation.address}{path}", headers=headers, verify=False)
    error = {"message": REFUSED, "type": "invalid_request_error", "code": None}
    assert (answer.status_code, answer.json()) == (401, {"error": error})


def test_a_request_without_the_token_is_refused_over_grpc_and_without_tls(gateway: Gateway) -> None:
    frame = b"\0" * 5
    with httpx.Client(verify=False) as client:
        answer = client.post(
            f"https://{gateway.invitation.address}{STREAM}", content=frame, headers={"content-type": "application/grpc"}
        )
    assert (answer.headers["grpc-status"], answer.headers["grpc-message"]) == (
        str(grpc.StatusCode.UNAUTHENTICATED.value[0]),
        REFUSED,
    )
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{gateway.invitation.address}/v2/models/scripted/ready")


def test_an_invitation_of_another_run_is_refused(gateway: Gateway) -> None:
    invitation = gateway.invitation
    (nowhere,) = free_ports(1)
    for wrong, words in (
        (replace(invitation, token="a" * 43), REFUSED),
        (
            replace(invitation, fingerprint="0" * 64),
            f"the mesh at {invitation.address} is not the one of this invitation, or has been restarted: run the line "
            "that `llm-streaming up --share` printed last",
        ),
        (
            replace(invitation, port=nowhere),
            f"the shared mesh at 127.0.0.1:{nowhere} cannot be reached: is `llm-streaming up --share` running there, "
            "and is this machine in the same network?",
        ),
    ):
        before = psutil.Process().children(recursive=True)
        with pytest.raises(MeshError) as caught:
            SharedMesh(str(wrong))
        assert (str(caught.value), psutil.Process().children(recursive=True)) == (words, before)


@pytest.mark.parametrize("kind", DOORS)
def test_every_client_gets_its_answers_unchanged(scripted: Scripted, guest: SharedMesh, kind: str) -> None:
    scripted.replies["Count."] = streamed("one", " two")
    answers = [list(door(kind, mesh).stream(scripted.model, QUESTION)) for mesh in (scripted.mesh, guest)]
    assert answers[0] == answers[1]
    assert "".join(one["delta"].get("content", "") for each in answers[1] for one in each["choices"]) == "one two"


@pytest.mark.parametrize("kind", DOORS)
def test_each_event_arrives_before_the_next_is_made(scripted: Scripted, guest: SharedMesh, kind: str) -> None:
    go_on = asyncio.Event()
    rest = [sse(one) for one in answer("two")[1:]]
    scripted.replies["Count."] = Reply([sse(chunk({"content": "one"})), go_on, *rest])
    texts = []
    for event in door(kind, guest).stream(scripted.model, QUESTION):
        texts += [text for one in event["choices"] if (text := one["delta"].get("content"))]
        if texts == ["one"]:
            scripted.call_soon(go_on.set)
    assert texts == ["one", "two"]


def test_a_model_that_is_not_there(guest: SharedMesh) -> None:
    for client in (ChatClient(guest.address), GrpcChatClient(guest.grpc_address)):
        with client, pytest.raises(InferenceError) as caught:
            client.complete("absent", QUESTION)
        assert (caught.value.status, str(caught.value)) == (
            404,
            "model 'absent' is not deployed here: apply its manifest and wait until it is ready",
        )


def test_metrics_can_be_read(guest: SharedMesh) -> None:
    found = httpx.get(f"http://{guest.metrics_address('api')}/metrics")
    assert (found.status_code, "gen_ai_server_active_requests" in found.text) == (200, True)
    with pytest.raises(MeshError) as absent:
        guest.metrics_address("absent")
    assert str(absent.value) == (
        "there is no server 'absent' on this mesh, only api: to add one, put its manifest into the folder of Server "
        "manifests and open the mesh again"
    )


def test_a_presenter_who_leaves(scripted: Scripted, guests: GuestService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text so far is kept, later calls raise a clear error, and a new invitation opens a new mesh."""
    monkeypatch.setattr(llm_streaming.connection, "open_meshes", [])
    scripted.replies["Count."] = Reply([sse(chunk({"content": "one"})), asyncio.Event()])
    gateway = open_gateway(scripted, guests)
    monkeypatch.setenv(MESH_VARIABLE, str(gateway.invitation))
    mesh = connect("embedded")
    with ChatClient(mesh.address) as client:
        events = client.stream(scripted.model, QUESTION)
        while not next(events).content:
            pass
        gateway.close()
        with pytest.raises(InferenceError) as broken:
            list(events)
        with pytest.raises(InferenceError) as lost:
            client.complete(scripted.model, QUESTION)
    words = (
        f"the shared mesh at {gateway.invitation.address} cannot be reached: is `llm-streaming up --share` running "
        "there, and is this machine in the same network?"
    )
    assert (broken.value.partial, lost.value.status, str(lost.value)) == ("one", 503, words)
    with pytest.raises(MeshError) as caught:
        mesh.resources("Model")
    assert (str(caught.value), mesh.closed) == (words, True)
    with open_gateway(scripted, guests) as again:
        monkeypatch.setenv(MESH_VARIABLE, str(again.invitation))
        with connect("embedded") as other:
            assert [model["metadata"]["name"] for model in other.resources("Model")] == ["scripted", "impatient"]


@pytest.fixture
def upstream() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server in place of the mesh, which answers with the path and the headers of the request."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(
                json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}).encode()
            )

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_guests_reach_only_models(upstream: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    """The gateway removes the token, because MLServer hands every header to the model."""
    with Gateway(upstream.server_port, {}, tmp_path / "none.sock", host=LOOPBACK) as gateway:
        address, tunnel = start_tunnel(gateway.invitation)
        origin = f"http://{address}"
        seen = httpx.get(f"{origin}/v2/models/m/ready", headers={"authorization": "Bearer mine"}).text
        named = {"seldon-model": "m"}
        statuses = {
            path: httpx.get(httpx.URL(origin).copy_with(raw_path=path.encode()), headers=named).status_code
            for path in (
                "/v2/repository/index",
                "/v2/models/../repository/index",
                "/v2/models/%2e%2e/repository/index",
                "/v2/models/x%2f..%2f..%2frepository/index",
                "/inference.GRPCInferenceService/RepositoryModelUnload",
                "/metrics",
            )
        }
        private = [path for path in envoy_configs() if path.name in ("gateway.json", "tunnel.json")]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in private}
        folder_modes = {stat.S_IMODE(path.parent.stat().st_mode) for path in private}
        tunnel.stop()
    assert (json.loads(seen)["path"], "authorization" in seen, gateway.invitation.token in seen) == (
        "/v2/models/m/ready",
        False,
        False,
    )
    assert list(statuses.values()) == [404, 404, 404, 400, 404, 404]
    assert (modes, folder_modes) == ({0o600}, {0o700})


def envoy_configs() -> list[Path]:
    """Return the configuration files of the Envoys that this process has started."""
    lines = [child.cmdline() for child in psutil.Process().children(recursive=True) if child.name() == "envoy"]
    return [Path(line[line.index("-c") + 1]) for line in lines]


def test_the_token_is_in_no_command_line(gateway: Gateway, guest: SharedMesh) -> None:
    lines = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert sum("envoy" in line for line in lines) >= 3
    assert not [line for line in lines if Invitation.read(str(gateway.invitation)).token in line]
    assert gateway.invitation.token not in str(guest)
