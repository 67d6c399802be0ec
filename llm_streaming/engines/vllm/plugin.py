"""A vLLM plugin that stops each vLLM process when its parent exits, and reports why a process fails to load a model.

The package's metadata lists `start` as an entry point in the group ``vllm.general_plugins``. vLLM calls `start` in each
process that it starts, before the process loads a model.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

# This variable contains the path of a file for the first exception while loading a model, which vLLM only logs.
_VARIABLE = "LLM_STREAMING_VLLM_FAILURE"
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def start() -> None:
    """Watch the parent process and record why loading fails, unless the parent is not a Python process."""
    parent = parent_process()
    if parent is None:
        return
    _end_in_c_code()
    threading.Thread(target=_end_with, args=(parent,), name="llm-parent", daemon=True).start()
    if path := os.environ.get(_VARIABLE):
        logging.getLogger("vllm").addHandler(_FirstException(Path(path)))


def _end_in_c_code() -> None:
    """Let Linux kill this process when the thread that started it ends, even while C code keeps Python from running.

    vLLM's compiler of schemas is such code, and can run for minutes. The thread that starts vLLM's processes belongs to
    the event loop's executor, so it lasts as long as the server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with(parent: BaseProcess) -> None:
    """End this engine process when its parent exits; otherwise it would keep GPU memory if the parent is killed.

    `parent.sentinel` is one end of a pipe; the kernel closes the other end when the parent exits. If the parent is
    killed before vLLM calls plugins, the engine uses no GPU memory yet, and exits when its handshake times out (5
    minutes).
    """
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


class _FirstException(logging.Handler):
    """Writes the first logged exception to a file. Later exceptions are skipped, because the first one causes them."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.ERROR)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._path.is_file() and not self._path.stat().st_size:
            self._path.write_text(str(error) or type(error).__name__)


@contextmanager
def record_failure() -> Iterator[Path]:
    """Yield an empty file. If a process that vLLM starts in this context fails, the process writes the reason to it."""
    with tempfile.TemporaryDirectory(prefix="llm-streaming-") as folder:
        path = Path(folder) / "failure"
        path.touch()
        os.environ[_VARIABLE] = str(path)
        try:
            yield path
        finally:
            os.environ.pop(_VARIABLE, None)
