"""Install the project into ``.venv``: what ``make setup`` runs, on a Python with nothing but its standard library.

Every package comes from ``requirements/all.lock``, at the version and with the hash that stand there; the small model
is one of them, as a wheel. uv keeps what it has downloaded, so that a second set-up takes seconds. With a folder of
wheels as its argument (see ``tools/offline_bundle.py``) it asks no network.
"""

import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "all.lock"
# With hashes of its own, because it is there before the lock can be used.
UV = ROOT / "requirements" / "uv.lock"

PYTHONS = ((3, 11), (3, 12))
MACHINES = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}


def main(wheels: str | None = None) -> None:
    """Check the machine, then make the environment, where `wheels` is given from that folder alone."""
    check_machine()
    target = ROOT / ".venv"
    python = target / "bin" / "python"
    if not works(python):
        shutil.rmtree(target, ignore_errors=True)
        print(f"Making {target.name} with Python {platform.python_version()}", flush=True)
        make_environment(target)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    source = ["--no-index", "--find-links", wheels] if wheels else []
    run(*pip, "install", "--quiet", *source, "--require-hashes", "--requirement", str(UV))
    uv = [str(python), "-m", "uv", "pip"]
    run(*uv, "install", "--python", str(python), *source, "--require-hashes", "--no-deps", "--requirement", str(LOCK))
    run(
        *uv, "install", "--python", str(python), "--no-deps", "--no-build-isolation", "--quiet", "--editable", str(ROOT)
    )


def check_machine() -> None:
    """Say in one sentence what is missing, if this machine or this Python cannot run the project."""
    machine = (platform.system(), platform.machine())
    if machine not in MACHINES:
        advice = " (on Windows, use WSL)" if machine[0] == "Windows" else ""
        found = " ".join(machine)
        sys.exit(f"{found} is not supported: use Linux (x86-64, arm64) or macOS on Apple silicon{advice}.")
    if sys.version_info[:2] not in PYTHONS:
        found = platform.python_version()
        sys.exit(f"Python {found} is not supported: install 3.11 or 3.12, or name one: make setup PYTHON=python3.12")


def works(python: Path) -> bool:
    """Whether an environment is there, is of a Python that fits, and has pip."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] not in {PYTHONS})"
    return python.exists() and subprocess.run([str(python), "-c", check], capture_output=True).returncode == 0


def make_environment(target: Path) -> None:
    """Make a virtual environment with pip."""
    try:
        venv.create(target, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, ImportError):
        shutil.rmtree(target, ignore_errors=True)
        sys.exit("This Python cannot make virtual environments: install its venv package (on Debian: python3-venv).")


def run(*command: str) -> None:
    """Run a command, and end with its status if it fails: it has said why."""
    status = subprocess.run(command).returncode
    if status:
        sys.exit(f"The set-up stopped: {' '.join(command[:4])} … ended with status {status}.")


if __name__ == "__main__":
    main(*sys.argv[1:2])
