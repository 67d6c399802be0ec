"""Attacks on a shared mesh: by a machine in the room without a token, and by a guest against the others."""

import http.server
import json
import random
import re
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from llm_streaming import ChatClient
from llm_streaming.manifests import Model
from llm_streaming.mesh.processes.ports import LOOPBACK, wait_until
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.mesh.remote.service import MeshService
from llm_streaming.sharing.gateway import REFUSED, Gateway
from llm_streaming.sharing.guests import GuestService
from llm_streaming.sharing.invitation import Invitation
from llm_streaming.sharing.tunnel import SharedMesh
from tests.conftest import CPU
from tests.support.command_line import Up
from tests.support.provider import streamed
from tests.support.scripted import Scripted

PAYLOADS = 1_000


class Upstream(http.server.ThreadingHTTPServer):
    """In place of the mesh: it notes the requests that the gateway lets through, and answers 503.

    Attributes:
        paths: the paths of the requests.
        headers: the names of their headers.
    """

    def __init__(self) -> None:
        upstream = self
        self.paths: list[str] = []
        self.headers: set[str] = set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.paths.append(self.path)
                upstream.headers.update(name.lower() for name in self.headers)
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(503)
                self.end_headers()

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__((LOOPBACK, 0), Handler)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(upstream.server_port, {}, tmp_path_factory.mktemp("g") / "absent", host=LOOPBACK) as gateway:
        yield gateway


def connected(to: Invitation) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((to.host, to.port), timeout=120))


def answered(to: Invitation, sent: bytes) -> bytes:
    """Send bytes over TLS, and return everything that comes back until the gateway closes the connection."""
    with connected(to) as caller:
        caller.sendall(sent)
        caller.settimeout(120)
        return b"".join(iter(lambda: caller.recv(65_536), b""))


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {LOOPBACK}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def status(answer: bytes) -> int:
    return int(answer.split(None, 2)[1])


