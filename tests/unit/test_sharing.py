"""The parts of a shared mesh: the invitation, the certificate, and the limits of guests."""

import contextlib
import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.remote.requests import Request
from llm_streaming.mesh.remote.service import MeshService
from llm_streaming.sharing.certificate import self_signed
from llm_streaming.sharing.gateway import Gateway
from llm_streaming.sharing.guests import GuestService, check_model
from llm_streaming.sharing.invitation import Invitation

TOKEN = "t0ken-_t0ken-_t0ken-_t0ken"
FINGERPRINT = "0123456789abcdef" * 4


def test_an_invitation_is_read_as_it_was_written() -> None:
    invitation = Invitation("192.0.2.7", 8443, TOKEN, FINGERPRINT)
    assert str(invitation) == f"https://192.0.2.7:8443#{TOKEN}.{FINGERPRINT}"
    assert Invitation.read(f" {invitation}\n") == invitation
    assert (invitation.address, TOKEN in repr(invitation)) == ("192.0.2.7:8443", False)


@pytest.mark.parametrize(
    "value",
    [
        f"https://192.0.2.7:8443#{TOKEN}.{FINGERPRINT[:-1]}",
        f"https://192.0.2.7:8443#{TOKEN}",
        f"https://192.0.2.7#{TOKEN}.{FINGERPRINT}",
        f"https://192.0.2.7:0#{TOKEN}.{FINGERPRINT}",
        f"https://192.0.2.7:65536#{TOKEN}.{FINGERPRINT}",
        f"https://192.0.2.7 x:8443#{TOKEN}.{FINGERPRINT}",
        f"https://me@192.0.2.7:8443#{TOKEN}.{FINGERPRINT}",
        f"https://\x1b]0;x\x07:8443#{TOKEN}.{FINGERPRINT}",
        f"https://192.0.2.7:port#{TOKEN}.{FINGERPRINT}",
        f"http://192.0.2.7:8443#{TOKEN}.{FINGERPRINT}",
        f"https://:8443#{TOKEN}.{FINGERPRINT}",
    ],
)
def test_an_incomplete_invitation_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(MeshError) as caught:
        Invitation.read(value)
    assert str(caught.value) == (
        "LLM_STREAMING_MESH is not a complete invitation to a shared mesh: run the whole line that `llm-streaming up "
        "--share` printed, from export to the last quote"
    )


def test_a_certificate_fits_its_key_and_its_fingerprint(tmp_path) -> None:
    certificate = self_signed()
    (tmp_path / "pair.pem").write_text(certificate.chain + certificate.key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "pair.pem")  # raises if they do not fit
    read = x509.load_pem_x509_certificate(certificate.chain.encode())
    assert read.fingerprint(hashes.SHA256()).hex() == certificate.fingerprint
    assert "PRIVATE" not in repr(certificate)
    assert self_signed().fingerprint != certificate.fingerprint


def mesh_with(*names: str) -> Any:
    mesh = create_autospec(EmbeddedMesh, instance=True)
    mesh.resources.return_value = [{"metadata": {"name": name}} for name in names]
    return mesh


def model(**fields: Any) -> Model:
    return Model(**{"name": "m", "storage_uri": "models/m", **fields})


def test_guests_may_not_set_parameters_that_cost_or_reveal() -> None:
    with pytest.raises(MeshError) as caught:
        check_model(model(parameters={"base_url": "http://192.0.2.9", "keep_alive": "1", "model_id": "x"}), mesh_with())
    assert str(caught.value) == (
        "model 'm': a shared mesh does not accept base_url, model_id in spec.parameters, only keep_alive"
    )
    check_model(model(parameters={"keep_alive": "1"}), mesh_with())
    with pytest.raises(MeshError) as long:
        check_model(model(parameters={"keep_alive": "1" * 5_000}), mesh_with())
    assert str(long.value) == (
        "model 'm': on a shared mesh the value of keep_alive in spec.parameters has at most 20 characters"
    )


def test_guests_may_deploy_a_limited_number_of_models() -> None:
    full = [f"m{number}" for number in range(8)]
    with pytest.raises(MeshError) as caught:
        check_model(model(name="one-more"), mesh_with(*full))
    assert str(caught.value) == (
        "the shared mesh already has 8 models, which is the limit: use one of m0, m1, m2, m3, m4, m5, m6, m7, or "
        "ask the presenter to run `llm-streaming reset`"
    )
    check_model(model(name="m7"), mesh_with(*full))


