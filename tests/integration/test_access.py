"""What a mesh rejects: requests of web pages, to other names, with other content types, or to MLServer's repository."""

import http.client
import json
import subprocess
from collections.abc import Mapping

import grpc
import httpx
import openai
import pytest

from tests.support.provider import Reply, accumulated
from tests.support.scripted import Scripted

MODEL = "/v2/models/scripted"
CHAT = f"{MODEL}/infer/chat/completions"
QUESTION = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": "Count."}]})
NAMED = {"seldon-model": "scripted"}

HOST = (
    403,
    "this mesh answers only to 127.0.0.1, localhost and [::1], and the request's Host is another name: call the mesh "
    "at its address",
)
ORIGIN = (403, "this mesh does not serve web pages, and the request has an Origin: call it from a program")
SITE = (403, "this mesh does not serve web pages, and a browser sent the request: call it from a program")
TYPE = (415, "a request needs the content type application/json, or application/grpc over gRPC")
REPOSITORY = (404, "a mesh does not load and unload models by MLServer's API: use `apply` and `delete`")
PAGES = (404, "a mesh does not serve MLServer's documentation pages: docs/contract.md describes the API")
NO_ROUTE = (404, "")
UNCLEAR_PATH = (400, "")  # Envoy rejects escaped slashes and fragments


@pytest.fixture(scope="module")
def port(scripted: Scripted) -> int:
    scripted.replies["Count."] = Reply([accumulated("one")], headers={"content-type": "application/json"})
    return int(scripted.mesh.address.rpartition(":")[2])


def send(port: int, method: str, path: str, headers: Mapping[str, str | list[str] | None]) -> tuple[int, str]:
    """Send a request without a library's corrections; return its status and the message of its error or its body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    body = QUESTION.encode() if method in ("POST", "PUT") else b""
    typed = {"Content-Type": "application/json"} if body else {}
    for name, values in {"Host": f"127.0.0.1:{port}", **typed, **headers}.items():
        for value in [values] if isinstance(values, str) else values or []:
            connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    try:
        return response.status, str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.status, text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1"},
        {"Host": "localhost"},
        {"Host": "LOCALHOST:1"},
        {"Host": "[::1]:80"},
        {"Host": "127.0.0.1:99999"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
def test_requests_of_programs_are_answered(port: int, headers: dict[str, str]) -> None:
    status, text = send(port, "POST", CHAT, headers)
    assert (status, "one" in text) == (200, True)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.",
        "127.0.0.1@evil.example",
        "user@127.0.0.1",
        "",
        "0.0.0.0",
        "127.1",
        ["127.0.0.1", "evil.example"],
    ],
    ids=str,
)
def test_another_host_is_rejected(port: int, host: str | list[str]) -> None:
    """A web page's own name may lead to 127.0.0.1 (DNS rebinding); its Host gives it away."""
    name = host.format(port=port) if isinstance(host, str) else host
    assert send(port, "POST", CHAT, {"Host": name}) == HOST
    assert send(port, "GET", f"{MODEL}/ready", {"Host": name}) == HOST


def test_the_name_in_an_absolute_path_counts_as_host(port: int) -> None:
    assert send(port, "POST", f"http://evil.example{CHAT}", {}) == HOST
    assert send(port, "POST", f"http://127.0.0.1{CHAT}", {"Host": "evil.example"})[0] == 200  # browsers send no such


def test_a_request_without_host_is_malformed(port: int) -> None:
    assert send(port, "POST", CHAT, {"Host": None})[0] == 400


@pytest.mark.parametrize("origin", ["null", "http://localhost:8888", "http://127.0.0.1:{port}", ""])
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
def test_an_origin_is_rejected(port: int, method: str, origin: str) -> None:
    headers = {"Origin": origin.format(port=port), "Access-Control-Request-Method": "POST"}
    assert send(port, method, CHAT, headers) == ORIGIN


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", f"{MODEL}/ready")])
def test_a_request_from_another_site_is_rejected(port: int, method: str, path: str, site: str) -> None:
    assert send(port, method, path, {"Sec-Fetch-Site": site}) == SITE


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        None,
        "",
        "application/jsonp",
        ["application/json", "text/plain"],
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_other_content_types_are_rejected(port: int, method: str, content_type: str | list[str] | None) -> None:
    """A web page may send these types to any server without asking the server first (CORS)."""
    assert send(port, method, CHAT, {"Content-Type": content_type}) == TYPE


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/repository/models/scripted/unload", REPOSITORY),
        ("/v2/repository/index", REPOSITORY),
        ("/v2/repository/index?x=/v2/models/scripted", REPOSITORY),
        ("//v2/repository/index", REPOSITORY),
        ("/v2//repository/index", REPOSITORY),
        ("/v2/./repository/index", REPOSITORY),
        ("/v2/models/../repository/index", REPOSITORY),
        ("/v2/models/%2e%2e/repository/index", REPOSITORY),
        ("/v2/%72epository/index", REPOSITORY),
        ("/v2/REPOSITORY/index", REPOSITORY),
        ("/v2/repository%2findex", UNCLEAR_PATH),
        ("/v2%2frepository/index", UNCLEAR_PATH),
        ("/v2/models/scripted/..%5c..%5crepository/index", UNCLEAR_PATH),
        ("/v2/repository/index#x", UNCLEAR_PATH),
        ("/v2/models/..;/repository/index", REPOSITORY),
        ("/v2/models/%252e%252e/repository/index", (404, '{"detail":"Not Found"}')),  # MLServer has no such path
        ("/v2/%25%37%32epository/index", NO_ROUTE),
        ("/v2\\repository\\index", REPOSITORY),
        ("/v2", NO_ROUTE),
        ("/v2/docs", NO_ROUTE),
        ("/v2/models/scripted/docs", PAGES),
        ("/v2/models/scripted/docs/dataplane.json", PAGES),
        ("/v2/models/scripted/versions/1/docs", PAGES),
        ("/v2/models/scripted/%64ocs", PAGES),
        ("/v2/health/live", NO_ROUTE),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_only_models_can_be_reached(port: int, method: str, path: str, expected: tuple[int, str]) -> None:
    assert send(port, method, path, NAMED) == expected


