"""Run a notebook's cells in the project's environment on Google Colab: ``%run tools/colab.py``.

Colab offers only its own kernel, which has already loaded other versions of many packages. These versions can neither
be replaced in a running kernel nor be mixed with the project's. So this script installs the project into ``.venv``,
starts a second kernel there, and sends it every later cell. The second kernel's output appears under the cell while the
cell runs.

The script imports nothing from the project, because Colab's kernel cannot.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from IPython import get_ipython
from IPython.display import publish_display_data
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
HERE = "tools/colab.py"  # a cell that contains this text is the set-up cell


class CellError(Exception):
    """A cell failed in the project's kernel.

    Args:
        rendered: the lines of the traceback, rendered by the project's kernel.
    """

    def __init__(self, rendered: list[str]) -> None:
        super().__init__(rendered[-1])
        self.rendered = rendered

    def _render_traceback_(self) -> list[str]:
        return self.rendered


class ProjectKernel:
    """A kernel in ``.venv``, which stops when Colab's kernel stops."""

    def __init__(self) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(VENV / "share" / "jupyter" / "kernels")])
        self._manager = KernelManager(kernel_name="python3", kernel_spec_manager=specs)
        # This log level hides the warning that the kernel listens on loopback.
        self._manager.start_kernel(cwd=str(ROOT / "notebooks"), extra_arguments=["--log-level=ERROR"])
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def run(self, cell: str) -> None:
        """Run a cell in the project's kernel and show its output in this kernel.

        Raises:
            CellError: the cell failed.
        """
        try:
            reply = self._client.execute_interactive(cell, allow_stdin=False, output_hook=show)
        except KeyboardInterrupt:
            self._manager.interrupt_kernel()
            reply = self._finish_interrupted()
        if reply["content"]["status"] == "error":
            raise CellError(reply["content"]["traceback"])

    def _finish_interrupted(self) -> dict[str, Any]:
        """Show the remaining output of an interrupted cell and return its reply."""
        while (message := self._client.get_iopub_msg(timeout=60))["content"].get("execution_state") != "idle":
            show(message)
        reply: dict[str, Any] = self._client.get_shell_msg(timeout=60)
        return reply


def show(message: dict[str, Any]) -> None:
    """Show an output message of the project's kernel as an output of this kernel."""
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        print(content["text"], end="", flush=True, file=getattr(sys, content["name"]))
    elif kind in ("display_data", "update_display_data", "execute_result"):
        update, transient = kind == "update_display_data", content.get("transient", {})
        publish_display_data(content["data"], content["metadata"], transient=transient, update=update)


def install() -> None:
    """Create ``.venv`` if it does not exist, and install the project and a kernel into it."""
    if not VENV.exists():  # Colab's Python lacks ensurepip, so only uv can create the environment
        python = (sys.executable, "-m")
        run(*python, "pip", "install", "--quiet", "--require-hashes", "--requirement", "requirements/uv.lock")
        run(*python, "uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(VENV))
    run("make", "setup", f"PYTHON={sys.executable}")
    run(str(VENV / "bin" / "python"), "-m", "ipykernel", "install", "--prefix", str(VENV), "--name", "python3")


def run(*command: str) -> None:
    """Run a command in the project's folder; if it fails, exit with the command's output."""
    # Colab sets variables such as UV_CONSTRAINT to files that do not exist.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        output = f"{done.stdout}\n{done.stderr}".strip()
        sys.exit(f"The set-up stopped: {' '.join(command)} ended with status {done.returncode}:\n{output[-2000:]}")


def redirect(lines: list[str]) -> list[str]:
    """Replace a cell's lines with a call that runs the cell in the project's kernel; keep the set-up cell unchanged."""
    cell = "".join(lines)
    return lines if HERE in cell else [f"get_ipython().project_kernel.run({cell!r})\n"]


def main() -> None:
    """Install the project, start its kernel and redirect all later cells to it."""
    shell = get_ipython()
    if hasattr(shell, "project_kernel"):
        print("The project's kernel is already running.")
        return
    print("Setting up the project. The first time, this takes a minute or two …", flush=True)
    install()
    shell.project_kernel = ProjectKernel()
    shell.input_transformers_cleanup.append(redirect)
    print("Ready: all cells below run in the project's own environment.")


if __name__ == "__main__":
    main()