PATHS = [
    "/",
    "/v2",
    "/v2/docs",
    "/v2/health/live",
    "/v2/repository/index",
    "/v2/repository/models/m/unload",
    "/v2/models",
    "/V2/models/m/ready",
    "/metrics",
    "/llm-streaming/metrics",
    "/llm-streaming/metrics/api",
    "/llm-streaming/metrics/../../v2/repository/index",
    "/llm-streaming/",
    "//llm-streaming/../v2/repository/index",
    "/v2/models/../repository/index",
    "/v2/models/./../repository/index",
    "/v2/models/../../v2/repository/index",
    "/v2/models/m/../../repository/index",
    "/v2/models/..;/repository/index",
    "/v2/models/%2e%2e/repository/index",
    "/v2/models/%2E./repository/index",
    "/v2/models/.%2e/repository/index",
    "/v2/models/x%2f..%2f..%2frepository/index",
    "/v2/models/..%2frepository/index",
    "/v2/models/..%5crepository/index",
    "/v2/models/%5c..%5crepository/index",
    "/v2/models\\..\\repository/index",
    "/v2/%6dodels/../repository/index",
    "/v2/models/#/../repository/index",
    "/v2/models%2f../repository/index",
    "/v2/models%00/index",
    "/v2/repository/index?/v2/models/",
    "/v2/repository/index;/v2/models/",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/Model/../RepositoryIndex",
    "/inference.model_repository.ModelRepositoryService/RepositoryModelUnload",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header", [(), ("seldon-model: m",)], ids=["", "with seldon-model"])
def test_no_spelling_of_a_path_leaves_the_models(
    gateway: Gateway, upstream: Upstream, path: str, header: tuple[str, ...]
) -> None:
    upstream.paths.clear()
    token = f"authorization: Bearer {gateway.invitation.token}"
    answer = answered(gateway.invitation, request(path, token, *header))
    assert (status(answer), upstream.paths) in ((404, []), (400, []))


@pytest.mark.parametrize(
    "path", ["/v2/models//../repository/index", "/v2/models/%252e%252e/repository/index", "/v2/models/m/%72eady"]
)
def test_what_looks_like_a_trick_stays_the_name_of_a_model(gateway: Gateway, upstream: Upstream, path: str) -> None:
    upstream.paths.clear()
    answered(gateway.invitation, request(path, f"authorization: Bearer {gateway.invitation.token}"))
    assert [seen.startswith("/v2/models/") and "/../" not in seen for seen in upstream.paths] == [True]


TOKENS = [
    [],
    ["authorization:"],
    ["authorization: Bearer"],
    ["authorization: {token}"],
    ["authorization: bearer {token}"],
    ["authorization: BEARER {token}"],
    ["authorization: Bearer  {token}"],
    ["authorization: Bearer\t{token}"],
    ['authorization: Bearer "{token}"'],
    ["authorization: Bearer {token}x"],
    ["authorization: Bearer {short}"],
    ["authorization: Bearer {token},Bearer {token}"],
    ["authorization: Bearer x", "authorization: Bearer {token}"],
    ["authorization: Bearer {token}", "authorization: Bearer x"],
    ["authorization: Basic {token}"],
    ["proxy-authorization: Bearer {token}"],
    ["x-authorization: Bearer {token}"],
    ["cookie: authorization=Bearer {token}"],
    ["x-forwarded-for: 127.0.0.1", "x-envoy-internal: true"],
]


@pytest.mark.parametrize("headers", TOKENS)
def test_only_the_token_itself_is_accepted(gateway: Gateway, upstream: Upstream, headers: list[str]) -> None:
    upstream.paths.clear()
    token = gateway.invitation.token
    sent = [header.format(token=token, short=token[:-1]) for header in headers]
    answer = answered(gateway.invitation, request(f"/v2/models/m/ready?token={token}", *sent))
    assert (status(answer), REFUSED.encode() in answer, upstream.paths) == (401, True, [])


@pytest.mark.parametrize("method", ["CONNECT", "PRI"])
def test_a_method_that_opens_tunnels_is_refused(gateway: Gateway, upstream: Upstream, method: str) -> None:
    upstream.paths.clear()
    token = f"authorization: Bearer {gateway.invitation.token}"
    answer = answered(gateway.invitation, request(f"{LOOPBACK}:22", token, method=method))
    assert (answer == b"" or status(answer) >= 400, upstream.paths) == (True, [])


@pytest.mark.parametrize(
    "headers",
    [
        ["content-length: 4", "transfer-encoding: chunked"],
        ["content-length: 4", "content-length: 40"],
        ["transfer-encoding: chunked, identity"],
        ["transfer-encoding : chunked"],
        ["content-length: -1"],
        ["content-length: 1e1"],
    ],
)
def test_a_request_cannot_hide_another(gateway: Gateway, upstream: Upstream, headers: list[str]) -> None:
    upstream.paths.clear()
    token = f"authorization: Bearer {gateway.invitation.token}"
    first = request("/v2/models/m/ready", token, "content-type: application/json", *headers, method="POST")
    answer = answered(gateway.invitation, first + b"0\r\n\r\n" + request("/v2/repository/index", token))
    assert (status(answer) in (400, 501), "/v2/repository/index" in upstream.paths) == (True, False)


def test_a_guest_cannot_make_the_gateway_repeat_a_request(gateway: Gateway, upstream: Upstream) -> None:
    """Envoy obeys such headers of requests that it takes for internal ones. A repeated request costs the presenter."""
    upstream.paths.clear()
    upstream.headers.clear()
    orders = ["x-envoy-retry-on: 5xx", "x-envoy-max-retries: 100", "x-envoy-hedge-on-per-try-timeout: true"]
    token = f"authorization: Bearer {gateway.invitation.token}"
    assert status(answered(gateway.invitation, request("/v2/models/m/ready", token, *orders))) == 503
    assert upstream.paths == ["/v2/models/m/ready"]
    assert {"x-envoy-retry-on", "x-envoy-max-retries", "authorization"}.isdisjoint(upstream.headers)


def test_a_connection_on_which_nothing_happens_is_closed(gateway: Gateway) -> None:
    """The gateway waits 5 s for a handshake and 60 s for a request."""
    with socket.create_connection((gateway.invitation.host, gateway.invitation.port), timeout=120) as silent:
        assert silent.recv(1) == b""
    with connected(gateway.invitation) as caller:
        assert caller.recv(1) == b""


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    up = Up("--share", "--share-host", LOOPBACK)
    assert up.process.stderr.readline().startswith("The mesh is shared at ")
    yield up
    if up.process.poll() is None:
        up.end(signal.SIGTERM)


class Guest:
    """A guest who sends requests to the mesh by hand."""

    def __init__(self, invitation: str) -> None:
        self.to = Invitation.read(invitation)

    def asks(self, method: str, *arguments: object, **options: object) -> dict[str, Any]:
        """Call a method of the mesh, and return the last line of the answer."""
        headers = {"authorization": f"Bearer {self.to.token}"}
        body = {"method": method, "arguments": arguments, "options": options, "user": "a guest"}
        url = f"https://{self.to.address}/llm-streaming"
        answer = httpx.post(url, json=body, headers=headers, verify=False, timeout=120)
        last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
        return last


def manifest(**spec: Any) -> dict[str, Any]:
    spec = {"storageUri": f"models/{CPU}", "requirements": ["llm-local"], **spec}
    return Model(name="m", storage_uri="x").as_dict() | {"spec": spec}


@pytest.mark.parametrize(
    "uri",
    [
        "/etc",
        "..",
        "models/..",
        "models/../..",
        "models/../../etc",
        f"models/{CPU}/../../manifests",
        "gs://bucket/models/..",
        "gs://bucket/models/.",
        "file:///etc/models/..",
        "s3://user:password@host/../etc/passwd",
        "models/%2e%2e",
        "models\\..\\..",
        "models/\0",
        "~",
        "",
    ],
)
def test_a_guest_deploys_only_folders_of_models(up: Up, uri: str) -> None:
    answer = Guest(up.invitation).asks("apply", manifest(storageUri=uri))
    assert answer["raised"] in ("ManifestError", "MeshError")
    assert Guest(up.invitation).asks("resources", "Model") == {"returned": []}


@pytest.mark.parametrize(
    "parameter", ["base_url", "model_id", "model_settings", "config", "llm_parameters", "timeout", "backend"]
)
def test_a_guest_changes_no_settings(up: Up, parameter: str) -> None:
    changed = manifest(parameters=[{"name": parameter, "value": "x"}])
    assert Guest(up.invitation).asks("apply", changed) == {
        "raised": "MeshError",
        "message": f"model 'm': a shared mesh does not accept {parameter} in spec.parameters, only keep_alive",
    }


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("close", []),
        ("reset", []),
        ("mlserver", ["api"]),
        ("__init__", []),
        ("answer", []),
        ("shutdown", []),
        ("apply", []),
        ("apply", ["/etc/passwd"]),
        ("apply", [[]]),
        ("apply", [{"kind": "Server"}]),
        ("apply", [{"spec": {"deep": [[[[[[[[[[]]]]]]]]]]}}]),
        ("delete", [{}]),
        ("wait", ["absent"]),
        ("wait", [["m"]]),
        ("logs", ["../../etc/passwd"]),
        ("logs", [None]),
        ("metrics_address", ["../api"]),
        ("resources", [{}]),
    ],
)
def test_a_call_that_a_guest_may_not_make_is_one_sentence(up: Up, method: str, arguments: list[Any]) -> None:
    answer = Guest(up.invitation).asks(method, *arguments)
    assert answer.get("raised") in ("MeshError", "ManifestError")
    assert "\n" not in answer["message"]
    assert "Traceback" not in answer["message"]


