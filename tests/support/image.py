"""Builds a container image without a container engine, by the steps in the Dockerfile."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_streaming.paths import project_root
from tests.support import dockerfile

ROOT = project_root()
STAGES = dockerfile.read(ROOT / "Dockerfile")

# Messages of pip and uv without a network.
_UNREACHABLE = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|dns error|[Cc]onnect(ion)? error"
)


def unprivileged_python() -> str | None:
    """Return a Python that user 1000 may run; root's own Python often lies in root's home."""
    found = [sys.executable, *(shutil.which(f"python3.{minor}", path="/usr/local/bin:/usr/bin") for minor in (12, 11))]
    check = "import ensurepip, sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))"
    for python in filter(None, found):
        path = str(Path(python).resolve())
        with contextlib.suppress(OSError):
            if subprocess.run([path, "-c", check], **unprivileged()).returncode == 0:
                return path
    return None


def unprivileged() -> dict[str, Any]:
    """Return the options of `subprocess.Popen` for a process of user 1000, if this process is root's."""
    return {"user": 1000, "group": 1000, "extra_groups": [], "cwd": "/"} if os.getuid() == 0 else {}


class Build:
    """Runs the build's stages, with a folder in place of the image's root.

    Args:
        home: the folder.
        python: the Python of the base image.
    """

    def __init__(self, home: Path, python: str) -> None:
        self.home = home
        self.venv = home / "opt" / "venv"
        subprocess.run([python, "-m", "venv", str(home / "base")], check=True)
        self.context = home / "context"
        self.context.mkdir()
        for name in re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, self.context / name)

    def run(self, *names: str) -> None:
        """Run stages, each after those that it needs."""
        for name in names:
            stage, folder = STAGES[name], self._folder(name)
            if stage.base in STAGES:
                shutil.copytree(self._folder(stage.base), folder)
            else:
                folder.mkdir(parents=True)
            for word, rest in stage.steps:
                if word == "COPY":
                    self._copy(folder, *rest.split())
                elif word == "RUN":
                    self._shell(folder, rest)

    def python(self, code: str) -> str:
        """Run code in the Python of the image, and return what it prints."""
        python = [str(self.venv / "bin" / "python"), "-c", code]
        return subprocess.run(python, cwd=self.home, capture_output=True, text=True, check=True).stdout

    def _folder(self, stage: str) -> Path:
        return self.home / "src" / stage

    def _copy(self, folder: Path, *arguments: str) -> None:
        *options, source, target = arguments
        origin = self.context / source
        if options:
            origin = self._folder(options[0].removeprefix("--from=")) / source.removeprefix("/src/")
        if origin.is_dir():
            shutil.copytree(origin, folder / target, dirs_exist_ok=True)
        else:
            (folder / target).mkdir(exist_ok=True)
            shutil.copy(origin, folder / target)

    def _shell(self, folder: Path, script: str) -> None:
        place = {"PATH": f"{self.home / 'base' / 'bin'}:/usr/bin:/bin", "VIRTUAL_ENV": str(self.venv)}
        done = subprocess.run(
            ["sh", "-ec", script.replace("/opt/venv", str(self.venv))],
            cwd=folder,
            env={**os.environ, **place},
            capture_output=True,
            text=True,
        )
        if done.returncode and _UNREACHABLE.search(done.stderr):
            pytest.skip("the image's packages cannot be fetched: no package index can be reached")
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def home_of(build: Build) -> Path:
    """Return the home of the image's user, the only folder that it may write to."""
    home = build.home / "home"
    if not home.exists():
        home.mkdir()
        if os.getuid() == 0:
            os.chown(home, 1000, 1000)
    return home