def test_metrics_are_served_alone_and_under_the_same_rules(scripted: Scripted) -> None:
    port = int(scripted.mesh.metrics_address("api").rpartition(":")[2])
    answers = [
        send(port, "GET", "/metrics", {})[0],
        send(port, "GET", "/metrics", {"Host": "evil.example"}),
        send(port, "GET", "/metrics", {"Origin": "http://evil.example"}),
        send(port, "GET", f"{MODEL}/ready", {}),
        send(port, "POST", "/v2/repository/index", {}),
    ]
    assert answers == [200, HOST, ORIGIN, NO_ROUTE, REPOSITORY]


def call(port: int, method: str, *metadata: tuple[str, str], authority: str = "127.0.0.1") -> tuple[str, str]:
    """Make a gRPC call; return its status and details."""
    options = [("grpc.default_authority", authority)]
    message = b"\x0a\x08scripted"  # the field `name`
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call = channel.unary_unary(f"/inference.{method}")
        try:
            call(message, metadata=[*NAMED.items(), *metadata], timeout=60)
        except grpc.RpcError as error:
            return error.code().name, error.details()
    return "OK", ""


def test_grpc_calls_are_checked_too(port: int) -> None:
    service = "GRPCInferenceService"
    assert call(port, f"{service}/ModelReady") == ("OK", "")
    assert call(port, f"{service}/ModelReady", authority=f"localhost:{port}") == ("OK", "")
    assert call(port, f"{service}/ModelReady", authority="evil.example") == ("PERMISSION_DENIED", HOST[1])
    assert call(port, f"{service}/ModelReady", ("origin", "http://x")) == ("PERMISSION_DENIED", ORIGIN[1])
    for method in ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"):
        assert call(port, f"{service}/{method}") == ("UNIMPLEMENTED", REPOSITORY[1])
    repository = "model_repository.ModelRepositoryService/RepositoryModelUnload"
    assert call(port, repository) == ("UNIMPLEMENTED", REPOSITORY[1])
    assert call(port, f"{service}/ServerReady")[0] == "UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--http2-prior-knowledge", "-d", QUESTION], 200),
        (["--http2-prior-knowledge", "-H", "Host: evil.example"], 403),
        (["--http2-prior-knowledge", "-H", "content-type: text/plain"], 415),
        (["--http2", "-H", "Host: evil.example"], 403),
    ],
)
def test_http2_is_checked_too(port: int, options: list[str], expected: int) -> None:
    """Refused requests have no body: curl shows no answer that arrives before it has sent a body."""
    url = f"http://127.0.0.1:{port}{CHAT}"
    typed = [] if any("content-type" in option for option in options) else ["-H", "content-type: application/json"]
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST", *options, *typed, url]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert int(found) == expected


def test_openais_client_shows_why(scripted: Scripted) -> None:
    base_url = f"http://{scripted.mesh.address}{MODEL}/infer"
    with openai.OpenAI(
        base_url=base_url, api_key="none", max_retries=0, default_headers={"Origin": "http://x"}
    ) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model="scripted", messages=[])
        assert ORIGIN[1] in str(caught.value)


def test_large_refused_requests_get_their_answer(port: int) -> None:
    with httpx.Client() as client:
        url, body = f"http://127.0.0.1:{port}{CHAT}", b"x" * 5_000_000
        answers = [client.post(url, content=body, headers={"origin": "http://x"}) for _ in range(10)]
    assert [(one.status_code, one.json()["error"]["message"]) for one in answers] == [ORIGIN] * 10
