"""A model that is deleted ends its calls at once, and each client says why."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from llm_streaming.errors import InferenceError
from llm_streaming.manifests import Model
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.processes.ports import wait_until
from tests.integration.test_leaving import active
from tests.support.doors import DOORS, Door, Failure, door
from tests.support.provider import Reply, chunk, sse
from tests.support.scripted import Scripted

SECONDS = 60
MESSAGE = "The model has been unloaded: load it again."
SO_FAR = sse(chunk({"content": "so far"}))


def message(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def leaving(scripted: Scripted) -> Model:
    """A model of the scripted mesh, ready, that the test deletes."""
    model = Model(name="leaving", storage_uri="models/scripted", requirements=("scripted",))
    scripted.mesh.apply(model)
    scripted.mesh.wait(model.name)
    return model


def failure_of(client: Door, call: Callable[[], object]) -> Failure:
    with pytest.raises((InferenceError, openai.APIError)) as raised:
        call()
    return client.failure(raised.value)


def result(failure: "Future[Failure]") -> Failure:
    return failure.result(timeout=SECONDS)


@pytest.mark.parametrize("mode", ["stream", "complete"])
@pytest.mark.parametrize("kind", DOORS)
def test_calls_to_a_silent_provider_end(
    scripted: Scripted, leaving: Model, pool: ThreadPoolExecutor, kind: str, mode: str
) -> None:
    client, text = door(kind, scripted.mesh), f"silence {kind} {mode}"
    scripted.replies[text] = Reply([asyncio.Event()])
    ask = client.complete if mode == "complete" else lambda *given: list(client.stream(*given))
    waiting = pool.submit(failure_of, client, lambda: ask(leaving.name, message(text)))
    scripted.wait_for_request(text)
    scripted.mesh.delete(leaving)
    # Whole answers of MLServer have no code, and its gRPC server reports 503 as UNKNOWN (contract §3).
    code = None if mode == "complete" and kind != "openai" else "model_unloaded"
    assert result(waiting) == Failure(MESSAGE, 500 if (kind, mode) == ("grpc", "complete") else 503, code)
    scripted.wait_for_disconnection()


@pytest.mark.parametrize("kind", DOORS)
def test_a_stream_that_has_begun_ends(scripted: Scripted, leaving: Model, pool: ThreadPoolExecutor, kind: str) -> None:
    client = door(kind, scripted.mesh)
    scripted.replies["begun"] = Reply([SO_FAR, asyncio.Event()])
    chunks = client.stream(leaving.name, message("begun"))
    assert next(chunks)["choices"][0]["delta"] == {"content": "so far"}
    waiting = pool.submit(failure_of, client, lambda: list(chunks))
    scripted.mesh.delete(leaving)
    assert result(waiting) == Failure(MESSAGE, None if kind == "openai" else 503, "model_unloaded")


def test_a_reader_that_comes_back_late_gets_the_text_before_and_the_error(scripted: Scripted, leaving: Model) -> None:
    """The reader does not read while the model is deleted, so that all buffers on the way to it are full."""
    full = threading.Event()

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(100_000):
                if number == 5_000:
                    full.set()
                yield sse(chunk({"content": "x" * 4000}))

    scripted.replies["slow"] = Reply(Endless())
    url = f"http://{scripted.mesh.address}/v2/models/{leaving.name}/infer_stream/chat/completions"
    body = {"model": leaving.name, "messages": message("slow"), "stream": True}
    lines: list[str] = []
    with httpx.stream("POST", url, json=body, timeout=SECONDS) as response:
        lines.append(next(reading := response.iter_lines()))
        full.wait(5)  # with small buffers, less is sent
        scripted.mesh.delete(leaving)
        lines += filter(None, reading)
    last = json.loads(lines[-1].removeprefix("data: "))
    assert last == {"error": {"message": MESSAGE, "type": "server_error", "code": "model_unloaded"}}
    assert all(json.loads(line.removeprefix("data: "))["choices"] for line in lines[:-1])


@pytest.mark.parametrize("mode", ["stream", "complete"])
@pytest.mark.parametrize("kind", DOORS)
def test_calls_to_a_local_model_end(mesh: Mesh, pool: ThreadPoolExecutor, kind: str, mode: str) -> None:
    model = Model(name="leaving", storage_uri="models/local-chat-completions-cpu", requirements=("llm-local",))
    mesh.apply(model)
    mesh.wait(model.name)
    client = door(kind, mesh)
    endless: dict[str, Any] = {"ignore_eos": True}
    parameters = {"max_tokens": 1900, **({"extra_body": endless} if kind == "openai" else endless)}
    if mode == "stream":
        chunks = client.stream(model.name, message("Count."), **parameters)
        next(chunks)
        waiting = pool.submit(failure_of, client, lambda: list(chunks))
    else:
        waiting = pool.submit(failure_of, client, lambda: client.complete(model.name, message("Count."), **parameters))
        assert wait_until(lambda: active(mesh, "local", model.name) == 1, timeout=SECONDS)
    mesh.delete(model)
    code = None if mode == "complete" and kind != "openai" else "model_unloaded"
    status = 500 if (kind, mode) == ("grpc", "complete") else 503
    assert result(waiting) == Failure(MESSAGE, None if (kind, mode) == ("openai", "stream") else status, code)
