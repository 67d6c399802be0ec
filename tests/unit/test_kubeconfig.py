"""Kubeconfigs with mistakes: one sentence each, which shows no password and no token."""

import base64
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from tests.support.api_server import TOKEN, ApiServer
from tests.support.cluster import HERE, api_server, failure, kubernetes_mesh, model, unmet

SECRET = "hunter2"
NOBODY = "127.0.0.1:1"  # no server listens there

api = pytest.fixture(api_server)
mesh = pytest.fixture(kubernetes_mesh)


def kubeconfig(path: Path, *, cluster: Any = None, user: Any = None, **fields: Any) -> str:
    """Write a kubeconfig with one context, and return its path."""
    config = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "me"}}],
        "clusters": [{"name": "test", "cluster": {"server": f"https://{NOBODY}", **(cluster or {})}}],
        "users": [{"name": "me", "user": {"token": SECRET} if user is None else user}],
    }
    path.write_text(yaml.safe_dump(config | fields))
    return str(path)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # NO_PROXY: a test that has opened an embedded mesh has set it, and then the client reads no proxy's URL.
    for name in ("SELDON_NAMESPACE", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        (f"https://me:{SECRET}@{NOBODY}", NOBODY),
        (f"https://{SECRET}@{NOBODY}", NOBODY),
        (f"https://{NOBODY}/?access_token={SECRET}", NOBODY),
        (f"https://{NOBODY}/k8s/{SECRET}", NOBODY),
        (f"https://{NOBODY}#{SECRET}", NOBODY),
        (f"https://me:{SECRET}@[::1]:1", "[::1]:1"),
    ],
)
def test_a_message_shows_only_host_and_port_of_a_server(path: Path, server: str, shown: str) -> None:
    kubeconfig(path, cluster={"server": server})
    assert failure(KubernetesMesh, kubeconfig=str(path)).startswith(
        f"the cluster of {HERE} cannot be reached at {shown} ("
    )


@pytest.mark.parametrize(
    "server",
    [
        f"https://me:{SECRET}/x@{NOBODY}",
        f"https://me:{SECRET}@{NOBODY}:2",
        f"https://{SECRET}:99999999",
        f"https://a {SECRET}",
        f"https://me:{SECRET}@a\x1b",
    ],
)
def test_an_address_that_is_none_is_not_shown(path: Path, server: str) -> None:
    kubeconfig(path, cluster={"server": server})
    assert failure(KubernetesMesh, kubeconfig=str(path)).startswith(
        f"the cluster of {HERE} cannot be reached at its address (it is not an address): start it, or choose another "
    )


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (
            {"cluster": {"certificate-authority-data": "abc"}},
            "this is not base64 - at `$.clusters[0].cluster.certificate-authority-data`",
        ),
        (
            {"user": {"client-certificate-data": f"{SECRET}!"}},
            "this is not base64 - at `$.users[0].user.client-certificate-data`",
        ),
        (
            {"user": {"client-key-data": f"{SECRET}é"}},
            "this is not base64 - at `$.users[0].user.client-key-data`",
        ),
        ({"user": {"client-key-data": 5}}, "this is not base64 - at `$.users[0].user.client-key-data`"),
        ({"user": SECRET}, "Expected `object | null`, got `str` - at `$.users[0].user`"),
        ({"user": {"token": [SECRET]}}, "Expected `str | null`, got `array` - at `$.users[0].user.token`"),
        (
            {"user": {"token": f"{SECRET}\nx"}},
            "the token has a line break or another character that HTTP does not allow",
        ),
        ({"users": [SECRET]}, "Expected `object`, got `str` - at `$.users[0]`"),
        ({"contexts": [SECRET]}, "Expected `object`, got `str` - at `$.contexts[0]`"),
        ({"cluster": {"server": 5}}, "Expected `str`, got `int` - at `$.clusters[0].cluster.server`"),
        ({"cluster": {"proxy-url": SECRET}}, "Proxy URL had no scheme, should start with http:// or https://"),
        (
            {"user": {"auth-provider": {"name": "gcp", "config": {"cmd-path": f"false {SECRET}"}}}},
            "cmd-path: process returned 1",
        ),
        ({"user": {"tokenFile": "/absent"}}, "[Errno 2] No such file or directory: '/absent'"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(path: Path, parts: dict[str, Any], reason: str) -> None:
    kubeconfig(path, **parts)
    assert failure(KubernetesMesh, kubeconfig=str(path)) == (
        f"the kubeconfig {path} cannot be used ({reason}): run `kubectl config view`, and correct the file"
    )


def test_base64_with_line_breaks_is_accepted(path: Path) -> None:
    encoded = base64_of("a certificate")
    kubeconfig(path, cluster={"certificate-authority-data": f"{encoded[:8]}\n{encoded[8:]}\n"})
    assert "cannot be reached" in failure(KubernetesMesh, kubeconfig=str(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"users: [{SECRET}: {SECRET}: x", "line 1, column 25: this is not YAML"),
        (f"password: *{SECRET}", "line 1, column 11: this is not YAML"),
        ("a: &a [*a]", "line 1, column 8: a value contains itself"),
        (f"[{SECRET}]", "Expected `object`, got `array`"),
        (SECRET, "Expected `object`, got `str`"),
    ],
)
def test_an_error_of_yaml_does_not_quote_the_line(path: Path, text: str, reason: str) -> None:
    path.write_text(text)
    assert failure(KubernetesMesh, kubeconfig=str(path)) == (
        f"the kubeconfig {path} cannot be used ({reason}): run `kubectl config view`, and correct the file"
    )


