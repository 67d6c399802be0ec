"""Run the cells of a notebook whose kernel cannot be chosen, Google Colab's, in the project's: ``%run tools/colab.py``.

Colab's kernel has loaded many packages in versions of its own, which can neither be replaced while it runs nor be mixed
with the project's. So the project is installed beside them, into ``.venv`` as everywhere, a kernel is started there,
and every cell that comes after is handed to it; what it prints and shows appears under the cell as it comes.
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
HERE = "tools/colab.py"  # in a cell, it says that the cell is the set-up


class CellError(Exception):
    """A cell has failed in the project's kernel, which has rendered its error already."""

    def __init__(self, rendered: list[str]) -> None:
        super().__init__(rendered[-1])
        self.rendered = rendered

    def _render_traceback_(self) -> list[str]:
        return self.rendered


class ProjectKernel:
    """A kernel in ``.venv``, which ends with this one."""

    def __init__(self) -> None:
        specs = KernelSpecManager(kernel_dirs=[str(VENV / "share" / "jupyter" / "kernels")])
        self._manager = KernelManager(kernel_name="python3", kernel_spec_manager=specs)
        # Its warning that it listens on loopback is nobody's concern here.
        self._manager.start_kernel(cwd=str(ROOT / "notebooks"), extra_arguments=["--log-level=ERROR"])
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def run(self, cell: str) -> None:
        """Run a cell there, and show here what it shows.

        Raises:
            CellError: it has failed.
        """
        try:
            reply = self._client.execute_interactive(cell, allow_stdin=False, output_hook=show)
        except KeyboardInterrupt:
            self._manager.interrupt_kernel()
            reply = self._rest()
        if reply["content"]["status"] == "error":
            raise CellError(reply["content"]["traceback"])

    def _rest(self) -> dict[str, Any]:
        """Show what an interrupted cell still shows, and return its reply."""
        while (message := self._client.get_iopub_msg(timeout=60))["content"].get("execution_state") != "idle":
            show(message)
        reply: dict[str, Any] = self._client.get_shell_msg(timeout=60)
        return reply


def show(message: dict[str, Any]) -> None:
    """Show an output of the other kernel as one of this one."""
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        print(content["text"], end="", flush=True, file=getattr(sys, content["name"]))
    elif kind in ("display_data", "update_display_data", "execute_result"):
        update, transient = kind == "update_display_data", content.get("transient", {})
        publish_display_data(content["data"], content["metadata"], transient=transient, update=update)


def install() -> None:
    """Make ``.venv``, with its kernel, where it is not there yet."""
    if not VENV.exists():  # Colab's Python cannot make environments by itself: it lacks ensurepip
        python = (sys.executable, "-m")
        run(*python, "pip", "install", "--quiet", "--require-hashes", "--requirement", "requirements/uv.lock")
        run(*python, "uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(VENV))
    run("make", "setup", f"PYTHON={sys.executable}")
    run(str(VENV / "bin" / "python"), "-m", "ipykernel", "install", "--prefix", str(VENV), "--name", "python3")


def run(*command: str) -> None:
    """Run a command in the project's folder, and end with what it said if it fails."""
    # Colab's image leaves variables behind that name files which are not there, such as UV_CONSTRAINT.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ran.returncode:
        said = f"{ran.stdout}\n{ran.stderr}".strip()
        sys.exit(f"The set-up stopped: {' '.join(command)} ended with status {ran.returncode}:\n{said[-2000:]}")


def hand_over(lines: list[str]) -> list[str]:
    """Turn a cell into the call that runs it in the project's kernel; the set-up itself stays here."""
    cell = "".join(lines)
    return lines if HERE in cell else [f"get_ipython().project_kernel.run({cell!r})\n"]


def main() -> None:
    """Install the project, start its kernel, and hand it all cells from now on."""
    shell = get_ipython()
    if hasattr(shell, "project_kernel"):
        print("The project's kernel runs already.")
        return
    print("Setting up, which takes a minute or two the first time …", flush=True)
    install()
    shell.project_kernel = ProjectKernel()
    shell.input_transformers_cleanup.append(hand_over)
    print("Ready: the cells from here on run in the project's own environment.")


if __name__ == "__main__":
    main()
