"""The address of the mesh on a cluster, and its servers' metrics and logs."""

import socket
import sys
from pathlib import Path

import pytest

from llm_streaming.mesh.kubernetes import port_forward
from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from llm_streaming.mesh.processes.ports import answers, wait_until
from tests.support.api_server import ApiServer
from tests.support.cluster import HERE, api_server, balanced, failure, kubernetes_mesh, model, server, service, shows

api = pytest.fixture(api_server)
mesh = pytest.fixture(kubernetes_mesh)


def install_kubectl(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a kubectl on PATH that records its arguments and runs `body`, where ``port`` is the local port."""
    script = folder / "bin" / "kubectl"
    script.parent.mkdir()
    note = f"open({str(folder / 'kubectl.argv')!r}, 'w').write(' '.join(sys.argv[1:]))"
    port = "port = sys.argv[3].split(':')[0]"
    script.write_text(
        "\n".join([f"#!{sys.executable}", "import signal, socket, sys", note, port, body, "signal.pause()"])
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    # Three Python processes start one after another, which takes long on a busy machine.
    monkeypatch.setattr(port_forward, "_START_TIMEOUT", 120.0)


@pytest.mark.parametrize(
    ("found", "address"),
    [
        (balanced(ip="203.0.113.9"), "203.0.113.9:80"),
        (balanced(ip="2001:db8::1"), "[2001:db8::1]:80"),
        (balanced(hostname="localhost"), "localhost:80"),
        (service(spec={"type": "NodePort"}), "203.0.113.20:30080"),
    ],
)
def test_the_address_comes_from_the_service(api: ApiServer, mesh: KubernetesMesh, found, address: str):
    addresses = [{"type": "InternalIP", "address": "10.0.0.20"}, {"type": "ExternalIP", "address": "203.0.113.20"}]
    api.add("nodes", None, "node", {"status": {"addresses": addresses}})
    api.add("services", "seldon", "seldon-mesh", found)
    assert [mesh.address, mesh.grpc_address] == [address, address]
    assert len([request for request in api.requests if request.endswith("/services/seldon-mesh")]) == 1


def test_without_an_address_kubectl_forwards_a_port(
    api: ApiServer, mesh: KubernetesMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install_kubectl(tmp_path, monkeypatch, "server = socket.create_server(('127.0.0.1', int(port))); server.accept()")
    api.add("services", "seldon", "seldon-mesh", service())
    api.add("servers", "seldon", "api", server("api"))
    host, port = mesh.address.split(":")
    assert mesh.address == f"{host}:{port}"
    assert (tmp_path / "kubectl.argv").read_text().split() == [
        *["port-forward", "svc/seldon-mesh", f"{port}:80", "-n", "seldon", "--context", "test"]
    ]
    metrics = mesh.metrics_address("api")
    assert (tmp_path / "kubectl.argv").read_text().split()[1:3] == ["pod/api-0", f"{metrics.split(':')[1]}:8082"]
    mesh.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_a_port_forward_that_ends_is_restarted(
    api: ApiServer, mesh: KubernetesMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    serve_one = "server = socket.create_server(('127.0.0.1', int(port))); print('Forwarding from', port, flush=True)"
    install_kubectl(tmp_path, monkeypatch, f"{serve_one}; server.accept(); sys.exit('lost connection to pod')")
    api.add("services", "seldon", "seldon-mesh", service())
    host, port = mesh.address.split(":")

    assert [wait_until(lambda: answers(host, int(port)), timeout=120) for _ in range(3)] == [True] * 3
    assert mesh.address == f"{host}:{port}"


def test_a_user_who_may_not_list_nodes_gets_a_port_forward(
    api: ApiServer, mesh: KubernetesMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install_kubectl(tmp_path, monkeypatch, "server = socket.create_server(('127.0.0.1', int(port)))")
    api.add("services", "seldon", "seldon-mesh", service(spec={"type": "NodePort"}))
    api.forbidden = {("list", "nodes")}
    port = mesh.address.removeprefix("127.0.0.1:")
    assert (tmp_path / "kubectl.argv").read_text().split()[1:3] == ["svc/seldon-mesh", f"{port}:80"]


def test_without_kubectl_the_command_is_named(api: ApiServer, mesh: KubernetesMesh, tmp_path: Path, monkeypatch):
    api.add("services", "seldon", "seldon-mesh", service())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert failure(lambda: mesh.address) == (
        "svc/seldon-mesh has no address outside the cluster, and kubectl, which can forward a port to it, is not on "
        f"PATH: install kubectl, or run {shows('port-forward svc/seldon-mesh 8080:80')} on a machine that has "
        "kubectl, and connect there to localhost:8080"
    )


def test_a_port_forward_that_fails_says_why(api: ApiServer, mesh: KubernetesMesh, tmp_path: Path, monkeypatch):
    install_kubectl(tmp_path, monkeypatch, "sys.exit('error: no pod is running')")
    api.add("services", "seldon", "seldon-mesh", service())
    said = failure(lambda: mesh.address)
    assert said.startswith(
        "svc/seldon-mesh cannot be reached through the cluster (error: no pod is running): `kubectl port-forward"
    )


def test_a_mesh_without_a_service_or_a_known_hostname(api: ApiServer, mesh: KubernetesMesh):
    assert failure(lambda: mesh.address) == (
        f"there is no service seldon-mesh in {HERE}: to find its namespace, run "
        f"{shows('get svc -A --field-selector metadata.name=seldon-mesh')}, and pass the namespace to connect"
    )
    api.add("services", "seldon", "seldon-mesh", balanced(hostname="mesh.invalid"))
    assert failure(lambda: mesh.address) == (
        "the hostname of the service seldon-mesh, mesh.invalid, cannot be resolved: wait a few minutes if it is new; "
        f"{shows('get svc seldon-mesh')} shows it"
    )


def test_logs_are_those_of_the_only_server_that_can_hold_the_model(api: ApiServer, mesh: KubernetesMesh):
    for name, capability in [("api", "openai"), ("local", "llm-local")]:
        mesh.apply(server(name, capability))
        api.add("pods", "seldon", f"{name}-0", {"metadata": {"labels": {"seldon-server-name": name}}})
    api.logs = {"api-0": "loaded m\n", "local-0": "nothing\n"}
    mesh.apply(model())
    assert mesh.logs("m") == "loaded m\n"
    mesh.apply(model(server="local"))
    assert mesh.logs("m") == "nothing\n"
    mesh.apply(model(requirements=[]))
    assert failure(mesh.logs, "m") == (
        "it is unclear which of 2 servers runs model 'm': to see the log of one, run `kubectl logs -l "
        "'seldon-server-name=<server>' -c mlserver -n seldon --context test`"
    )
    assert failure(mesh.metrics_address, "absent") == (
        f"server 'absent' is not deployed in {HERE}: apply its manifest first; {shows('get servers')} lists those that "
        "are"
    )
