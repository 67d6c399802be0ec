"""`llm-streaming doctor`: the states and texts of its checks."""

from pathlib import Path

import pytest

from llm_streaming.engines.llamacpp.model_file import small_model_path
from tests.support.api_server import TOKEN, ApiServer
from tests.support.cluster import HERE, api_server, balanced
from tests.support.command_line import Run, checks_in, runner

api = pytest.fixture(api_server)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    return runner(capfd)


def doctor(run: Run, *arguments: str) -> tuple[int, dict[str, str]]:
    """Return the doctor's exit status, and the state and text of each check by its name."""
    status, out, err = run("doctor", *arguments)
    assert err == ""
    return status, checks_in(out)


def test_the_doctor_on_a_working_cluster(api: ApiServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-that-nobody-may-see")
    api.add("services", "seldon", "seldon-mesh", balanced(ip="127.0.0.1", port=api.http.server_port))
    status, found = doctor(run, "--target", "kubernetes")
    names = "Python, packages, model file, Envoy, ports, mesh, keys, client, kubeconfig, CRDs, service"
    assert (status, ", ".join(found)) == (0, names)
    assert (found["keys"], found["kubeconfig"], found["CRDs"], found["service"]) == (
        "ok: OPENAI_API_KEY is set",
        f"ok: {HERE}",
        "ok: Seldon Core 2 is installed, with Models of mlops.seldon.io/v1alpha1",
        f"ok: seldon-mesh answers at 127.0.0.1:{api.http.server_port}",
    )
    assert not {"secret-that-nobody-may-see", TOKEN} & set(" ".join(found.values()).split())


def test_the_doctor_skips_the_checks_after_a_failed_one(api: ApiServer, run: Run) -> None:
    api.has_seldon = False
    status, found = doctor(run, "--target", "kubernetes")
    assert (status, found["service"]) == (1, "-: not checked until CRDs is ok")
    assert found["CRDs"].startswith("wrong: Seldon Core 2 is not installed on this cluster")


def test_a_problem_that_the_target_does_not_have_is_no_failure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    status, found = doctor(run)
    assert (status, found["kubeconfig"][0], found["CRDs"], found["service"]) == (
        0,
        "-",
        "-: not checked until kubeconfig is ok",
        "-: not checked until CRDs is ok",
    )
    monkeypatch.setenv("LLM_STREAMING_MODEL", str(tmp_path / "none.gguf"))
    monkeypatch.setenv("OPENAI_API_KEY", "key-with-a-line-break\n")
    status, found = doctor(run)
    assert (status, found["model file"], found["keys"]) == (
        1,
        f"wrong: LLM_STREAMING_MODEL names {tmp_path}/none.gguf, and there is no such file: correct it or unset it.",
        "wrong: OPENAI_API_KEY has blanks or line breaks around it: set it again without them",
    )
    assert doctor(run, "--target", "kubernetes")[1]["model file"].startswith("-: LLM_STREAMING_MODEL names")


def test_the_doctor_finds_a_model_file_that_is_cut_off(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(small_model_path().read_bytes()[:1_000_000])
    monkeypatch.setenv("LLM_STREAMING_MODEL", str(half))
    status, found = doctor(run)
    assert (status, found["model file"]) == (
        1,
        f"wrong: llama.cpp cannot load {half}: the model must be a complete .gguf file.",
    )
