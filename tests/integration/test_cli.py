"""The command line on the mesh of `llm-streaming up`: verbs, output and exit statuses."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import llm_streaming.connection
from llm_streaming import connect, get_mesh_ip
from llm_streaming.cli import main
from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model, to_yaml
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.mesh.remote.service import MeshService
from llm_streaming.paths import project_root
from tests.conftest import CPU, OPENAI
from tests.support.command_line import COMMAND, Run, Up, runner
from tests.support.provider import streamed
from tests.support.scripted import Scripted


@pytest.fixture(scope="module")
def up(no_provider: None) -> Iterator[Up]:
    up = Up()
    yield up
    up.end(signal.SIGTERM)


@pytest.fixture
def shell(up: Up, monkeypatch: pytest.MonkeyPatch) -> Up:
    """The mesh of `up`, and the environment of a shell that has run the line that `up` printed."""
    monkeypatch.setenv(MESH_VARIABLE, up.control)
    monkeypatch.setattr(llm_streaming.connection, "open_meshes", [])
    return up


@pytest.fixture
def run(shell: Up, capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


def manifest(folder: Path, name: str, **fields: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(to_yaml(Model(name=name, **fields).as_dict()))
    return str(path)


def test_from_a_manifest_to_an_answer_and_back(run: Run, shell: Up) -> None:
    file = f"manifests/{CPU}.yaml"
    assert run("get") == (0, "", "No models found.\n")
    assert run("wait") == (1, "", "error: there is no model to wait for: `llm-streaming apply` deploys one\n")
    assert run("apply", "-f", file, "-f", "manifests/servers") == (
        0,
        f"model.mlops.seldon.io/{CPU} created\n"
        "server.mlops.seldon.io/api unchanged\n"
        "server.mlops.seldon.io/local unchanged\n",
        "",
    )
    assert run("wait", "--timeout", "10m") == (0, f"model.mlops.seldon.io/{CPU} condition met\n", "")
    assert run("apply", "-f", file) == (0, f"model.mlops.seldon.io/{CPU} unchanged\n", "")
    assert run("get") == (0, f"NAME{' ' * 25}READY   MESSAGE\n{CPU}   True\n", "")
    status, answer, _ = run("chat", CPU, "Say something.", "--max-tokens", "8")
    assert (status, bool(answer.strip())) == (0, True)
    status, log, _ = run("logs", CPU)
    assert (status, f"Loaded model '{CPU}' successfully" in log) == (0, True)
    assert run("delete", "-f", file) == (0, f'model.mlops.seldon.io "{CPU}" deleted\n', "")
    assert httpx.get(f"http://{shell.address}/v2/models/{CPU}/ready").status_code == 404


def test_resources_in_every_format(run: Run) -> None:
    servers = "NAME    READY   CAPABILITIES\napi     True    openai\nlocal   True    llm-local\n"
    assert run("get", "servers") == (0, servers, "")
    assert run("get", "servers", "-o", "name") == (
        0,
        "server.mlops.seldon.io/api\nserver.mlops.seldon.io/local\n",
        "",
    )
    ready = 'status:\n  conditions:\n  - type: Ready\n    status: "True"\n'
    assert run("get", "servers", "api", "-o", "yaml") == (
        0,
        (project_root() / "manifests/servers/api.yaml").read_text() + ready,
        "",
    )
    assert run("get", "servers", "absent") == (
        1,
        "",
        "error: there is no server 'absent': `llm-streaming get servers` lists them\n",
    )


def test_a_manifest_can_come_through_a_pipe(run: Run, shell: Up, tmp_path: Path) -> None:
    made = subprocess.run(
        [COMMAND, "manifest", "model", "piped", "--storage-uri", f"models/{CPU}", "--requirement", "llm-local"],
        capture_output=True,
        check=True,
    ).stdout
    done = subprocess.run([COMMAND, "apply", "-f", "-"], input=made, capture_output=True, check=True)
    assert done.stdout.decode() == "model.mlops.seldon.io/piped created\n"
    (tmp_path / "piped.yaml").write_bytes(made)
    assert run("delete", "-f", str(tmp_path)) == (0, 'model.mlops.seldon.io "piped" deleted\n', "")


def test_a_refusal_of_the_mesh_is_one_line(run: Run, tmp_path: Path) -> None:
    absent = manifest(tmp_path, "absent", storage_uri="models/none", requirements=("openai",))
    nowhere = manifest(tmp_path, "nowhere", storage_uri=f"models/{CPU}", requirements=("gpu",))
    root = project_root()
    assert run("apply", "-f", absent) == (
        1,
        "",
        f"error: storageUri models/none: there is no file {root}/models/none/model-settings.json\n",
    )
    assert run("apply", "-f", nowhere) == (
        1,
        "",
        "error: model 'nowhere' requires gpu, and no server of this mesh fits: api is capable of openai; local is "
        "capable of llm-local\n",
    )
    assert run("delete", "-f", absent) == (
        1,
        "",
        "error: model 'absent' is not deployed on this mesh: apply its manifest first\n",
    )
    assert run("wait", "m") == (1, "", "error: model 'm' is not deployed on this mesh: apply its manifest first\n")
    assert run("apply", "-f", str(tmp_path / "no.yaml")) == (
        1,
        "",
        f"error: cannot read the manifest {tmp_path}/no.yaml: No such file or directory\n",
    )
    assert run("chat", "m", "Hello?") == (
        1,
        "",
        "error: model 'm' is not deployed here: apply its manifest and wait until it is ready\n",
    )


def test_a_server_that_the_mesh_was_not_opened_with(run: Run, tmp_path: Path) -> None:
    for name, capability in (("api", "gpu"), ("other", "openai")):
        made = subprocess.run(
            [COMMAND, "manifest", "server", name, "--runtime", "api"], capture_output=True, text=True, check=True
        ).stdout
        (tmp_path / f"{name}.yaml").write_text(made.replace("- openai", f"- {capability}"))
    assert run("apply", "-f", str(tmp_path / "api.yaml")) == (
        1,
        "",
        "error: server 'api' was started from another manifest: open the mesh again to change it\n",
    )
    assert run("apply", "-f", str(tmp_path / "other.yaml")) == (
        1,
        "",
        "error: there is no server 'other' on this mesh, only api, local: to add one, put its manifest into the folder "
        "of Server manifests and open the mesh again\n",
    )


def test_python_uses_the_mesh_and_leaves_it_open(shell: Up, capsys: pytest.CaptureFixture[str]) -> None:
    assert get_mesh_ip() == shell.address
    llm_streaming.connection.open_meshes.clear()
    with connect("embedded") as mesh:
        assert isinstance(mesh, RemoteMesh)
        assert [mesh.address, mesh.grpc_address, connect() is mesh] == [shell.address, shell.address, True]
        assert httpx.get(f"http://{mesh.metrics_address('api')}/metrics").status_code == 200
        mesh.apply(f"manifests/{OPENAI}.yaml")
        mesh.wait()
        mesh.delete(f"manifests/{OPENAI}.yaml")
        with pytest.raises(ManifestError, match=r"^expected a manifest of .* Model, but got v1 Pod$"):
            mesh.apply({"apiVersion": "v1", "kind": "Pod"})
        with pytest.raises(MeshError) as absent:
            mesh.metrics_address("absent")
        assert str(absent.value) == (
            "there is no server 'absent' on this mesh, only api, local: to add one, put its manifest into the folder "
            "of Server manifests and open the mesh again"
        )
    assert capsys.readouterr().out.splitlines() == [
        f"The embedded mesh is open at {shell.address}, kept open by `llm-streaming up`.",
        f"The embedded mesh is already open at {shell.address}, kept open by `llm-streaming up`.",
        f"model.mlops.seldon.io/{OPENAI} created",
        f"model.mlops.seldon.io/{OPENAI} condition met",
        f'model.mlops.seldon.io "{OPENAI}" deleted',
    ]
    assert mesh.closed
    with pytest.raises(MeshError, match=r"^the mesh is closed: connect again$"):
        mesh.wait()
    assert [server["metadata"]["name"] for server in RemoteMesh.at(shell.control).resources("Server")] == [
        "api",
        "local",
    ]


@pytest.fixture
def kept(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A mesh with a scripted model, open for other processes as `up` opens its mesh."""
    with MeshService(scripted.mesh) as service:
        monkeypatch.setenv(MESH_VARIABLE, str(service.path))
        yield scripted


