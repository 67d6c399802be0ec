"""What runs inside vLLM's processes, in processes of our own."""

import logging
import multiprocessing
import signal
import sys
from pathlib import Path

import psutil
import pytest

from llm_streaming.engines.vllm import plugin
from llm_streaming.engines.vllm.plugin import record_failure
from tests.support.processes import PipedProcess

SPAWN = multiprocessing.get_context("spawn")


def fail() -> None:
    plugin.start()
    for text in ("the cause", "what followed from it"):
        try:
            raise ValueError(text)
        except ValueError:
            logging.getLogger("vllm.engine").exception("failed to start")


def test_the_first_failure_of_a_process_is_told() -> None:
    with record_failure() as failure:
        assert failure.read_text() == ""
        process = SPAWN.Process(target=fail)
        process.start()
        process.join()
        assert (failure.read_text(), process.exitcode) == ("the cause", 0)


def test_a_process_of_its_own_is_left_alone() -> None:
    before = list(logging.getLogger("vllm").handlers)
    plugin.start()
    assert logging.getLogger("vllm").handlers == before


ENGINE = """
import ctypes, multiprocessing, os, signal, sys
from llm_streaming.engines.vllm import plugin

def engine(pipe):
    plugin.start()
    worker = multiprocessing.get_context("spawn").Process(target=work, args=(pipe,))
    worker.start()
    worker.join()

def work(pipe):
    plugin.start()
    pipe.send((os.getppid(), os.getpid()))
    WAIT

if __name__ == "__main__":
    receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
    multiprocessing.get_context("spawn").Process(target=engine, args=(send,)).start()
    print(*receive.recv(), flush=True)
    signal.pause()
"""


# The second way holds Python's lock, as vLLM's compiler of schemas does: no thread of Python can run meanwhile.
WAYS_TO_WAIT = ["signal.pause()", "ctypes.PyDLL(None).sleep(600)"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("wait", WAYS_TO_WAIT[: 2 if sys.platform == "linux" else 1])
def test_engine_and_worker_end_with_a_server_that_is_killed(tmp_path: Path, wait: str, number: signal.Signals) -> None:
    script = tmp_path / "server.py"  # a file, because spawned processes import it
    script.write_text(ENGINE.replace("WAIT", wait))
    with PipedProcess(sys.executable, script) as server:
        children = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
        assert len(children) == 2
        server.send_signal(number)
        assert psutil.wait_procs(children, timeout=60)[1] == []
