"""MLServer as the image starts it: its sockets, and the end of its requests after SIGTERM."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import openai
import psutil
import pytest

from llm_streaming.client.http import path_of
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.processes.ports import wait_until
from tests.support.doors import DOORS
from tests.support.provider import DONE, Provider, Reply, answer, chunk, provider_in_thread, sse
from tests.support.server_process import MODEL, ServerProcess, server_process

QUESTION = [{"role": "user", "content": "Count."}]
STOPPING = "The server is stopping: try again in a minute."


class Script:
    """A provider whose answers stop after "one" until `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.endless = False

    def respond(self, _: object) -> Reply:
        if self.endless:
            return Reply(iter(lambda: sse(chunk({"content": "x" * 4000})), None))
        rest = [sse(one) for one in answer("two")[1:]]
        return Reply([sse(chunk({"content": "one"})), self.go_on, *rest, DONE])


@pytest.fixture
def script() -> Iterator[tuple[Script, Provider, asyncio.AbstractEventLoop]]:
    script = Script()
    with provider_in_thread(respond=script.respond) as (provider, loop):
        yield script, provider, loop


def begin(server: ServerProcess, kind: str) -> Iterator[dict[str, Any]]:
    """Open a stream and read until its first word."""
    chunks = server.door(kind).stream(MODEL, QUESTION)
    assert text_of([next(chunks)]) == "one"
    return chunks


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(one["delta"].get("content", "") for each in chunks for one in each["choices"])


def test_running_streams_end_in_the_grace_period_and_new_requests_are_refused(tmp_path: Path, script: Any) -> None:
    answers, provider, loop = script
    with server_process(tmp_path, provider.base_url, LLM_STREAMING_GRACE="600") as server:
        streams = [begin(server, kind) for kind in DOORS]
        server.terminate()
        assert wait_until(lambda: not accepts(server.http_port), timeout=60)
        loop.call_soon_threadsafe(answers.go_on.set)
        assert [text_of(list(stream)) for stream in streams] == ["two"] * len(DOORS)
        assert server.process.wait(timeout=60) == 0


def test_streams_that_outlast_the_grace_period_end_with_503(tmp_path: Path, script: Any) -> None:
    _, provider, _ = script
    with server_process(tmp_path, provider.base_url, LLM_STREAMING_GRACE="0.5") as server:
        streams = {kind: begin(server, kind) for kind in DOORS}
        server.terminate()
        failures = {}
        for kind, stream in streams.items():
            with pytest.raises((InferenceError, openai.APIError)) as caught:
                list(stream)
            failures[kind] = server.door(kind).failure(caught.value)
        assert {kind: (one.message, one.status) for kind, one in failures.items()} == {
            "http": (STOPPING, 503),
            "grpc": (STOPPING, 503),
            "openai": (STOPPING, None),
        }
        assert server.process.wait(timeout=60) == 0
        assert "Traceback" not in server.log()


def test_a_second_signal_cuts_all_requests_at_once(tmp_path: Path, script: Any) -> None:
    _, provider, _ = script
    with server_process(tmp_path, provider.base_url, LLM_STREAMING_GRACE="600") as server:
        streams = [begin(server, kind) for kind in DOORS]
        server.terminate()
        server.process.terminate()
        for stream in streams:
            with pytest.raises((InferenceError, openai.APIError, httpx.TransportError)):
                list(stream)
        assert server.process.wait(timeout=60) == 0
        assert "Traceback" not in server.log()


def test_a_client_that_does_not_read_does_not_delay_the_end(tmp_path: Path, script: Any) -> None:
    answers, provider, _ = script
    answers.endless = True
    with server_process(tmp_path, provider.base_url, LLM_STREAMING_GRACE="0.5") as server:
        body = b'{"messages": [{"role": "user", "content": "Count."}], "model": "scripted", "stream": true}'
        head = (
            f"POST {path_of(MODEL, 'infer_stream')}/chat/completions HTTP/1.1\r\nhost: x\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.http_port)) as reader:
            reader.sendall(head.encode() + body)
            assert reader.recv(12) == b"HTTP/1.1 200"
            server.terminate()
            assert server.process.wait(timeout=60) == 0


def test_parallel_workers_end_with_the_server(tmp_path: Path, script: Any) -> None:
    _, provider, _ = script
    with server_process(tmp_path, provider.base_url, MLSERVER_PARALLEL_WORKERS="1") as server:
        children = psutil.Process(server.process.pid).children(recursive=True)
        server.terminate()
        assert server.process.wait(timeout=60) == 0
        assert psutil.wait_procs(children, timeout=60)[1] == []


def test_it_listens_only_on_sockets_and_takes_over_those_that_a_killed_server_left(
    short_folder: Path, script: Any
) -> None:
    _, provider, _ = script
    sockets = [short_folder / f"s.{kind}" for kind in ("grpc:0", "http", "metrics")]
    for _ in range(2):
        prefix = str(short_folder / "s")
        with server_process(short_folder, provider.base_url, "--sockets", prefix, uds=sockets[1]) as server:
            assert [one for one in psutil.Process(server.process.pid).net_connections("inet") if one.laddr] == []
            with grpc.insecure_channel(f"unix:{sockets[0]}") as channel:
                grpc.channel_ready_future(channel).result(timeout=60)
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(sockets[2]))) as metrics:
                assert metrics.get("http://mlserver/metrics").status_code == 200
        assert sorted(path for path in short_folder.iterdir() if path.is_socket()) == sockets


def test_a_grace_period_that_is_no_number_is_refused(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "llm_streaming.runtimes", str(tmp_path)],
        env={"LLM_STREAMING_GRACE": "soon"},
        capture_output=True,
        text=True,
    )
    words = "LLM_STREAMING_GRACE must be a number of seconds, but is 'soon'\n"
    assert (process.returncode, process.stderr) == (1, words)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