def test_a_model_that_fails_to_load(kept: Scripted, capsys: pytest.CaptureFixture[str]) -> None:
    """`get` shows the reason before and after `wait` raises it, until the model is deleted."""
    (kept.mesh.models / "broken").mkdir()
    (kept.mesh.models / "broken" / "model-settings.json").write_text('{"implementation": "no_such_package.R"}')
    broken = Model(name="broken", storage_uri="models/broken", requirements=("scripted",)).as_dict()
    kept.mesh.apply(broken)
    assert wait_until(lambda: "ModelFailed" in str(kept.mesh.resources("Model")), timeout=60)
    capsys.readouterr()
    failed = r"model 'broken' failed to load: .*No module named 'no_such_package'.*\n"
    shown = rf"NAME     READY   MESSAGE\nbroken   False   ModelFailed: {failed}"
    assert main(["get", "models", "broken"]) == 0
    assert re.fullmatch(shown, capsys.readouterr().out)
    assert main(["wait", "broken"]) == 1
    assert re.fullmatch(rf"error: {failed}", capsys.readouterr().err)
    assert main(["get", "models", "broken"]) == 0
    assert re.fullmatch(shown, capsys.readouterr().out)
    kept.mesh.delete(broken)
    assert main(["get", "models", "broken"]) == 1


def test_a_question_can_come_through_a_pipe(kept: Scripted) -> None:
    kept.replies["Why?"] = streamed("Be", "cause.")

    def ask(question: str) -> tuple[int, str, str]:
        argv = [str(COMMAND), "chat", "scripted", "--system", "Be brief.", "--max-tokens", "5"]
        done = subprocess.run(argv, input=question, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert ask("Why?\n") == (0, "Because.\n", "")
    assert kept.last_request() == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert ask(" \n") == (
        2,
        "",
        "error: Invalid value: there is no question: give one as an argument or through a pipe (`llm-streaming chat "
        "--help` shows the usage)\n",
    )
    assert ask("What?") == (1, "", "error: no script for this\n")
