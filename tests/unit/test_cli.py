"""The command line without an embedded mesh: usage, manifests, help, and kubectl's verbs on a small API server."""

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.manifests import to_yaml
from llm_streaming.paths import project_root
from tests.support.api_server import ApiServer
from tests.support.cluster import HERE, READY, api_server, model, server, shows, unmet
from tests.support.command_line import COMMAND, Run, runner
from tests.support.processes import PipedProcess, modules_imported_by

api = pytest.fixture(api_server)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


@pytest.fixture
def cluster(api: ApiServer, run: Run) -> Run:
    return lambda *arguments: run(*arguments, "--target", "kubernetes")


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "m.yaml"
    path.write_text("\n---\n".join(to_yaml(each) for each in (server("api", "openai"), model())))
    return str(path)


def usage(words: str, command: str) -> tuple[int, str, str]:
    return 2, "", f"error: {words} (`llm-streaming{command} --help` shows the usage)\n"


@pytest.mark.parametrize(
    ("arguments", "words", "command"),
    [
        ("aply", "No such command 'aply'. Did you mean 'apply'?", ""),
        ("apply", "Missing option '--filename' / '-f'.", " apply"),
        ("apply -f x -n a", "Invalid value: --namespace and --context require --target kubernetes", " apply"),
        (
            "wait --timeout soon",
            "Invalid value: --timeout needs a duration such as 30s, 10m or 1h, but got 'soon'",
            " wait",
        ),
        ("chat", "Missing argument 'MODEL'.", " chat"),
        ("get --all", "No such option: --all", " get"),
        ("manifest server s", "Missing option '--runtime'. Choose from: api, local", " manifest server"),
        (
            "manifest model m --storage-uri u --parameter p",
            "Invalid value: expected NAME=VALUE, but got 'p'",
            " manifest model",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    run: Run, arguments: str, words: str, command: str, manifest: str
) -> None:
    assert run(*arguments.replace("-f x", f"-f {manifest}").split()) == usage(words, command)


def test_without_a_mesh_it_says_how_to_open_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MESH_VARIABLE, raising=False)
    assert run("get") == (
        1,
        "",
        "error: no embedded mesh is open for this shell: run `llm-streaming up` in another shell, and copy the "
        f"line `export {MESH_VARIABLE}=…` from there to this one; for a cluster, add --target kubernetes\n",
    )


def test_a_file_is_found_from_here_and_from_the_project(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv(MESH_VARIABLE, raising=False)
    monkeypatch.chdir(project_root() / "notebooks")
    assert run("apply", "-f", "manifests/servers")[2].startswith("error: no embedded mesh is open for this shell")
    monkeypatch.chdir(tmp_path)
    assert run("apply", "-f", "m.yaml") == (
        1,
        "",
        f"error: cannot read the manifest {tmp_path}/m.yaml: No such file or directory\n",
    )
    assert run("apply", "-f", ".") == (1, "", "error: the folder . contains no .yaml file\n")
    nothing = "error: -f needs a file, a folder or -, but got an empty name: is a shell variable unset?\n"
    assert run("delete", "-f", "") == (1, "", nothing)


def test_all_verbs_on_a_cluster(cluster: Run, api: ApiServer, manifest: str) -> None:
    assert cluster("get") == cluster("get", "model") == (0, "", "No models found.\n")
    assert cluster("apply", "-f", manifest) == (
        0,
        "server.mlops.seldon.io/api created\nmodel.mlops.seldon.io/m created\n",
        "",
    )
    assert cluster("apply", "-f", manifest)[1] == (
        "server.mlops.seldon.io/api unchanged\nmodel.mlops.seldon.io/m unchanged\n"
    )
    assert cluster("get") == (0, "NAME   READY   MESSAGE\nm      False\n", "")
    assert cluster("wait", "m", "--timeout", "0s") == (
        1,
        "",
        f"error: model 'm' is not ready after 0 s: wait longer; {shows('describe model m')} shows more\n",
    )
    api.set_status("m", *unmet("ScheduleFailed", "no server fits"))
    assert cluster("get")[1] == "NAME   READY   MESSAGE\nm      False   ScheduleFailed: no server fits\n"
    assert cluster("wait") == (
        1,
        "model.mlops.seldon.io/m ScheduleFailed: no server fits\n",
        "error: model 'm' has failed (ScheduleFailed: no server fits) and stays on the cluster: "
        f"{shows('describe model m')} shows more\n",
    )
    api.set_status("m", *READY)
    assert cluster("wait", "--timeout", "30s") == (0, "model.mlops.seldon.io/m condition met\n", "")
    assert cluster("wait", "model.mlops.seldon.io/m") == cluster("wait", "model/m") == cluster("wait", "m")
    assert cluster("get", "servers")[1] == "NAME   READY   CAPABILITIES\napi    False   openai\n"
    assert cluster("get", "models", "-o", "name")[1] == "model.mlops.seldon.io/m\n"
    assert cluster("get", "model", "m") == cluster("get", "models", "m")
    api.add("pods", "seldon", "api-0", {"metadata": {"labels": {"seldon-server-name": "api"}}})
    api.logs = {"api-0": "loaded m"}
    assert cluster("logs", "m") == (0, "loaded m\n", "")
    assert cluster("delete", "-f", manifest) == (
        0,
        'server.mlops.seldon.io "api" deleted\nmodel.mlops.seldon.io "m" deleted\n',
        "",
    )


def test_a_failed_deletion_does_not_stop_the_others(cluster: Run, api: ApiServer, manifest: str) -> None:
    cluster("apply", "-f", manifest)
    api.remove(("servers", "seldon", "api"))
    assert cluster("delete", "-f", manifest) == (
        1,
        'model.mlops.seldon.io "m" deleted\n',
        f"error: server 'api' is not deployed in {HERE}: apply its manifest first; {shows('get servers')} lists "
        "those that are\n",
    )


def test_ctrl_c_while_it_waits_is_status_130(cluster: Run, api: ApiServer, manifest: str) -> None:
    cluster("apply", "-f", manifest)
    waiting = threading.Event()
    api.on_watch = lambda _: waiting.set()
    with PipedProcess(COMMAND, "wait", "m", "--target", "kubernetes", stderr=subprocess.PIPE) as process:
        assert waiting.wait(timeout=60)
        process.send_signal(signal.SIGINT)
        assert (*process.communicate(timeout=60), process.returncode) == ("", "", 130)


def test_the_options_namespace_and_context(api: ApiServer, run: Run) -> None:
    assert run("get", "--target", "kubernetes", "--context", "other") == (
        1,
        "",
        f"error: the kubeconfig {api.kubeconfig} has no context 'other' (it has test): choose another, or set "
        "the current one with `kubectl config use-context`\n",
    )
    api.add("namespaces", None, "elsewhere", {})
    api.add("models", "elsewhere", "there", model("there"))
    assert run("get", "--target", "kubernetes", "-n", "elsewhere", "-o", "name") == (
        0,
        "model.mlops.seldon.io/there\n",
        "",
    )


def test_a_manifest_is_printed(run: Run) -> None:
    asked = "model m --storage-uri gs://b/models/m --requirement openai --memory 2Gi --parameter keep_alive=1"
    assert run("manifest", *asked.split()) == (
        0,
        "apiVersion: mlops.seldon.io/v1alpha1\nkind: Model\nmetadata:\n  name: m\nspec:\n"
        '  storageUri: "gs://b/models/m"\n  requirements:\n  - openai\n  memory: 2Gi\n'
        '  parameters:\n  - name: keep_alive\n    value: "1"\n',
        "",
    )
    asked = "server s --runtime local --image example.com/local:1 --gpu 1 --replicas 2 --secret hf --env A=b --cpu 2"
    assert run("manifest", *asked.split(), "--toleration", "nvidia.com/gpu") == (
        0,
        "apiVersion: mlops.seldon.io/v1alpha1\nkind: Server\nmetadata:\n  name: s\nspec:\n  serverConfig: mlserver\n"
        "  capabilities:\n  - llm-local\n  replicas: 2\n  podSpec:\n    containers:\n    - name: mlserver\n"
        '      image: "example.com/local:1"\n      env:\n'
        '      - name: MLSERVER_PARALLEL_WORKERS\n        value: "0"\n'
        '      - name: MLSERVER_GZIP_ENABLED\n        value: "false"\n'
        "      - name: A\n        value: b\n"
        "      - name: HF_TOKEN\n        valueFrom:\n"
        "          secretKeyRef:\n            name: hf\n            key: HF_TOKEN\n"
        '      resources:\n        requests:\n          cpu: "2"\n        limits:\n          nvidia.com/gpu: 1\n'
        "    tolerations:\n    - key: nvidia.com/gpu\n      operator: Exists\n",
        "",
    )
    assert run("manifest", "model", "M", "--storage-uri", "u")[0] == 1


def test_an_unset_variable_is_refused_as_a_secret_or_a_taint(run: Run) -> None:
    assert run("manifest", "server", "s", "--runtime", "api", "--secret", "") == (
        1,
        "",
        "error: Server 's': spec.podSpec.containers[0].env[2].valueFrom.secretKeyRef.name must be 1 to 253 lower-case "
        "letters, digits, '-' and '.', with a letter or a digit at the start, at the end and beside each '.', but got "
        "''\n",
    )
    assert run("manifest", "server", "s", "--runtime", "api", "--toleration", "") == usage(
        "Invalid value: --toleration needs the key of a taint, but got an empty one", " manifest server"
    )


def test_help_is_there_for_each_command(run: Run) -> None:
    status, out, err = run()
    assert (status, err, out) == (0, "", run("--help")[1])
    commands = re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE)
    assert commands == ["up", "apply", "wait", "get", "delete", "logs", "reset", "chat", "doctor", "manifest"]
    for command in commands:
        status, out, err = run(command, "--help")
        assert (status, err, out.startswith(f"Usage: llm-streaming {command} [OPTIONS]")) == (0, "", True)


def test_without_typer_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    assert run("get") == (
        1,
        "",
        "error: the command line needs the package typer, which is not installed: run `make setup`, or `pip install "
        "'llm-streaming[cli]'`\n",
    )


def test_help_imports_no_client_and_no_server() -> None:
    imported = {name.partition(".")[0] for name in modules_imported_by("import llm_streaming.cli.app")}
    assert {"typer", "llm_streaming"} <= imported
    assert not {"httpx", "kubernetes", "mlserver", "openai", "grpc", "rich", "xllamacpp"} & imported


@pytest.mark.parametrize("arguments", [["--help"], ["manifest", "server", "s", "--runtime", "api"]])
def test_a_pipe_that_closes_early_is_no_traceback(arguments: list[str]) -> None:
    with PipedProcess(COMMAND, *arguments, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
