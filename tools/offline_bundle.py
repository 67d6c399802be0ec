"""Put everything that a set-up without a network needs into ``build/offline-bundle``: ``make offline-bundle``.

The folder is meant for a USB stick. It contains:

- the committed state of the repository, as a git bundle,
- the wheels of every package in the lock for each requested platform, checked against the lock's hashes, and
- a script that installs from both.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools.install import LOCK, ROOT, UV_LOCK, run

BUNDLE = ROOT / "build" / "offline-bundle"
FAILURE = "The bundle is not complete"
MACOS = "15.0"


@dataclass(frozen=True)
class Platform:
    """A platform that wheels can be fetched for.

    Args:
        uv_name: uv's name for the platform.
        tags: the platform tags that its wheels may have.
        pythons: the Python versions for which every package has a wheel.
    """

    uv_name: str
    tags: list[str]
    pythons: tuple[str, ...] = ("3.11", "3.12")


def manylinux(machine: str) -> list[str]:
    """Return the tags of wheels that run with glibc 2.31, the oldest glibc that Envoy's wheel supports."""
    return [f"manylinux_2_{minor}_{machine}" for minor in range(5, 32)]


PLATFORMS = {
    "linux-x86_64": Platform("x86_64-manylinux_2_31", manylinux("x86_64")),
    "linux-arm64": Platform("aarch64-manylinux_2_31", manylinux("aarch64")),
    # Envoy's wheel needs macOS 15, and gevent has no wheel for macOS and Python 3.11.
    "macos-arm64": Platform("aarch64-apple-darwin", ["macosx_15_0_arm64"], ("3.12",)),
}
THIS_MACHINE = {
    ("Linux", "x86_64"): "linux-x86_64",
    ("Linux", "aarch64"): "linux-arm64",
    ("Darwin", "arm64"): "macos-arm64",
}

INSTALL = """\
#!/bin/sh
# Install the tutorial from this folder, without a network: sh install.sh [FOLDER]
# FOLDER is ./llm-streaming by default. The script needs git, make and Python 3.11 or 3.12.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-llm-streaming}
git clone --quiet "$here/llm-streaming.bundle" "$folder"
make -C "$folder" setup WHEELS="$here/wheels"
echo "Done. Next: cd $folder && make lab"
"""


def main() -> None:
    """Read the command line and create the folder, replacing an older one."""
    parser = argparse.ArgumentParser(prog="python -m tools.offline_bundle", description="Make build/offline-bundle.")
    known = ", ".join(PLATFORMS)
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"one of {known}; by default this machine's")
    names = parser.parse_args().platforms or [THIS_MACHINE[platform.system(), platform.machine()]]
    if unknown := set(names) - PLATFORMS.keys():
        sys.exit(f"There is no platform {', '.join(sorted(unknown))}: choose from {known}.")
    shutil.rmtree(BUNDLE, ignore_errors=True)
    wheels = BUNDLE / "wheels"
    wheels.mkdir(parents=True)
    bundle_repository()
    for name in names:
        for python in PLATFORMS[name].pythons:
            print(f"Fetching the wheels for {name}, Python {python}", flush=True)
            fetch_wheels(PLATFORMS[name], python, wheels)
    (BUNDLE / "install.sh").write_text(INSTALL)
    size = sum(file.stat().st_size for file in BUNDLE.rglob("*") if file.is_file())
    print(f"{BUNDLE.relative_to(ROOT)} is ready ({size / 1e6:.0f} MB). On the other machine, run its install.sh.")


def bundle_repository() -> None:
    """Write the committed state of the repository, and the checked-out branch if there is one, as a git bundle."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "symbolic-ref", "--quiet", "HEAD"], capture_output=True, text=True)
    branch = head.stdout.split()  # empty if a commit is checked out instead of a branch
    run(*git, "bundle", "create", "--quiet", str(BUNDLE / "llm-streaming.bundle"), "HEAD", *branch, failure=FAILURE)
    if subprocess.run([*git, "diff", "--quiet", "HEAD"]).returncode:
        print("The bundle does not contain your uncommitted changes.")


def fetch_wheels(target: Platform, python: str, folder: Path) -> None:
    """Download the wheels of every package in the lock for a platform and a Python version.

    uv selects the packages that the platform needs, because pip can select packages only for its own platform.
    """
    with tempfile.TemporaryDirectory() as temporary:
        chosen = str(Path(temporary) / "chosen.txt")
        run(
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes"),
            *("--python-platform", target.uv_name, "--python-version", python, "--output-file", chosen),
            *(str(LOCK), str(UV_LOCK)),
            failure=FAILURE,
            variables={"MACOSX_DEPLOYMENT_TARGET": MACOS},
        )
        run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "--requirement", chosen, "--dest", str(folder)),
            *("--implementation", "cp", "--python-version", python),
            *(f"--abi={abi}" for abi in ("cp" + python.replace(".", ""), "abi3", "none")),
            *(f"--platform={tag}" for tag in target.tags),
            failure=FAILURE,
        )


if __name__ == "__main__":
    main()
