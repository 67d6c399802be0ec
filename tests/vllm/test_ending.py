"""How an engine ends: by itself, with its server, and while it starts."""

import psutil
import pytest
from httpx import get

from llm_streaming import ChatClient
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import wait_until
from tests.vllm.conftest import MANIFEST, MODEL
from tests.vllm.test_conformance import QUESTION, server_of


def engines(server: psutil.Process) -> list[psutil.Process]:
    """The processes that compute: vLLM's engine and its workers."""
    return [one for one in server.children(recursive=True) if is_engine(one)]


def is_engine(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
        return "spawn_main" in command or "VLLM::" in command or process.name().startswith("VLLM")
    except psutil.NoSuchProcess:  # a short-lived helper of vLLM's start has ended meanwhile, or is a zombie
        return False


def test_an_engine_that_dies_is_reported_and_can_be_loaded_again(mesh: EmbeddedMesh) -> None:
    ready = f"http://{mesh.address}/v2/models/{MODEL}/ready"
    assert get(ready).status_code == 200
    with ChatClient(mesh.address) as client:
        events = client.stream(MODEL, QUESTION, max_tokens=1500, ignore_eos=True)
        next(event for event in events if event.content)
        for process in engines(server_of(mesh)):
            process.kill()
        with pytest.raises(InferenceError) as broken:
            list(events)
        with pytest.raises(InferenceError) as refused:
            client.complete(MODEL, QUESTION)
    sentence = "vLLM's engine process has ended: read the server's log, and load the model again."
    assert (broken.value.message, broken.value.status, broken.value.code) == (sentence, 503, "engine_dead")
    # MLServer's own words: it asks nothing of a model that is not ready, and SC2's agent loads it again on this status.
    assert (refused.value.message, refused.value.status) == (f"Model {MODEL} is not ready yet.", 400)
    assert get(ready).status_code == 400

    mesh.delete(MANIFEST)
    mesh.apply(MANIFEST)
    mesh.wait(MODEL)
    assert get(ready).status_code == 200
    with ChatClient(mesh.address) as client:
        assert client.complete(MODEL, QUESTION, max_tokens=4).content


def test_a_server_that_is_killed_leaves_nothing_behind(mesh: EmbeddedMesh) -> None:
    server = server_of(mesh)
    children = server.children(recursive=True)
    assert len(engines(server)) == 2
    server.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []
    mesh.wait(MODEL)  # the mesh starts the server again, for the other tests too


def test_a_server_that_is_killed_while_a_model_loads_leaves_nothing_behind() -> None:
    with EmbeddedMesh() as mesh:
        mesh.apply(MANIFEST)
        server = server_of(mesh)
        assert wait_until(lambda: len(engines(server)) == 2, timeout=120)
        children = server.children(recursive=True)
        server.kill()
        assert psutil.wait_procs(children, timeout=120)[1] == []