@pytest.mark.parametrize("timeout", ["inf", "nan", 1e300, -1])
def test_a_timeout_that_is_none(up: Up, timeout: object) -> None:
    guest = Guest(up.invitation)
    assert guest.asks("apply", manifest()) == {"returned": None}
    answer = guest.asks("wait", "m", timeout=timeout)
    assert set(answer) in ({"returned"}, {"raised", "message"})
    assert guest.asks("wait", "m") == {"returned": None}
    assert guest.asks("delete", manifest()) == {"returned": None}


def nonsense(rng: random.Random, token: str) -> bytes:
    """Return bytes that are random, half a request, or a request with random parts."""
    noise = rng.randbytes(rng.randint(0, 300))
    headers = f"host: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n".encode()
    body = rng.choice([noise, b'{"method": "' + noise + b'"}', b"[" * 5_000, b"{}", b'{"method": "wait", "user": 5}'])
    length = rng.choice([len(body), len(body) + 10, -1, 10**9, "٣", "9" * 5_000])
    post = b"POST /llm-streaming HTTP/1.1\r\n" + headers + f"content-length: {length}\r\n\r\n".encode() + body
    return rng.choice([noise, post, post[: rng.randint(0, len(post))], headers + noise, post.replace(b"POST", noise)])


def send_and_leave(kind: str, address: Any, payload: bytes, rng: random.Random) -> None:
    """Send bytes to a unix socket, to a port or to TLS on a port; leave at once, after an answer, or with a reset."""
    try:
        if kind == "unix":
            caller = socket.socket(socket.AF_UNIX)
            caller.connect(address)
        else:
            caller = socket.create_connection((address.host, address.port)) if kind == "tcp" else connected(address)
        with caller:
            caller.settimeout(0.2)  # most answers come at once; for others it is nonsense to wait
            caller.sendall(payload)
            if rng.random() < 0.5:
                caller.recv(1_000)
            elif kind != "unix":
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass  # the server has refused to read more


