"""The limits of a shared mesh's gateway: callers who say nothing, send too much or read nothing cost others nothing."""

import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from llm_streaming.mesh.processes.ports import LOOPBACK, wait_until
from llm_streaming.mesh.remote.requests import Request, RequestServer
from llm_streaming.sharing.gateway import Gateway
from tests.support.processes import python

FILES = 512  # the limit of open files in the test; the usual one would need thousands of connections

GATEWAY_WITH_FEW_FILES = f"""
import resource, sys
from pathlib import Path
from llm_streaming.sharing.gateway import Gateway
resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))
with Gateway(1, {{}}, Path("absent.sock"), host="127.0.0.1") as gateway:
    print(gateway.invitation.address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def few_files() -> Iterator[tuple[str, int]]:
    process = python(GATEWAY_WITH_FEW_FILES)
    host, port = process.stdout.readline().split(":")
    yield host, int(port)
    process.communicate(timeout=60)


def status(address: tuple[str, int]) -> int | None:
    """Return the status of a new caller without a token, or None if the gateway does not serve the caller."""
    try:
        return httpx.get(f"https://{address[0]}:{address[1]}/", verify=False, timeout=5).status_code
    except httpx.TransportError:
        return None


def test_silent_connections_do_not_lock_others_out(few_files: tuple[str, int]) -> None:
    assert wait_until(lambda: status(few_files) == 401, timeout=60)
    silent = [socket.create_connection(few_files) for _ in range(FILES + 100)]
    assert wait_until(lambda: status(few_files) == 401, timeout=60)
    for connection in silent:
        connection.close()


def tls(address: tuple[str, int]) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection(address, timeout=60))


def test_half_a_request_does_not_keep_a_connection(few_files: tuple[str, int]) -> None:
    with tls(few_files) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n")
        answer = b"".join(iter(lambda: caller.recv(1000), b""))
    assert answer.partition(b"\r\n")[0] == b"HTTP/1.1 408 Request Timeout"


class Heard(RequestServer):
    """In place of the service for guests: it answers with the user of each request."""

    def answer(self, request: Request) -> str:
        return request.user


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guests.sock"
        with Heard(path), Gateway(1, {}, path, host=LOOPBACK) as gateway:
            yield gateway


def call(gateway: Gateway, content: bytes, source: str = LOOPBACK, **headers: str) -> httpx.Response:
    """Send a request to the service for guests, from an address of this machine."""
    headers |= {"authorization": f"Bearer {gateway.invitation.token}", "content-type": "application/json"}
    transport = httpx.HTTPTransport(verify=False, local_address=source)
    with httpx.Client(transport=transport, timeout=60) as client:
        return client.post(f"https://{gateway.invitation.address}/llm-streaming", content=content, headers=headers)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have only one address on loopback")
def test_the_address_of_a_guest_is_the_connections(gateway: Gateway) -> None:
    claim = b'{"method": "address", "user": "guest"}'
    users = [
        call(gateway, claim, source, **{name: "127.0.0.1"}).json()["returned"]
        for source in ("127.0.0.1", "127.0.0.2")
        for name in ("x-llm-streaming-address", "x-forwarded-for")
    ]
    assert users == ["127.0.0.1 guest", "127.0.0.1 guest", "127.0.0.2 guest", "127.0.0.2 guest"]


def test_many_guests_at_once_are_all_answered(gateway: Gateway) -> None:
    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(lambda _: call(gateway, b'{"method": "address"}').status_code, range(200)))
    assert statuses == [200] * 200


def test_a_huge_request_to_the_service_is_refused(gateway: Gateway) -> None:
    assert call(gateway, b" " * 2_000_000).status_code == 413
    assert call(gateway, b'{"method": "address"}').status_code == 200


def test_unfinished_requests_do_not_occupy_the_service(gateway: Gateway) -> None:
    """More guests than the service has places send half a request each; the next one is still answered."""
    head = (
        "POST /llm-streaming HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {gateway.invitation.token}\r\ncontent-length: 100\r\n\r\n{{"
    )
    slow = [tls((gateway.invitation.host, gateway.invitation.port)) for _ in range(150)]
    for caller in slow:
        caller.sendall(head.encode())
    assert call(gateway, b'{"method": "address", "user": "me"}').json() == {"returned": "127.0.0.1 me"}
    for caller in slow:
        caller.close()
