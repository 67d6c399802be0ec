"""A client that leaves stops the generation; one that stops reading does not fill the server's memory."""

import asyncio
import signal
import subprocess
from collections.abc import Iterator

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_streaming import AsyncChatClient
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.processes.ports import wait_until
from tests.conftest import CPU
from tests.support.doors import DOORS, door
from tests.support.processes import python
from tests.support.provider import Reply, chunk, sse
from tests.support.scripted import Scripted

QUESTION = [{"role": "user", "content": "Count."}]
ONE_AND_SILENCE = [sse(chunk({"content": "one"})), asyncio.Event()]


def active(mesh: Mesh, server: str, model: str) -> float:
    """How many requests the server is answering, by its own metrics."""
    text = httpx.get(f"http://{mesh.metrics_address(server)}/metrics").text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "gen_ai_server_active_requests" and sample.labels["gen_ai_request_model"] == model
    )


def is_idle(mesh: Mesh, server: str, model: str) -> bool:
    return wait_until(lambda: active(mesh, server, model) == 0, timeout=60)


def test_a_task_that_is_cancelled_leaves(scripted: Scripted) -> None:
    scripted.replies["Count."] = Reply(ONE_AND_SILENCE)

    async def cancel_while_reading() -> None:
        reading = asyncio.Event()

        async def read() -> None:
            async with AsyncChatClient(scripted.mesh.address) as client:
                async for event in client.stream(scripted.model, QUESTION):
                    if event.content:
                        reading.set()

        task = asyncio.create_task(read())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_while_reading())
    scripted.wait_for_disconnection()
    assert is_idle(scripted.mesh, "api", scripted.model)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_leaves(scripted: Scripted, number: signal.Signals) -> None:
    """SIGINT is what interrupting a notebook's cell sends."""
    scripted.replies["Count."] = Reply(ONE_AND_SILENCE)
    script = (
        "from llm_streaming import ChatClient\n"
        f"for event in ChatClient({scripted.mesh.address!r}).stream({scripted.model!r}, {QUESTION!r}):\n"
        "    print(event.content, flush=True)\n"
    )
    with python(script, stderr=subprocess.DEVNULL) as client:
        assert "one\n" in client.stdout
        client.send_signal(number)
    scripted.wait_for_disconnection()
    assert is_idle(scripted.mesh, "api", scripted.model)


@pytest.mark.parametrize("kind", DOORS)
def test_the_local_model_stops_too(mesh: Mesh, kind: str) -> None:
    endless = {"ignore_eos": True}  # which OpenAI's client has no name for
    chunks = door(kind, mesh).stream(
        CPU, QUESTION, max_tokens=1500, **({"extra_body": endless} if kind == "openai" else endless)
    )
    next(chunks)
    assert active(mesh, "local", CPU) == 1
    chunks.close()
    assert is_idle(mesh, "local", CPU)


class Endless:
    """More text than all buffers on the way hold: 400 MB; counts the pieces that were sent."""

    sent = 0

    def __iter__(self) -> Iterator[bytes]:
        piece = sse(chunk({"content": "x" * 4000}))
        for _ in range(100_000):
            self.sent += 1
            yield piece


@pytest.mark.parametrize("kind", DOORS)
def test_a_reader_that_stops_reading_stops_the_provider(scripted: Scripted, kind: str) -> None:
    text = Endless()
    scripted.replies["Count."] = Reply(text)
    server = next(
        process
        for process in psutil.process_iter(["cmdline"])
        if str(scripted.mesh.mlserver("api").repository) in (process.info["cmdline"] or ())
    )
    before = server.memory_info().rss
    chunks = door(kind, scripted.mesh).stream(scripted.model, QUESTION)
    next(chunks)
    stands = -1

    def stands_still() -> bool:
        nonlocal stands
        stands, was = text.sent, stands
        return stands == was

    assert wait_until(stands_still, timeout=60, interval=1)
    grown = server.memory_info().rss - before
    chunks.close()
    scripted.wait_for_disconnection()
    assert text.sent < 20_000
    assert grown < 50_000_000