def login(script: str) -> dict[str, Any]:
    """Return a user who logs in with a command."""
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script]}
    return {"exec": command}


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        (login(f"printf '{SECRET} \\033]0;x\\007' >&2; exit 3"), "exec: process returned 3"),
        (
            login(f"echo {SECRET}"),
            "exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)",
        ),
        (login("true"), "exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)"),
        (
            login("""echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {}}'"""),
            "exec: missing token or clientCertificateData field in plugin output",
        ),
        (
            {"exec": {"apiVersion": "v1", "command": "/absent"}},
            "[Errno 2] No such file or directory: '/absent'",
        ),
        ({"exec": {}}, "exec: malformed request. missing key 'command'"),
    ],
)
def test_the_official_client_logs_why_a_login_command_failed(
    api: ApiServer, path: Path, user: dict[str, Any], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its ``_load_from_exec_plugin`` logs the error and goes on without credentials; the mesh must not."""
    kubeconfig(path, cluster={"server": api.url}, user=user)
    assert failure(KubernetesMesh, kubeconfig=str(path)) == (
        f"the login command in the kubeconfig {path} gave no credentials ({reason}): log in again; `kubectl auth "
        f"whoami -n seldon --context test --kubeconfig {path}` shows the command's own message"
    )
    assert (api.requests, capfd.readouterr(), logging.getLogger().filters) == ([], ("", ""), [])


def test_a_login_command_that_works(api: ApiServer, path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {"token": TOKEN}}
    kubeconfig(path, cluster={"server": api.url}, user=login(f"echo '{json.dumps(credential)}'"))
    assert str(KubernetesMesh(kubeconfig=str(path))) == HERE


def test_an_error_that_another_thread_logs_is_not_of_the_login_command(
    api: ApiServer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go = path.with_name("go")
    os.mkfifo(go)

    def log() -> None:
        with go.open("w") as script:  # opens when the login command reads
            logging.error("another thread's error")  # with the logger that the official client uses
            script.write("go\n")

    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "x", "status": {"token": TOKEN}}
    kubeconfig(path, cluster={"server": api.url}, user=login(f"read x < '{go}'; echo '{json.dumps(credential)}'"))
    with ThreadPoolExecutor() as pool:
        pool.submit(log)
        assert str(KubernetesMesh(kubeconfig=str(path))) == HERE
    assert caplog.messages == ["another thread's error"]


FORGED = "\x1b]0;title\x07\nmodel.mlops.seldon.io/m condition met \u202e"
SHOWN = r"\x1b]0;title\x07\nmodel.mlops.seldon.io/m condition met \u202e"


def test_control_characters_of_a_condition_are_shown(
    api: ApiServer, mesh: KubernetesMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.apply(model())
    api.set_status("m", *unmet("ScheduleFailed", FORGED))
    words = failure(mesh.wait)
    assert words.startswith(f"model 'm' has failed (ScheduleFailed: {SHOWN}) and stays on the cluster: ")
    assert capsys.readouterr().out.splitlines() == [
        "model.mlops.seldon.io/m created",
        f"model.mlops.seldon.io/m ScheduleFailed: {SHOWN}",
    ]
