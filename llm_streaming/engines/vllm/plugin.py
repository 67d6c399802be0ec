"""A plugin of vLLM, which runs in each of its processes: it ends with its parent, and reports why loading fails.

The package's metadata name `start` in the group ``vllm.general_plugins``. vLLM calls it in every process of its own,
before a model is loaded there.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from multiprocessing import connection, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

# Names the file for the first exception of a process that loads a model: vLLM only logs it there.
_VARIABLE = "LLM_STREAMING_VLLM_FAILURE"


def start() -> None:
    """Watch the parent process, and record why loading fails; does nothing in a process without a Python parent."""
    parent = parent_process()
    if parent is None:
        return
    threading.Thread(target=_end_with, args=(parent,), name="llm-parent", daemon=True).start()
    if path := os.environ.get(_VARIABLE):
        logging.getLogger("vllm").addHandler(_FirstException(Path(path)))


def _end_with(parent: BaseProcess) -> None:
    """End at once when the parent has ended: after a SIGKILL of it, vLLM would keep the engine and its GPU's memory.

    The sentinel is one end of a pipe, which the kernel closes; vLLM's workers are the engine's children and end with
    it. An engine whose server is killed in its first seconds, before plugins are called, holds no GPU memory yet; it
    waits for a handshake, and vLLM ends it after 5 minutes.
    """
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


class _FirstException(logging.Handler):
    """Writes the first exception that is logged to a file; later ones only follow from it."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.ERROR)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._path.parent.is_dir() and not self._path.exists():
            self._path.write_text(str(error) or type(error).__name__)


class LoadFailure:
    """A context in which the processes that vLLM starts record why they fail."""

    def __enter__(self) -> LoadFailure:
        self._folder = tempfile.TemporaryDirectory(prefix="llm-streaming-")
        self._path = Path(self._folder.name) / "failure"
        os.environ[_VARIABLE] = str(self._path)
        return self

    def __exit__(self, *exception: object) -> None:
        os.environ.pop(_VARIABLE, None)
        self._folder.cleanup()

    def text(self) -> str:
        """The message of the first exception, or ""."""
        return self._path.read_text() if self._path.exists() else ""
