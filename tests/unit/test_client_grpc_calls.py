"""The gRPC clients: whole answers, cancelled calls, and imports."""

import asyncio
import signal
import subprocess
import sys
import threading
import traceback

import grpc
import pytest

from llm_streaming import AsyncGrpcChatClient, GrpcChatClient, protocol
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.protocol import Completion
from tests.support import both_clients
from tests.support.both_clients import BROKE_OFF, MESSAGES, Complete
from tests.support.grpc_server import HANG, Step, message, scripted
from tests.support.provider import answer, chunk

SOME = message(protocol.encode_chunk(chunk({"content": "so far"}))[0])
NOT_DEPLOYED = "model 'm' is not deployed here: apply its manifest and wait until it is ready"


both_callers = both_clients.both_callers(GrpcChatClient, AsyncGrpcChatClient)


def interrupt() -> None:
    """Interrupt a reader that waits for a message, as Ctrl-C and Jupyter's stop button do."""
    reader = threading.main_thread().ident
    assert reader is not None

    def is_waiting() -> bool:
        frame = sys._current_frames()[reader]  # noqa: SLF001 - a documented function
        stack = {frame.f_code.co_name for frame, _ in traceback.walk_stack(frame)}
        return bool(stack & {"result", "next_message"}) and "wait" in stack

    assert wait_until(is_waiting, timeout=60)
    signal.pthread_kill(reader, signal.SIGINT)


@both_callers
@pytest.mark.parametrize("raw", [False, True])
def test_a_whole_answer(complete: Complete, raw: bool) -> None:
    completion = protocol.accumulate(answer("Hel", "lo"))
    with scripted(message(protocol.encode_completion(completion), raw=raw)) as server:
        found = complete(server.address)
    [call] = server.calls
    assert (call.method, call.metadata["seldon-model"]) == ("ModelInfer", "m")
    assert found == Completion("Hello", "stop", completion["usage"], [], completion)


ERROR = protocol.encode_error({"error": {"message": "No.", "type": "rate_limit_error", "code": None}})


@both_callers
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ((grpc.StatusCode.FAILED_PRECONDITION, "no role"), ("no role", 422, None)),
        ((grpc.StatusCode.INVALID_ARGUMENT, "no"), ("no", 400, None)),
        ((grpc.StatusCode.UNKNOWN, "Slow down."), ("Slow down.", 500, None)),
        ((grpc.StatusCode.UNIMPLEMENTED, ""), (NOT_DEPLOYED, 404, None)),
        (
            (grpc.StatusCode.CANCELLED, ""),
            (BROKE_OFF.format("CANCELLED"), None, None),
        ),
        (b"\xff", ("expected an inference response, a ModelInferResponse, but got b'\\xff'", 200, None)),
        (message(ERROR), ("No.", 429, "rate_limit_error")),
    ],
)
def test_a_whole_answer_that_fails(
    complete: Complete, step: Step, expected: tuple[str, int | None, str | None]
) -> None:
    with scripted(step) as server, pytest.raises(InferenceError) as failed:
        complete(server.address)
    assert (failed.value.message, failed.value.status, failed.value.code) == expected


@both_callers
def test_a_whole_answer_that_takes_too_long(complete: Complete) -> None:
    with scripted(HANG) as server, pytest.raises(InferenceError) as failed:
        complete(server.address, timeout=0.3)
    assert failed.value.message == f"{server.address} sent nothing for longer than the client's timeout"
    assert failed.value.status is None


def test_leaving_the_loop_ends_the_call() -> None:
    with scripted(SOME, HANG) as server, GrpcChatClient(server.address) as client:
        for _ in client.stream("m", MESSAGES):
            break
        assert server.calls[0].ended.wait(60)


async def test_leaving_the_asynchronous_loop_ends_the_call() -> None:
    with scripted(SOME, HANG) as server:
        async with AsyncGrpcChatClient(server.address) as client:
            async for _ in client.stream("m", MESSAGES):
                break
            assert await asyncio.to_thread(server.calls[0].ended.wait, 10)


async def test_cancelling_the_task_ends_the_stream() -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in client.stream("m", MESSAGES):
            begun.set()

    with scripted(SOME, HANG) as server:
        async with AsyncGrpcChatClient(server.address) as client:
            task = asyncio.create_task(read())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.calls[0].ended.wait, 10)


async def test_cancelling_the_task_ends_the_unary_call() -> None:
    arrived = threading.Event()
    with scripted(arrived.set, HANG) as server:
        async with AsyncGrpcChatClient(server.address) as client:
            task = asyncio.create_task(client.complete("m", MESSAGES))
            assert await asyncio.to_thread(arrived.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.calls[0].ended.wait, 10)


@pytest.mark.parametrize("method", ["stream", "complete"])
def test_an_interrupt_ends_the_call(method: str) -> None:
    with scripted(SOME, interrupt, HANG) if method == "stream" else scripted(interrupt, HANG) as server:
        client = GrpcChatClient(server.address)
        call = getattr(client, method)
        with pytest.raises(KeyboardInterrupt):
            list(call("m", MESSAGES))
        assert server.calls[0].ended.wait(60)
        client.close()


@pytest.mark.parametrize(
    "program",
    [
        # The package does not import gRPC, and its gRPC client does not import MLServer.
        "import sys, llm_streaming; assert not {'grpc', 'google.protobuf'} & sys.modules.keys()",
        "import sys; from llm_streaming import GrpcChatClient; assert 'mlserver' not in sys.modules",
        # MLServer's messages and ours can be imported into one process, in any order.
        "import llm_streaming.client.grpc, mlserver.grpc.dataplane_pb2",
        "import mlserver.grpc.dataplane_pb2, llm_streaming.client.grpc",
    ],
)
def test_imports(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("missing", ["grpc", "google.protobuf"])
def test_without_the_extra_one_sentence_says_so(missing: str) -> None:
    program = f"import sys; sys.modules['{missing}'] = None; from llm_streaming import GrpcChatClient"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stderr.splitlines()[-1] == (
        "llm_streaming.errors.LLMStreamingError: the gRPC clients need the packages grpcio and protobuf, which are not "
        "installed: run `make setup`, or `pip install 'llm-streaming[grpc]'`"
    )
