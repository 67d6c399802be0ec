"""The guides name folders, files and make targets that exist."""

import re
import subprocess
from pathlib import PurePath

import pytest

from llm_streaming.paths import project_root
from tests.support.documents import code_spans, makefile_targets

ROOT = project_root()
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
FOLDERS = {name.partition("/")[0] for name in TRACKED if "/" in name}
GUIDES = [name for name in TRACKED if re.fullmatch(r"(docs/)?\w+\.md", name)]


def test_readme_names_every_folder() -> None:
    table = (ROOT / "README.md").read_text().partition("## Folders")[2].partition("\n## ")[0]
    named = {name.partition("/")[0] for name in code_spans(table) if "/" in name}
    assert FOLDERS - named == set()


def test_the_architecture_page_names_every_part_of_the_package() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = {name.rstrip("/") for name in code_spans(page.partition("## Folders of the package")[2])}
    inside = (PurePath(name).relative_to("llm_streaming") for name in TRACKED if name.startswith("llm_streaming/"))
    parts = {path.parts[0] for path in inside if path.suffix == ".py" and path.name != "__init__.py"}
    assert parts - named == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_every_path_in_a_guide_exists(guide: str) -> None:
    named = code_spans((ROOT / guide).read_text())
    paths = [name for name in named if name.partition("/")[0] in FOLDERS and not re.search(r"[<…* ]", name)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_make_target_in_a_guide_exists(guide: str) -> None:
    text = (ROOT / guide).read_text()
    used = re.findall(r"(?:^\$ |`)make ([a-z-]+)", text, re.MULTILINE)
    assert [target for target in used if target not in makefile_targets()] == []