def test_guests_may_not_reset(short_folder: Path) -> None:
    mesh = create_autospec(EmbeddedMesh, instance=True, home=short_folder)
    with MeshService(mesh) as service, GuestService(mesh, service) as guests:
        with pytest.raises(MeshError) as caught:
            guests.answer(Request(method="reset"))
        assert str(caught.value) == "only the presenter can reset a shared mesh, in a shell on their machine"
    assert list(short_folder.iterdir()) == []


class FewModels:
    """A mesh that only remembers its models' names."""

    def __init__(self, home: Path, names: list[str]) -> None:
        self.home = home
        self.names = names
        self.look = threading.Barrier(1)
        self.loading = ""
        self.waits, self.loaded = threading.Event(), threading.Event()

    def resources(self, _: str) -> list[dict[str, Any]]:
        names = list(self.names)
        with contextlib.suppress(threading.BrokenBarrierError):
            self.look.wait(timeout=1)
        return [{"metadata": {"name": name}} for name in names]

    def apply(self, model: Model) -> None:
        self.names.append(model.name)

    def delete(self, model: Model) -> None:
        self.wait_while_loading(model.name)
        self.names.remove(model.name)

    def wait_while_loading(self, name: str) -> None:
        if name == self.loading:
            self.waits.set()
            self.loaded.wait()

    def would_change(self, _: Model) -> bool:
        return False

    def check(self) -> None:
        pass

    metrics_address = wait = logs = check


@pytest.fixture
def full_but_one(short_folder: Path) -> Iterator[tuple[FewModels, GuestService]]:
    mesh: Any = FewModels(short_folder, [f"m{number}" for number in range(7)])
    with MeshService(mesh) as service, GuestService(mesh, service) as guests:
        yield mesh, guests


def test_two_guests_at_once_cannot_pass_the_limit(full_but_one: tuple[FewModels, GuestService]) -> None:
    mesh, guests = full_but_one
    mesh.look = threading.Barrier(2)  # both guests look at the names at once, unless one has to wait for the other

    def apply(name: str) -> str:
        try:
            guests.answer(Request(method="apply", arguments=(model(name=name).as_dict(),)))
        except MeshError as error:
            return str(error)
        return "applied"

    with ThreadPoolExecutor() as pool:
        said = sorted(pool.map(apply, ["one", "two"]))
    assert (said[0], said[1][:58], len(mesh.names)) == (
        "applied",
        "the shared mesh already has 8 models, which is the limit: ",
        8,
    )


def test_who_deletes_a_model_that_is_loading_keeps_nobody_waiting(
    full_but_one: tuple[FewModels, GuestService],
) -> None:
    mesh, guests = full_but_one
    mesh.loading = "m6"
    with ThreadPoolExecutor() as pool:
        delete = pool.submit(guests.answer, Request(method="delete", arguments=(model(name="m6").as_dict(),)))
        mesh.waits.wait()
        apply = pool.submit(guests.answer, Request(method="apply", arguments=(model(name="other").as_dict(),)))
        try:
            assert (apply.result(timeout=60), delete.done()) == (None, False)
        finally:
            mesh.loaded.set()
        delete.result(timeout=60)
    assert mesh.names == ["m0", "m1", "m2", "m3", "m4", "m5", "other"]


def test_logs_are_shortened_and_read_one_at_a_time(
    full_but_one: tuple[FewModels, GuestService], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, guests = full_but_one
    reading: list[str] = []

    def logs(name: str) -> str:
        reading.append(name)
        alone = len(reading) == 1
        mesh.loaded.wait(0.2)
        reading.remove(name)
        return "x" * 2_000_000 + f"the end, {alone}"

    monkeypatch.setattr(mesh, "logs", logs)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: guests.answer(Request(method="logs", arguments=("m1",))), range(3)))
    assert [(len(text), text.endswith("the end, True")) for text in found] == [(1_000_000, True)] * 3