def test_nonsense_prints_nothing_at_the_presenters_terminal() -> None:
    """Not even a traceback. Afterwards the mesh works."""
    up = Up("--share", "--share-host", LOOPBACK)
    shared = up.process.stderr.readline()
    to = Invitation.read(up.invitation)
    sockets = [str(up.home / name) for name in ("control.sock", "guests.sock")]
    rng = random.Random(12)
    for number in range(PAYLOADS):
        kind, address = [("tls", to), ("unix", sockets[0]), ("unix", sockets[1]), ("tcp", to)][number % 4]
        send_and_leave(kind, address, nonsense(rng, to.token), rng)
    works = Guest(up.invitation).asks("resources", "Model")
    threads_end = wait_until(lambda: psutil.Process(up.process.pid).num_threads() < 50, timeout=120)
    assert (shared[:22], works, threads_end) == ("The mesh is shared at ", {"returned": []}, True)
    assert up.end(signal.SIGTERM) == (0, "", "")


@pytest.fixture(scope="module")
def shared(scripted: Scripted) -> Iterator[Gateway]:
    port = int(scripted.mesh.address.rpartition(":")[2])
    with (
        MeshService(scripted.mesh) as service,
        GuestService(scripted.mesh, service) as guests,
        Gateway(port, {}, guests.path, host=LOOPBACK) as gateway,
    ):
        yield gateway


def call_of(shared: Gateway, model: str, content: str) -> bytes:
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": content}]})
    token = f"authorization: Bearer {shared.invitation.token}"
    path = f"/v2/models/{model}/infer_stream"
    headers = [token, "content-type: application/json", f"content-length: {len(body)}", f"seldon-model: {model}"]
    return request(path, *headers, method="POST") + body.encode()


def answers_to_another_guest(shared: Gateway, model: str) -> list[str]:
    """Return what ten calls of another guest, one after the other, get as their answers."""
    question = [{"role": "user", "content": "Hello."}]
    with SharedMesh(str(shared.invitation)) as mesh, ChatClient(mesh.address) as client:
        return ["".join(event.content for event in client.stream(model, question)) for _ in range(10)]


def envoy_memory() -> int:
    """Return the memory of all Envoys that this process has started, in bytes."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children if child.name() == "envoy")


def test_guests_who_never_read_cost_the_others_nothing(scripted: Scripted, shared: Gateway) -> None:
    scripted.replies["Much."] = streamed(*["x" * 50_000] * 100)  # 5 MB for each
    scripted.replies["Hello."] = streamed("Hi")
    before = envoy_memory()
    idle = [connected(shared.invitation) for _ in range(30)]
    for caller in idle:
        caller.sendall(call_of(shared, scripted.model, "Much."))
    said = answers_to_another_guest(shared, scripted.model)
    grown = envoy_memory() - before
    for caller in idle:
        caller.close()
    assert (said, grown < 200_000_000) == (["Hi"] * 10, True)


def test_a_guest_who_sends_much_costs_the_others_nothing(scripted: Scripted, shared: Gateway) -> None:
    """A guest sends as much as the mesh reads of a body that never ends; another guest is served meanwhile."""
    scripted.replies["Hello."] = streamed("Hi")
    token = f"authorization: Bearer {shared.invitation.token}"
    path = f"/v2/models/{scripted.model}/infer"
    head = request(path, token, "content-type: application/json", "content-length: 2000000000", method="POST")
    stop = threading.Event()

    def send() -> None:
        with connected(shared.invitation) as caller:
            caller.sendall(head)
            for _ in range(2_000):
                if stop.is_set():
                    return
                try:
                    caller.sendall(b" " * 100_000)
                except OSError:
                    return  # the mesh refused to read more

    sender = threading.Thread(target=send)
    sender.start()
    said = answers_to_another_guest(shared, scripted.model)
    stop.set()
    sender.join(timeout=120)
    assert (said, sender.is_alive()) == (["Hi"] * 10, False)


def test_a_guest_removes_no_model_of_the_presenter(scripted: Scripted, shared: Gateway) -> None:
    guest = Guest(str(shared.invitation))
    [model] = [one for one in scripted.mesh.resources("Model") if one["metadata"]["name"] == scripted.model]
    del model["status"]
    with RemoteMesh.at(Path(scripted.mesh.home) / "control.sock") as presenter:
        presenter.apply(model)
    changed = model | {"spec": {**model["spec"], "parameters": [{"name": "keep_alive", "value": "7"}]}}
    refusals = [guest.asks("delete", model), guest.asks("apply", changed)]
    assert [re.sub(r".*(was deployed by 1 participant).*", r"\1", one["message"]) for one in refusals] == [
        "was deployed by 1 participant"
    ] * 2
