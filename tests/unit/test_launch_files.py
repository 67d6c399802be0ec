"""The start files of Binder, dev containers, Colab and the code host's workflow agree with the project."""

import json
import re
import stat
from typing import Any

import pytest
import yaml

from llm_streaming.paths import project_root
from tests.support.documents import makefile_targets

ROOT = project_root()


def make_targets(text: str) -> list[str]:
    return re.findall(r"\bmake\W+([a-z-]+)", text)


@pytest.fixture
def container() -> dict[str, Any]:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    parsed: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return parsed


def test_binder_has_python_and_make_from_conda() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == ["python=3.12", "pip", "make"]


def test_binder_runs_the_set_up() -> None:
    script = ROOT / "postBuild"
    assert make_targets(script.read_text()) == ["setup"]
    assert script.stat().st_mode & stat.S_IXUSR


def test_a_container_is_set_up_by_a_target_of_the_makefile(container: dict[str, Any]) -> None:
    assert make_targets(container["postCreateCommand"]) == ["setup"]
    assert "setup" in makefile_targets()


def test_a_container_has_a_python_that_the_project_supports(container: dict[str, Any]) -> None:
    assert re.match(r"python:3\.1[12]-", container["image"])


def test_a_container_forwards_no_port(container: dict[str, Any]) -> None:
    assert container["otherPortsAttributes"] == {"onAutoForward": "ignore"}
    assert not container.keys() & {"forwardPorts", "portsAttributes", "appPort"}


def test_a_container_opens_existing_files(container: dict[str, Any]) -> None:
    assert [
        name for name in container["customizations"]["codespaces"]["openFiles"] if not (ROOT / name).is_file()
    ] == []


def test_colab_runs_the_existing_tool() -> None:
    cells = json.loads((ROOT / "docs/colab.ipynb").read_text())["cells"]
    first = "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "code"))
    (tool,) = re.findall(r"^%run ~/llm-streaming/(\S+)$", first, re.MULTILINE)
    assert f'HERE = "{tool}"' in (ROOT / tool).read_text()
    assert 'run("make", "setup"' in (ROOT / tool).read_text()


def test_the_page_opens_existing_files() -> None:
    page = (ROOT / "docs/cloud.md").read_text()
    opened = re.findall(r"(?:lab/tree|blob/HEAD)/(\S+)", page)
    assert [(name, (ROOT / name).is_file()) for name in opened] == [
        ("notebooks/01-openai-streaming.ipynb", True),
        ("docs/colab.ipynb", True),
    ]


@pytest.fixture
def jobs() -> dict[str, Any]:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["permissions"] == {}
    return workflow["jobs"]


def test_the_workflow_runs_the_checks_of_a_fresh_clone(jobs: dict[str, Any]) -> None:
    steps = jobs["checks"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR
    assert [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")] == ["3.12"]


def test_the_workflow_publishes_what_make_docs_builds_after_all_checks(jobs: dict[str, Any]) -> None:
    (kept,) = [step for step in jobs["checks"]["steps"] if "upload-pages" in step.get("uses", "")]
    assert kept["with"]["path"] in (ROOT / "Makefile").read_text().partition("\ndocs:")[2].partition("\n\n")[0]
    assert "make docs" in (ROOT / ".ci/run").read_text()
    assert (jobs["publish"]["needs"], "refs/heads/main" in jobs["publish"]["if"]) == ("checks", True)


def test_each_job_of_the_workflow_has_no_more_permissions_than_it_needs(jobs: dict[str, Any]) -> None:
    assert {name: job["permissions"] for name, job in jobs.items()} == {
        "checks": {"contents": "read"},
        "publish": {"pages": "write", "id-token": "write"},
    }


def test_the_actions_of_the_workflow_are_pinned_to_commits(jobs: dict[str, Any]) -> None:
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)] == []
