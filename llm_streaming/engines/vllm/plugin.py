"""What runs inside the processes that vLLM starts: a plugin of vLLM, which the package's metadata name as such.

vLLM calls every plugin of the group ``vllm.general_plugins`` in each of its processes, before a model is loaded there.
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

# Names the file that takes what an engine's process dies of while a model is loaded: vLLM only logs it there.
_VARIABLE = "LLM_STREAMING_VLLM_FAILURE"


def start() -> None:
    """Watch the parent, and note why loading fails; nothing in a process that was not started by another's Python."""
    parent = parent_process()
    if parent is None:
        return
    threading.Thread(target=_end_with, args=(parent,), name="llm-parent", daemon=True).start()
    if path := os.environ.get(_VARIABLE):
        logging.getLogger("vllm").addHandler(_Note(Path(path)))


def _end_with(parent: BaseProcess) -> None:
    """End at once when the parent has ended: after a SIGKILL of it, vLLM would keep the engine and its GPU's memory.

    The sentinel is a pipe's end, which the kernel closes; vLLM's workers are the engine's children and follow it. An
    engine whose server is killed before plugins are called, in its first seconds, holds no GPU's memory yet; it waits
    for a handshake, for which vLLM gives it 5 minutes.
    """
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


class _Note(logging.Handler):
    """Writes the first exception that is logged into a file: later ones only follow from it."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.ERROR)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._path.parent.is_dir() and not self._path.exists():
            self._path.write_text(str(error) or type(error).__name__)


class Failure:
    """Takes, for as long as the context lasts, what processes that are started meanwhile fail of."""

    def __enter__(self) -> Failure:
        self._folder = tempfile.TemporaryDirectory(prefix="llm-streaming-")
        self._path = Path(self._folder.name) / "failure"
        os.environ[_VARIABLE] = str(self._path)
        return self

    def __exit__(self, *exception: object) -> None:
        os.environ.pop(_VARIABLE, None)
        self._folder.cleanup()

    def text(self) -> str:
        """What was noted, or ""."""
        return self._path.read_text() if self._path.exists() else ""
