"""Models on a cluster: the mesh and kubectl apply, wait and delete them on a small API server."""

import shutil
import subprocess
from pathlib import Path

import pytest

from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from tests.support.api_server import ApiServer
from tests.support.cluster import (
    HERE,
    READY,
    api_server,
    balanced,
    failure,
    kubernetes_mesh,
    model,
    server,
    shows,
    unmet,
)

api = pytest.fixture(api_server)
mesh = pytest.fixture(kubernetes_mesh)


MODELS = "/apis/mlops.seldon.io/v1alpha1/namespaces/seldon/models"


def test_it_prints_what_kubectl_prints(api: ApiServer, mesh: KubernetesMesh, capsys: pytest.CaptureFixture[str]):
    mesh.apply(model())
    mesh.apply(model())
    mesh.apply(model(memory="1Gi"))
    mesh.apply(server("api", "openai"))
    api.set_status("m", *READY)
    mesh.wait()
    mesh.delete(model())
    assert capsys.readouterr().out.splitlines() == [
        "model.mlops.seldon.io/m created",
        "model.mlops.seldon.io/m unchanged",
        "model.mlops.seldon.io/m configured",
        "server.mlops.seldon.io/api created",
        "model.mlops.seldon.io/m condition met",
        'model.mlops.seldon.io "m" deleted',
    ]
    assert [key for key in api.objects if key[0] == "models"] == []


def test_a_manifest_is_applied_as_it_was_written(api: ApiServer, mesh: KubernetesMesh):
    manifest = model(memory="1Gi", logger={"percent": 5})
    mesh.apply(manifest)
    stored = api.objects["models", "seldon", "m"]
    assert stored["spec"] == manifest["spec"]
    assert stored["metadata"]["namespace"] == "seldon"
    assert api.owners["models", "seldon", "m"] == dict.fromkeys(manifest["spec"], "llm-streaming")
    assert manifest["metadata"] == {"name": "m"}


def test_a_status_written_meanwhile_is_no_change(api: ApiServer, mesh: KubernetesMesh, capsys):
    mesh.apply(model())
    api.set_status("m", *READY)
    mesh.apply(model())
    assert capsys.readouterr().out.splitlines()[1] == "model.mlops.seldon.io/m unchanged"


def test_wait_goes_on_after_watches_that_end(api: ApiServer, mesh: KubernetesMesh, capsys):
    mesh.apply(model())
    api.endings = ["410", "504", "drop", "half"]
    api.on_watch = lambda number: api.set_status("m", *READY) if number == 5 else None
    mesh.wait("m", timeout=60)
    assert capsys.readouterr().out.splitlines()[1:] == ["model.mlops.seldon.io/m condition met"]
    started = [request for request in api.requests if request == f"GET {MODELS}"]
    assert len(started) == 5


@pytest.mark.parametrize("how", ["410", "drop"])
def test_wait_goes_on_after_a_watch_that_breaks_off(api: ApiServer, mesh: KubernetesMesh, capsys, how: str):
    def on_watch(number: int) -> None:
        if number == 1:
            api.set_status("m", *unmet("ModelProgressing", ""))
            api.end_watches(how)
        else:
            api.set_status("m", *READY)

    mesh.apply(model())
    api.on_watch = on_watch
    mesh.wait("m", timeout=60)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "model.mlops.seldon.io/m ModelProgressing",
        "model.mlops.seldon.io/m condition met",
    ]


def test_wait_reports_the_status_as_it_changes(api: ApiServer, mesh: KubernetesMesh, capsys):
    def on_watch(_: int) -> None:
        api.set_status("m", *unmet("", "", status="Unknown"))
        api.set_status("m", *unmet("ModelProgressing", "rpc error: connection refused"))
        api.set_status("m", *unmet("ModelProgressing", "rpc error: connection refused"))
        api.set_status("m", *unmet("ModelProgressing", ""))
        api.set_status("m", *READY)

    mesh.apply(model())
    api.on_watch = on_watch
    mesh.wait(timeout=60)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "model.mlops.seldon.io/m ModelProgressing: rpc error: connection refused",
        "model.mlops.seldon.io/m ModelProgressing",
        "model.mlops.seldon.io/m condition met",
    ]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (unmet("ScheduleFailed", "no server fits"), "ScheduleFailed: no server fits"),
        (unmet("no server fits", "ScheduleFailed"), "ScheduleFailed: no server fits"),
        (unmet("ModelFailed", "rclone: not found")[:1], "ModelFailed: rclone: not found"),
        (unmet("LoadFailed", ""), "LoadFailed"),
    ],
)
def test_wait_fails_as_soon_as_the_scheduler_gives_up(api: ApiServer, mesh: KubernetesMesh, conditions, words: str):
    mesh.apply(model())
    api.on_watch = lambda _: api.set_status("m", *conditions)
    assert failure(mesh.wait, timeout=60) == (
        f"model 'm' has failed ({words}) and stays on the cluster: {shows('describe model m')} shows more"
    )
    assert ("models", "seldon", "m") in api.objects


