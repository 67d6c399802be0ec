"""Error messages of a cluster, its configuration, and `connect`."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import llm_streaming.connection
from llm_streaming.connection import connect, get_mesh_ip
from llm_streaming.errors import ManifestError
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from tests.support.api_objects import TYPES
from tests.support.api_server import TOKEN, ApiServer
from tests.support.cluster import HERE, api_server, balanced, failure, kubernetes_mesh, model, shows

api = pytest.fixture(api_server)
mesh = pytest.fixture(kubernetes_mesh)


def test_a_conflict_names_the_owner(api: ApiServer, mesh: KubernetesMesh):
    api.apply(("models", "seldon", "m"), model(), "kubectl", force=False)
    assert failure(mesh.apply, model(storageUri="gs://bucket/other")) == (
        "model/m was not applied, because it would change fields that other managers own (.spec.storageUri: conflict "
        'with "kubectl" using mlops.seldon.io/v1alpha1): change these fields with their managers, or delete model/m '
        f"and apply it again; {shows('get model/m -o yaml --show-managed-fields')} shows the owners"
    )


def test_the_message_of_an_invalid_manifest_is_the_servers(mesh: KubernetesMesh, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TYPES, "replicas", str)  # a cluster with another version of SC2
    assert failure(mesh.apply, model(replicas=2)) == (
        'the cluster rejects the manifest: Model.mlops.seldon.io "m" is invalid: spec.replicas: Invalid value: "int": '
        f"spec.replicas in body has the wrong type; {shows('explain model.spec')} shows the allowed fields"
    )


def test_a_manifest_is_checked_before_it_is_sent(api: ApiServer, mesh: KubernetesMesh):
    sent = len(api.requests)
    with pytest.raises(
        ManifestError, match=r"Model 'm': there is no field spec\.replica \(did you mean spec\.replicas\?\)"
    ):
        mesh.apply(model(replica=2))
    with pytest.raises(ManifestError, match=r"expected a manifest of .* Model, but got v1 Pod"):
        mesh.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "m"}})
    with pytest.raises(ManifestError) as caught:
        mesh.apply(model() | {"metadata": {"name": "m", "namespace": "other"}})
    assert str(caught.value) == (
        f"'m' belongs to namespace 'other', but the mesh uses {HERE}: connect with namespace='other'"
    )
    assert len(api.requests) == sent


@pytest.mark.parametrize("verb", ["get", "patch", "delete", "watch"])
def test_a_forbidden_verb_is_named(api: ApiServer, mesh: KubernetesMesh, verb: str):
    if verb in ("delete", "watch"):
        mesh.apply(model())
    api.forbidden = {(verb, "models")}
    call = {"delete": mesh.delete, "watch": lambda _: mesh.wait()}.get(verb, mesh.apply)
    name = "" if verb == "watch" else "m"
    assert failure(call, model()) == (
        f'the cluster forbids this (models.mlops.seldon.io "{name}" is forbidden: User "reader" cannot {verb} resource '
        '"models" in API group "mlops.seldon.io" in the namespace "seldon"): ask for a role that allows it; '
        f"{shows('auth can-i --list')} shows what you may do"
    )


def test_a_missing_namespace_is_named(api: ApiServer):
    mesh = KubernetesMesh(namespace="nowhere")
    assert failure(mesh.apply, model()) == (
        "the cluster has no namespace 'nowhere': create it with `kubectl create namespace nowhere`, or choose one of "
        "those that `kubectl get namespaces -n nowhere --context test` shows"
    )


def test_a_cluster_without_seldon_says_how_to_install_it(api: ApiServer):
    api.has_seldon = False
    assert failure(KubernetesMesh) == (
        "Seldon Core 2 is not installed on this cluster, which has no Model of mlops.seldon.io/v1alpha1: install it "
        "with `helm install seldon-core-v2-crds seldon-charts/seldon-core-v2-crds` and the next steps in "
        f"docs/cluster.md; {shows('api-resources --api-group mlops.seldon.io')} shows what is installed"
    )


def test_expired_credentials(api: ApiServer, tmp_path: Path):
    api.write_kubeconfig(tmp_path / "config", token="an old one")
    assert failure(KubernetesMesh) == (
        f"the cluster refuses the credentials for {HERE}, which may have expired: log in again; "
        f"{shows('auth whoami')} shows whether that helped"
    )


def test_unknown_credentials(api: ApiServer, mesh: KubernetesMesh):
    """An API server that allows anonymous requests ignores credentials that it does not know."""
    api.user = "system:anonymous"
    api.forbidden = {("get", "models")}
    assert failure(mesh.apply, model()) == (
        f"the cluster refuses the credentials for {HERE}, which may have expired: log in again; "
        f"{shows('auth whoami')} shows whether that helped"
    )


def test_an_unreachable_cluster(api: ApiServer, mesh: KubernetesMesh):
    where = api.url.removeprefix("http://")
    api.http.shutdown()
    api.http.server_close()
    api.end_watches("drop")
    assert failure(KubernetesMesh) == (
        f"the cluster of {HERE} cannot be reached at {where} (Connection refused): start it, or choose another "
        f"context; {shows('cluster-info')} shows more"
    )


def test_a_server_that_is_no_api_server(api: ApiServer, monkeypatch: pytest.MonkeyPatch):
    class LoginPage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b"<html>Log in</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    where = api.url.removeprefix("http://")
    monkeypatch.setattr(api.http, "RequestHandlerClass", LoginPage)
    assert failure(KubernetesMesh) == (
        f"the server at {where} is not a Kubernetes API server: check the address of {HERE}, and whether a proxy "
        f"answers instead; {shows('cluster-info')} shows more"
    )


def test_the_namespace_comes_from_option_environment_and_context(api: ApiServer, tmp_path: Path, monkeypatch):
    assert str(KubernetesMesh()) == HERE
    api.write_kubeconfig(tmp_path / "config", namespace="of-context")
    assert str(KubernetesMesh()) == "namespace 'of-context' of context 'test'"
    monkeypatch.setenv("SELDON_NAMESPACE", "of-environment")
    assert str(KubernetesMesh()) == "namespace 'of-environment' of context 'test'"
    assert str(KubernetesMesh(namespace="of-option")) == "namespace 'of-option' of context 'test'"


def test_a_wrong_context(api: ApiServer, tmp_path: Path):
    path = tmp_path / "config"
    assert failure(KubernetesMesh, context="prod") == (
        f"the kubeconfig {path} has no context 'prod' (it has test): choose another, or set the current one with "
        "`kubectl config use-context`"
    )
    path.write_text(path.read_text().replace("current-context: test", "current-context: ''"))
    assert failure(KubernetesMesh) == (
        f"the kubeconfig {path} has no current context (it has test): choose another, or set the current one with "
        "`kubectl config use-context`"
    )
    assert str(KubernetesMesh(context="test")) == HERE


def test_a_kubeconfig_that_is_not_there_or_not_readable(api: ApiServer, tmp_path: Path):
    assert failure(KubernetesMesh, kubeconfig=str(tmp_path / "absent")) == (
        f"there is no kubeconfig at {tmp_path}/absent: get your cluster's (for kind: `kind export kubeconfig`), or set "
        "KUBECONFIG to its path; `kubectl config view` shows the one that kubectl finds"
    )
    path = tmp_path / "config"
    path.write_text("")
    assert failure(KubernetesMesh) == (
        f"the kubeconfig {path} cannot be used (it is empty): run `kubectl config view`, and correct the file"
    )
    api.write_kubeconfig(path)
    path.write_text(path.read_text().replace("user:\n    token:", "token:"))
    assert failure(KubernetesMesh) == (
        f"the kubeconfig {path} cannot be used (Invalid kube-config file. Expected key user in {path}/): "
        "run `kubectl config view`, and correct the file"
    )


def test_a_pod_uses_its_service_account(api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, content in [("token", TOKEN), ("ca.crt", "a certificate"), ("namespace", "of-pod\n")]:
        (tmp_path / name).write_text(content)
    monkeypatch.setattr("llm_streaming.mesh.kubernetes.config._SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", tmp_path / "token")
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", tmp_path / "ca.crt")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "203.0.113.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG")
    connection = find_connection(namespace=None, context=None, kubeconfig=None)
    assert str(connection) == "namespace 'of-pod' of the cluster that this pod runs in"
    assert connection.kubectl("get models") == "`kubectl get models -n of-pod`"
    assert connection.client.configuration.host == "https://203.0.113.1:443"


def test_connect_opens_one_mesh_for_the_same_arguments(api: ApiServer, capsys):
    mesh = connect("kubernetes", namespace="seldon")
    assert connect("kubernetes", namespace="seldon") is mesh
    assert capsys.readouterr().out.splitlines() == [
        f"The kubernetes mesh is open in {HERE}.",
        f"The kubernetes mesh is already open in {HERE}.",
    ]
    assert failure(connect, "kubernetes", port=1) == (
        "the kubernetes mesh has no option port, only namespace, context, kubeconfig"
    )
    mesh.close()
    assert failure(mesh.apply, model()) == "the mesh is closed: connect again"


def test_get_mesh_ip_opens_the_current_cluster_once(api: ApiServer, tmp_path: Path):
    api.add("services", "seldon", "seldon-mesh", balanced(ip="203.0.113.9"))
    assert [get_mesh_ip(), get_mesh_ip()] == ["203.0.113.9:80"] * 2
    assert api.requests.count("GET /version") == 1
    llm_streaming.connection.open_meshes.pop()
    (tmp_path / "config").unlink()
    assert failure(get_mesh_ip) == (
        'no mesh is open: open one with connect("embedded"), or configure kubectl for a cluster'
    )
