"""`make reset` restores the committed notebooks and keeps copies of changed ones."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llm_streaming.paths import project_root


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with two notebooks and the script."""
    (tmp_path / "tools").mkdir()
    shutil.copy(project_root() / "tools" / "reset_notebooks.py", tmp_path / "tools")
    (tmp_path / "notebooks").mkdir()
    for name in ("1.ipynb", "2.ipynb"):
        (tmp_path / "notebooks" / name).write_text("as committed")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "--quiet"], ["add", "notebooks"], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], check=True)
    return tmp_path


def reset(folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, folder / "tools" / "reset_notebooks.py"], capture_output=True, text=True, cwd="/"
    )
    return done.returncode, done.stdout, done.stderr


def test_notebooks_are_restored_and_edited_ones_copied(clone: Path) -> None:
    notebooks = clone / "notebooks"
    (notebooks / "1.ipynb").write_text("edited")
    (notebooks / "2.ipynb").unlink()
    (notebooks / "own.ipynb").write_text("my own")
    status, out, _ = reset(clone)
    (kept,) = (clone / "build" / "reset").iterdir()
    assert (status, out) == (
        0,
        "Restored notebooks/1.ipynb.\nRestored notebooks/2.ipynb.\n"
        f"The changed notebooks were copied to build/reset/{kept.name}.\n",
    )
    assert {file.name: file.read_text() for file in notebooks.iterdir()} == {
        "1.ipynb": "as committed",
        "2.ipynb": "as committed",
        "own.ipynb": "my own",
    }
    copies = [file for file in kept.rglob("*") if file.is_file()]
    assert [(str(file.relative_to(kept)), file.read_text()) for file in copies] == [("notebooks/1.ipynb", "edited")]
    assert reset(clone) == (0, "No notebook differs from its committed version.\n", "")


def test_staged_changes_are_undone_too(clone: Path) -> None:
    (clone / "notebooks" / "1.ipynb").write_text("staged")
    subprocess.run(["git", "-C", clone, "add", "notebooks"], check=True)
    assert reset(clone)[0] == 0
    assert (clone / "notebooks" / "1.ipynb").read_text() == "as committed"


def test_without_git_no_file_changes(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    (clone / "notebooks" / "1.ipynb").write_text("edited")
    status, out, err = reset(clone)
    assert (status, out, err.splitlines()[-1]) == (
        1,
        "",
        "The notebooks were not restored: this works only in a clone made by git.",
    )
    assert (clone / "notebooks" / "1.ipynb").read_text() == "edited"