def test_a_failure_from_before_the_last_change_is_outdated(api: ApiServer, mesh: KubernetesMesh, capsys):
    mesh.apply(model(requirements=["opnai"]))
    api.set_status("m", *unmet("ScheduleFailed", "no server fits"))
    mesh.apply(model())
    mesh.apply(model())
    api.on_watch = lambda _: api.set_status("m", *READY)
    mesh.wait(timeout=60)
    assert capsys.readouterr().out.splitlines() == [
        "model.mlops.seldon.io/m created",
        "model.mlops.seldon.io/m configured",
        "model.mlops.seldon.io/m unchanged",
        "model.mlops.seldon.io/m ScheduleFailed: no server fits",
        "model.mlops.seldon.io/m condition met",
    ]


def test_wait_ends_at_its_timeout(mesh: KubernetesMesh, api: ApiServer):
    mesh.apply(model())
    more = shows("describe model m")
    assert failure(mesh.wait, timeout=0) == f"model 'm' is not ready after 0 s: wait longer; {more} shows more"
    api.set_status("m", *unmet("ModelProgressing", ""))
    assert failure(mesh.wait, timeout=0.5) == (
        f"model 'm' is not ready after 0.5 s (ModelProgressing): wait longer; {more} shows more"
    )


def test_an_absent_model_is_an_error(api: ApiServer, mesh: KubernetesMesh):
    absent = (
        f"model 'm' is not deployed in {HERE}: apply its manifest first; {shows('get models')} lists those that are"
    )
    assert failure(mesh.wait, "m") == absent
    assert failure(mesh.delete, model()) == absent
    assert failure(mesh.logs, "m") == absent
    mesh.apply(model())
    api.on_watch = lambda _: api.remove(("models", "seldon", "m"))
    assert failure(mesh.wait) == absent


def test_delete_waits_for_the_finalizer(api: ApiServer, mesh: KubernetesMesh, monkeypatch: pytest.MonkeyPatch):
    held = model() | {"metadata": {"name": "m", "finalizers": ["seldon.model.finalizer"]}}
    api.add("models", "seldon", "m", held)
    monkeypatch.setattr("llm_streaming.mesh.kubernetes.mesh._DELETE_TIMEOUT", 0.0)
    assert failure(mesh.delete, model()) == (
        "model 'm' still exists 0 s after the request to delete it, because of a finalizer: check that Seldon Core 2's "
        f"operator is running; {shows('describe model m')} shows more"
    )
    monkeypatch.setattr("llm_streaming.mesh.kubernetes.mesh._DELETE_TIMEOUT", 60.0)
    api.endings = ["drop"]
    api.on_watch = lambda number: api.remove(("models", "seldon", "m")) if number == 2 else None
    mesh.delete(model())
    assert ("models", "seldon", "m") not in api.objects


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_gets_the_same_answers(api: ApiServer, tmp_path: Path):
    def kubectl(command: str) -> list[str]:
        argv = ["kubectl", "-n", "seldon", *command.split()]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return [*done.stdout.splitlines(), *done.stderr.splitlines()]

    manifest = "manifests/openai-chat-completions.yaml"
    name = "openai-chat-completions"
    api.add("services", "seldon", "seldon-mesh", balanced(ip="203.0.113.9"))
    assert kubectl(f"apply --validate=false -f {manifest}") == [f"model.mlops.seldon.io/{name} created"]
    assert kubectl(f"apply --validate=false -f {manifest}") == [f"model.mlops.seldon.io/{name} unchanged"]
    api.on_watch = lambda _: api.set_status(name, *READY)
    assert kubectl("wait --for condition=ready --timeout=30s model --all") == [
        f"model.mlops.seldon.io/{name} condition met"
    ]
    assert kubectl("get svc seldon-mesh -o jsonpath={.status.loadBalancer.ingress[0].ip}") == ["203.0.113.9"]
    api.on_watch = lambda _: None
    assert kubectl(f"delete -f {manifest}")[0].startswith(f'model.mlops.seldon.io "{name}" deleted')
    assert ("models", "seldon", name) not in api.objects
