"""Have a kernel that cannot be chosen, Google Colab's, work with the project's packages: ``%run tools/colab.py``.

Installing into Colab's own Python would change packages that its kernel has already loaded. So they go into ``.venv``,
as everywhere, and the running kernel borrows them from there: what it has not imported yet comes from ``.venv``, and
the mesh's servers run in ``.venv`` altogether. Both Pythons are of one version, because the one makes the other.
"""

import importlib
import os
import site
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def main() -> None:
    """Install what is not there yet, borrow it, and change to the notebooks' folder."""
    print("Setting up, which takes a minute or two the first time …", flush=True)
    if not VENV.exists():  # Colab's Python cannot make environments by itself: it lacks ensurepip
        run(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--requirement",
            "requirements/uv.lock",
        )
        run(sys.executable, "-m", "uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(VENV))
    run("make", "setup", f"PYTHON={sys.executable}")
    borrow()
    os.chdir(ROOT / "notebooks")
    print("Ready.")


def run(*command: str) -> None:
    """Run a command in the project's folder, and end with what it said if it fails."""
    # Colab's image leaves variables behind that name files which are not there, such as UV_CONSTRAINT.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ran.returncode:
        sys.exit(f"The set-up stopped: {' '.join(command)} ended with status {ran.returncode}:\n{ran.stdout[-2000:]}")


def borrow() -> None:
    """Let this process import from the environment, and start its Python from now on."""
    own = list(sys.path)
    packages = VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    site.addsitedir(str(packages))  # which reads where the project itself is installed from
    sys.path[:] = [*sys.path[len(own) :], *own]
    importlib.invalidate_caches()
    sys.executable = str(VENV / "bin" / "python")
    os.environ["PATH"] = os.pathsep.join([str(VENV / "bin"), os.environ["PATH"]])


if __name__ == "__main__":
    main()
