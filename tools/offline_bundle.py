"""Put everything for a set-up without a network into one folder: what ``make offline-bundle`` runs.

The folder, ``build/offline-bundle``, goes onto a USB stick. It holds the repository as it is committed (a git bundle),
a wheel of every package of the lock for each platform asked for, with the hash that stands in the lock, and a script
that installs from both.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "offline-bundle"
LOCKS = [str(ROOT / "requirements" / name) for name in ("all.lock", "uv.lock")]

# Of each platform: uv's name for it, the tags its wheels may have, and the Pythons for which there is a wheel of every
# package. Envoy's want glibc 2.31, or macOS 15; gevent has none for macOS and Python 3.11.
GLIBC = range(5, 32)
PYTHONS = ("3.11", "3.12")
PLATFORMS = {
    "linux-x86_64": ("x86_64-manylinux_2_31", [f"manylinux_2_{minor}_x86_64" for minor in GLIBC], PYTHONS),
    "linux-arm64": ("aarch64-manylinux_2_31", [f"manylinux_2_{minor}_aarch64" for minor in GLIBC], PYTHONS),
    "macos-arm64": ("aarch64-apple-darwin", ["macosx_15_0_arm64"], PYTHONS[1:]),
}
MACOS = "15.0"
HERE = {("Linux", "x86_64"): "linux-x86_64", ("Linux", "aarch64"): "linux-arm64", ("Darwin", "arm64"): "macos-arm64"}

INSTALL = """\
#!/bin/sh
# Installs the tutorial from this folder, without a network: sh install.sh [FOLDER], by default ./llm-streaming.
# It needs git, make and Python 3.11 or 3.12.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-llm-streaming}
git clone --quiet "$here/llm-streaming.bundle" "$folder"
make -C "$folder" setup WHEELS="$here/wheels"
echo "Done. Next: cd $folder && make lab"
"""


def main() -> None:
    """Read the command line, and make the folder anew."""
    parser = argparse.ArgumentParser(description="Make build/offline-bundle.")
    parser.add_argument("platforms", nargs="*", metavar="PLATFORM", help=f"of {', '.join(PLATFORMS)}; by default this")
    platforms = parser.parse_args().platforms or [HERE[platform.system(), platform.machine()]]
    if unknown := set(platforms) - PLATFORMS.keys():
        sys.exit(f"There is no platform {', '.join(sorted(unknown))}, only {', '.join(PLATFORMS)}.")
    shutil.rmtree(TARGET, ignore_errors=True)
    wheels = TARGET / "wheels"
    wheels.mkdir(parents=True)
    run("git", "-C", str(ROOT), "bundle", "create", "--quiet", str(TARGET / "llm-streaming.bundle"), "HEAD", *branch())
    compare = ["git", "-C", str(ROOT), "diff", "--quiet", "HEAD"]
    if subprocess.run(compare).returncode:
        print("What is not committed is not in the bundle.")
    for name in platforms:
        for python in PLATFORMS[name][2]:
            print(f"Fetching the wheels for {name}, Python {python}", flush=True)
            fetch(name, python, wheels)
    (TARGET / "install.sh").write_text(INSTALL)
    size = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    print(f"{TARGET.relative_to(ROOT)} is ready, {size / 1e6:.0f} MB: on the other machine run install.sh in it.")


def fetch(name: str, python: str, wheels: Path) -> None:
    """Download a platform's wheels: uv picks the lock's packages for it, which pip only does for its own."""
    uv_name, tags, _ = PLATFORMS[name]
    with tempfile.TemporaryDirectory() as folder:
        picked = str(Path(folder) / "picked.txt")
        uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes"]
        run(
            *uv, "--python-platform", uv_name, "--python-version", python, "--output-file", picked, *LOCKS,
            environment={"MACOSX_DEPLOYMENT_TARGET": MACOS},
        )  # fmt: skip
        abis = ("cp" + python.replace(".", ""), "abi3", "none")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        run(
            *pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", picked,
            "--implementation", "cp", "--python-version", python, "--dest", str(wheels),
            *(word for abi in abis for word in ("--abi", abi)),
            *(word for tag in tags for word in ("--platform", tag)),
        )  # fmt: skip


def branch() -> list[str]:
    """The branch that is checked out, for a clone to be on; none where a commit is."""
    asked = ["git", "-C", str(ROOT), "symbolic-ref", "--quiet", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.split()


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run a command, and end with its status if it fails: it has said why."""
    status = subprocess.run(command, env={**os.environ, **(environment or {})}).returncode
    if status:
        sys.exit(f"The bundle is not complete: {' '.join(command[:4])} … ended with status {status}.")


if __name__ == "__main__":
    main()
