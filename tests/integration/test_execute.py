"""Executing notebooks as `make demo` does: parameters, failures, and the end of all processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

from llm_streaming.execute import main
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.notebook import recorded
from llm_streaming.paths import project_root
from tests.support.processes import PipedProcess, processes_in


def notebook_of(folder: Path, *sources: str) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "some.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    return path


def execute(notebook: Path, *arguments: str) -> tuple[int, nbformat.NotebookNode | None]:
    output = notebook.parent / "build"
    status = main([str(notebook), "-o", str(output), *arguments])
    executed = output / notebook.name
    return status, nbformat.read(executed, as_version=4) if executed.exists() else None


def test_streams_are_merged_and_results_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = notebook_of(
        tmp_path,
        "word = 'a'",
        "for _ in range(3):\n    print(word, end='', flush=True)",
        "from llm_streaming.notebook import record\nrecord(words=3, word=word)",
    )
    status, executed = execute(notebook, "-p", "word", "b")
    output = tmp_path / "build" / "some.ipynb"
    assert status == 0
    assert executed is not None
    assert capsys.readouterr().out == f"{notebook} -> {output}\n  words: 3\n  word: b\n"
    printed = [cell.outputs for cell in executed.cells if "range" in cell.source]
    assert printed == [[{"name": "stdout", "output_type": "stream", "text": "bbb"}]]
    assert recorded(executed) == {"words": 3, "word": "b"}


def test_an_unknown_parameter_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = notebook_of(tmp_path, "word = 'a'\nother = 1")
    assert execute(notebook, "-p", "wrod", "b") == (1, None)
    assert capsys.readouterr().err == f"{notebook} has no parameter wrod, only word, other\n"


def test_a_cell_that_fails_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = notebook_of(
        tmp_path,
        "word = 'a'",
        "from llm_streaming.errors import MeshError\nraise MeshError('the mesh is closed: connect again')",
        "print('never')",
    )
    status, executed = execute(notebook)
    assert status == 1
    assert executed is not None
    assert f"{notebook}: cell 2 failed: MeshError: the mesh is closed: connect again\n" in capsys.readouterr().err
    assert [
        output for cell in executed.cells for output in cell.get("outputs", ()) if output.output_type == "error"
    ] == [
        {
            "output_type": "error",
            "ename": "MeshError",
            "evalue": "the mesh is closed: connect again",
            "traceback": ["MeshError: the mesh is closed: connect again"],
        }
    ]


def test_a_kernel_that_is_killed_takes_its_mesh_along(tmp_path: Path) -> None:
    (tmp_path / "signs").mkdir()
    notebook = notebook_of(
        tmp_path,
        "signs = ''",
        f"import os\nos.chdir({str(project_root())!r})\nfrom llm_streaming import connect\nmesh = connect()",
        "from pathlib import Path\nhome = mesh.home\n"
        "(Path(signs) / 'draft').write_text(f'{os.getpid()} {home}')\n"
        "(Path(signs) / 'draft').rename(Path(signs) / 'open')",
        "import threading\nthreading.Event().wait()",
    )
    sign = tmp_path / "signs" / "open"
    arguments = [str(notebook), "-o", str(tmp_path / "build"), "-p", "signs", str(sign.parent)]
    with PipedProcess(sys.executable, "-m", "llm_streaming.execute", *arguments, stderr=subprocess.PIPE) as run:
        assert wait_until(sign.exists, timeout=60)
        kernel, home = sign.read_text().split()
        mesh = processes_in(Path(home))
        assert len(mesh) >= 3
        os.kill(int(kernel), signal.SIGKILL)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert f"{notebook}: Kernel died" in said
    assert psutil.wait_procs(mesh, timeout=60)[1] == []
    assert wait_until(lambda: not Path(home).exists(), timeout=60)
