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
from collections.abc import Iterator
from contextlib import contextmanager
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

    The sentinel is one end of a pipe, which the kernel closes. An engine whose server is killed before plugins are
    called holds no GPU memory yet: it waits for a handshake, and vLLM ends it after 5 minutes.
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
        if error is not None and self._path.is_file() and not self._path.stat().st_size:
            self._path.write_text(str(error) or type(error).__name__)


@contextmanager
def record_failure() -> Iterator[Path]:
    """Yield a file, to which a process that vLLM starts in this context writes why it fails; it is empty until then."""
    with tempfile.TemporaryDirectory(prefix="llm-streaming-") as folder:
        path = Path(folder) / "failure"
        path.touch()
        os.environ[_VARIABLE] = str(path)
        try:
            yield path
        finally:
            os.environ.pop(_VARIABLE, None)
