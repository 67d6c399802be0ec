"""A whole notebook and the command line on a small API server, whose Models run on an embedded mesh.

A toy controller deploys the Models on the embedded mesh, and the service ``seldon-mesh`` leads to it.
"""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from llm_streaming.execute import execute
from llm_streaming.manifests import Model, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.paths import project_root
from tests.conftest import CPU
from tests.support.api_server import ApiServer
from tests.support.cluster import HERE, api_server, shows
from tests.support.command_line import runner
from tests.support.toy_controller import ToyController

api = pytest.fixture(api_server)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMesh]:
    """An embedded mesh with only the Server for local models."""
    servers = tmp_path_factory.mktemp("servers")
    (servers / "local.yaml").write_text((project_root() / "manifests/servers/local.yaml").read_text())
    with EmbeddedMesh(servers=servers) as mesh:
        yield mesh


@pytest.fixture
def cluster(api: ApiServer, own: EmbeddedMesh) -> Iterator[ApiServer]:
    with ToyController(api, own):
        yield api


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream").splitlines()


def test_a_whole_notebook_runs_on_a_cluster(cluster: ApiServer, own: EmbeddedMesh, tmp_path: Path) -> None:
    output = tmp_path / "executed.ipynb"
    results = execute(project_root() / "notebooks" / "02-local-streaming.ipynb", output, {"target": "kubernetes"})
    assert set(results) == {"seconds_to_first_token", "tokens_per_second", "tokens_of_the_first_answer"}
    assert results["tokens_of_the_first_answer"] > 20
    lines = printed(nbformat.read(output, as_version=4))
    told = [line for line in lines if line.startswith(("The kubernetes mesh", "model.mlops", "http://", "different"))]
    assert told == [
        f"The kubernetes mesh is open in {HERE}.",
        f"model.mlops.seldon.io/{CPU} created",
        f"model.mlops.seldon.io/{CPU} condition met",
        f"http://{own.address}/v2/models/{CPU}/infer_stream",
        "different answers: 1",
        f'model.mlops.seldon.io "{CPU}" deleted',
    ]
    assert [line.split(":")[0].strip() for line in lines if "first words after" in line] == ["infer_stream", "infer"]
    assert [key for key in cluster.objects if key[0] == "models"] == []
    assert own.resources("Model") == []


def test_the_command_line_does_the_same(
    cluster: ApiServer, own: EmbeddedMesh, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = runner(capfd, "--target", "kubernetes")
    file = f"manifests/{CPU}.yaml"
    assert run("apply", "-f", file) == (0, f"model.mlops.seldon.io/{CPU} created\n", "")
    assert run("wait", CPU) == (0, f"model.mlops.seldon.io/{CPU} condition met\n", "")
    assert run("doctor")[1].splitlines()[-1] == f"ok     service     seldon-mesh answers at {own.address}"
    status, answer, error = run("chat", CPU, "Say something.", "--max-tokens", "8")
    assert (status, error, bool(answer.strip())) == (0, "", True)
    assert run("delete", "-f", file) == (0, f'model.mlops.seldon.io "{CPU}" deleted\n', "")

    misplaced = tmp_path / "misplaced.yaml"
    misplaced.write_text(to_yaml(Model(name="misplaced", storage_uri="models/x", requirements=("gpu",)).as_dict()))
    assert run("apply", "-f", str(misplaced))[0] == 0
    why = (
        "ScheduleFailed: model 'misplaced' requires gpu, and no server of this mesh fits: local is capable of llm-local"
    )
    assert run("wait", "misplaced") == (
        1,
        f"model.mlops.seldon.io/misplaced {why}\n",
        f"error: model 'misplaced' has failed ({why}) and stays on the cluster: "
        f"{shows('describe model misplaced')} shows more\n",
    )
    assert run("delete", "-f", str(misplaced))[0] == 0