def sends(guests: GuestService, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """Send a request to the socket of guests, as the gateway does, and return the last line of the answer."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(guests.path))) as client:
        answer = client.post("http://guests/llm-streaming", json=body, headers=headers)
    last: dict[str, Any] = json.loads(answer.text.splitlines()[-1])
    return last


def test_a_user_of_another_machine_cannot_be_claimed(full_but_one: tuple[FewModels, GuestService]) -> None:
    mesh, guests = full_but_one
    call = {"arguments": [model().as_dict()], "user": "the same"}
    one, other = {"x-llm-streaming-address": "192.0.2.1"}, {"x-llm-streaming-address": "192.0.2.2"}
    assert [
        sends(guests, {"method": "apply", **call}, **one),
        sends(guests, {"method": "delete", **call}, **other),
        sends(guests, {"method": "delete", **call}, **one),
    ] == [
        {"returned": None},
        {"raised": "MeshError", "message": "model 'm' was deployed by 1 participant: only they can delete it"},
        {"returned": None},
    ]
    assert "m" not in mesh.names


NOT_UNDERSTOOD = "the mesh does not understand the request ({}): use the version of llm-streaming that opened the mesh"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", NOT_UNDERSTOOD.format("Input data was truncated")),
        (b"\xff", NOT_UNDERSTOOD.format("JSON is malformed: invalid character (byte 0)")),
        (
            b'{"method": "wait", "user": "' + b"u" * 65 + b'"}',
            NOT_UNDERSTOOD.format("Expected `str` of length <= 64 - at `$.user`"),
        ),
        (
            b'{"method": "wait", "arguments": ' + b"[" * 50_000,
            NOT_UNDERSTOOD.format("maximum recursion depth exceeded while deserializing an object"),
        ),
    ],
)
def test_nonsense_gets_a_sentence_and_prints_nothing(
    full_but_one: tuple[FewModels, GuestService], body: bytes, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _, guests = full_but_one
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(guests.path))) as client:
        answer = client.post("http://x/llm-streaming", content=body, headers={"content-type": "application/json"})
    assert json.loads(answer.text) == {"raised": "MeshError", "message": message}
    assert capfd.readouterr() == ("", "")


def test_an_error_that_nobody_expected_is_a_sentence(
    full_but_one: tuple[FewModels, GuestService], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mesh, guests = full_but_one

    def wait() -> None:
        raise OverflowError("timestamp too large")

    monkeypatch.setattr(mesh, "wait", wait)
    assert sends(guests, {"method": "wait"}) == {
        "raised": "MeshError",
        "message": "the request failed (OverflowError: timestamp too large)",
    }
    assert capfd.readouterr() == ("", "")


def test_a_caller_who_breaks_the_connection_prints_nothing(
    full_but_one: tuple[FewModels, GuestService], capfd: pytest.CaptureFixture[str]
) -> None:
    _, guests = full_but_one
    closed = threading.Event()
    shutdown = guests.shutdown_request

    def close(request: Any) -> None:
        shutdown(request)
        closed.set()

    guests.shutdown_request = close  # type: ignore[method-assign]
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(os.fspath(guests.path))
        caller.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    assert closed.wait(60)
    assert capfd.readouterr() == ("", "")


def test_secrets_of_the_environment_are_masked(
    full_but_one: tuple[FewModels, GuestService], monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh, guests = full_but_one
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("DB_PASSPHRASE", 'two\n"lines"')

    def answer(wait: Callable[[], object]) -> dict[str, Any]:
        monkeypatch.setattr(mesh, "wait", wait)
        return sends(guests, {"method": "wait"})

    def fail(kind: type[Exception]) -> None:
        raise kind("sk-0123456789 again")

    said = {"reason": "the key sk-0123456789 is wrong"}
    assert [
        answer(lambda: said),
        answer(lambda: ['so two\n"lines" are masked', 5]),
        *(answer(partial(fail, kind)) for kind in (OSError, MeshError, ManifestError)),
    ] == [
        {"returned": {"reason": "the key <OPENAI_API_KEY> is wrong"}},
        {"returned": ["so <DB_PASSPHRASE> are masked", 5]},
        {"raised": "MeshError", "message": "the request failed (OSError: <OPENAI_API_KEY> again)"},
        {"raised": "MeshError", "message": "<OPENAI_API_KEY> again"},
        {"raised": "ManifestError", "message": "<OPENAI_API_KEY> again"},
    ]


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("192.0.2.1", 20_000, "Cannot assign requested address"),
        ("127.0.0.1", 99_999, "a port is a number from 1 to 65535"),
    ],
)
def test_an_address_that_the_gateway_cannot_listen_at(host: str, port: int, reason: str, tmp_path) -> None:
    with pytest.raises(MeshError) as caught:
        Gateway(1, {}, tmp_path / "control.sock", host=host, port=port)
    assert str(caught.value) == (
        f"the mesh cannot be shared at {host}:{port} ({reason}): choose another port with --share-port, or an "
        "address of this machine with --share-host"
    )
