"""Relative paths name the same file in every folder of the project, and the package imports fast."""

from pathlib import Path

import pytest

from llm_streaming.errors import ManifestError
from llm_streaming.paths import in_project, project_root
from tests.support.processes import modules_imported_by


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("models", "manifests", "notebooks/deep"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("below", [".", "notebooks", "notebooks/deep", "models"])
def test_paths_resolve_against_the_nearest_folder_that_holds_both(
    project: Path, below: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / below)
    assert in_project("manifests/x.yaml") == project / "manifests/x.yaml"


def test_an_absolute_path_stays(project: Path) -> None:
    assert in_project(project / "x") == project / "x"


def test_outside_a_project_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError) as refused:
        project_root()
    assert str(refused.value) == (
        f"neither {tmp_path} nor a folder above it contains both models/ and manifests/: change to the project's folder"
    )


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {"mlserver", "vllm", "xllamacpp", "kubernetes", "grpc", "openai", "IPython", "pandas", "numpy"}
    found = modules_imported_by("import llm_streaming; llm_streaming.connect; llm_streaming.ChatClient")
    assert heavy & found == set()
