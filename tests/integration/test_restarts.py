"""Processes of the embedded mesh that exit are started again with their models, and clients are told what happened."""

import asyncio
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from llm_streaming.errors import InferenceError, MeshError
from llm_streaming.manifests import Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import wait_until
from tests.conftest import OPENAI
from tests.support.both_clients import BROKE_OFF
from tests.support.doors import DOORS, Failure, door
from tests.support.gate import EXIT_STATUS
from tests.support.processes import process_of, processes_in, suspended
from tests.support.provider import Reply, accumulated, chunk, sse
from tests.support.scripted import Scripted, scripted_mesh, write_settings

QUESTION = [{"role": "user", "content": "Count."}]
WHOLE = Reply([accumulated("one")], 200, {"content-type": "application/json"})

LOST = (
    "the server of this model does not answer, most likely because it has exited and is being started again: try again "
    "in a few seconds; `llm-streaming get` shows its state, and mesh.logs or `llm-streaming logs` shows why it exited"
)
RESTARTED = "server 'api' exited with status -9 and is being started again"
REFUSED = f"model 'scripted' is being loaded again, because {RESTARTED}: try again in a few seconds"


@pytest.fixture
def own(no_provider: None, tmp_path: Path) -> Iterator[Scripted]:
    """A scripted mesh that only one test uses, with the model `scripted` and the replies to `QUESTION`."""
    with scripted_mesh(tmp_path) as scripted:
        scripted.replies["Count."] = WHOLE
        yield scripted


def one_and_silence() -> Reply:
    """Return a reply that begins and never ends."""
    return Reply([sse(chunk({"content": "one"})), asyncio.Event()])


def answer_of(scripted: Scripted, kind: str) -> Any:
    """Return the answer to `QUESTION`, or the failure."""
    client = door(kind, scripted.mesh)
    try:
        return client.complete(scripted.model, QUESTION)["choices"][0]["message"]["content"]
    except (InferenceError, openai.APIError) as error:
        return client.failure(error)


def failures(message: str) -> dict[str, Failure]:
    """Return what each client reports if the mesh answers with 503 and a message."""
    return {kind: Failure(message, 503, "server_lost" if kind == "openai" else None) for kind in DOORS}


def status_of(mesh: EmbeddedMesh, name: str) -> dict[str, str]:
    """Return a model's condition Ready, without its type."""
    [found] = [model for model in mesh.resources("Model") if model["metadata"]["name"] == name]
    [ready] = [condition for condition in found["status"]["conditions"] if condition["type"] == "Ready"]
    return {key: value for key, value in ready.items() if key != "type"}


def kill(mesh: EmbeddedMesh, name: str) -> psutil.Process:
    """Kill a process of a mesh, and return the process that replaces it."""
    victim = process_of(mesh.home, name)
    victim.kill()
    return process_of(mesh.home, name, other_than=victim)


def test_a_killed_server_is_started_again_with_its_models(own: Scripted) -> None:
    mesh = own.mesh
    own.replies["Count."] = one_and_silence()
    streams = {kind: door(kind, mesh).stream(own.model, QUESTION) for kind in ("http", "grpc")}
    assert [next(stream)["choices"][0]["delta"]["content"] for stream in streams.values()] == ["one"] * 2
    supervisor, server = process_of(mesh.home, "supervisor"), process_of(mesh.home, "api")

    with suspended(supervisor):  # so that the exit is not noticed yet
        server.kill()
        for kind, lost in (("http", "RemoteProtocolError"), ("grpc", "INTERNAL")):
            with pytest.raises(InferenceError) as cut:
                list(streams[kind])
            assert (str(cut.value), cut.value.partial) == (BROKE_OFF.format(lost), "one")
        assert {kind: answer_of(own, kind) for kind in DOORS} == failures(LOST)

    with suspended(process_of(mesh.home, "api", other_than=server)):  # so that the models are not loaded yet
        assert wait_until(lambda: status_of(mesh, own.model)["status"] != "True", timeout=60)
        expected = {"status": "Unknown", "message": "ModelProgressing", "reason": RESTARTED}
        assert [status_of(mesh, name) for name in (own.model, own.impatient)] == [expected] * 2
        assert wait_until(lambda: answer_of(own, "http") == failures(REFUSED)["http"], timeout=60)
        assert {kind: answer_of(own, kind) for kind in DOORS} == failures(REFUSED)

    own.replies["Count."] = WHOLE
    mesh.wait()
    assert {kind: answer_of(own, kind) for kind in DOORS} == dict.fromkeys(DOORS, "one")
    lives = own.log().split("--- api exited with status -9 and is started again ---")
    assert ["Loaded model 'scripted' successfully" in life for life in lives] == [True, True]


def test_models_can_be_changed_while_they_load_again_after_a_second_exit(own: Scripted) -> None:
    mesh = own.mesh
    kill(mesh, "api").kill()
    mesh.delete(Model(name=own.impatient, storage_uri="models/impatient"))
    uri = f"models/{own.model}"
    mesh.apply(Model(name=own.model, storage_uri=uri, requirements=("scripted",), parameters={"keep_alive": "1"}))
    mesh.wait()
    assert answer_of(own, "http") == "one"
    assert [model["metadata"]["name"] for model in mesh.resources("Model")] == [own.model]
    assert httpx.get(f"http://{mesh.address}/v2/models/{own.impatient}/ready").status_code == 404


def test_the_third_exit_closes_the_mesh_and_ends_calls_that_wait(own: Scripted) -> None:
    mesh = own.mesh
    with ThreadPoolExecutor() as pool:
        kill(mesh, "api").suspend()  # so that the model stays loading
        deletion = pool.submit(mesh.delete, Model(name=own.model, storage_uri="models/scripted"))
        kill(mesh, "envoy")
        process_of(mesh.home, "api").kill()
        with pytest.raises(MeshError) as closed:
            deletion.result(60)
    assert wait_until(lambda: mesh.closed and not mesh.home.exists() and processes_in(mesh.home) == [], timeout=60)
    assert str(closed.value).startswith(
        "the mesh was closed, because its servers exited 3 times within 60 s: connect again; api exited with status "
        "-9; its last log lines:\n"
    )
    with pytest.raises(MeshError) as again:
        mesh.wait()
    assert str(again.value) == str(closed.value)


class GateModel:
    """A model on the mesh that loads when the test lets it (see `tests.support.gate`)."""

    def __init__(self, mesh: EmbeddedMesh) -> None:
        self.pipe = mesh.models / "gate.pipe"
        os.mkfifo(self.pipe)
        write_settings(mesh.models, "gate", "tests.support.gate.Gate", pipe=str(self.pipe))
        self.model = Model(name="gate", storage_uri="models/gate", requirements=("scripted",))

    def say(self, text: str) -> None:
        """Wait until the model loads, and write to its pipe."""
        self.pipe.write_text(text)


def test_a_server_that_exits_while_a_model_loads_again(own: Scripted) -> None:
    mesh, gate = own.mesh, GateModel(own.mesh)
    mesh.apply(gate.model)
    gate.say("load")
    mesh.wait()
    kill(mesh, "api")
    with gate.pipe.open("w"):  # the model is loading
        kill(mesh, "api")
    gate.say("load")
    mesh.wait()
    assert [status_of(mesh, name) for name in ("gate", own.model)] == [{"status": "True"}] * 2
    assert answer_of(own, "grpc") == "one"


def test_a_model_that_ends_its_server_fails_and_the_others_load_again(own: Scripted) -> None:
    mesh, gate = own.mesh, GateModel(own.mesh)
    mesh.apply(gate.model)
    gate.say("exit")
    with pytest.raises(MeshError) as failed:
        mesh.wait("gate")
    first, *lines = str(failed.value).splitlines()
    assert first == f"model 'gate' failed to load: api exited with status {EXIT_STATUS}; its last log lines:"
    assert "Loaded model 'impatient' successfully." in lines[-1] + lines[-2]
    assert status_of(mesh, "gate") == {"status": "False", "message": "ModelFailed", "reason": str(failed.value)}
    mesh.wait(own.model, own.impatient)
    assert answer_of(own, "http") == "one"
    mesh.apply(gate.model)
    gate.say("load")
    mesh.wait("gate")
    mesh.delete(gate.model)


def test_a_killed_envoy_is_started_again_at_its_port(own: Scripted) -> None:
    own.replies["Count."] = one_and_silence()
    stream = door("http", own.mesh).stream(own.model, QUESTION)
    next(stream)
    own.replies["Count."] = WHOLE
    kill(own.mesh, "envoy")
    with pytest.raises(InferenceError) as cut:
        list(stream)
    assert str(cut.value) in [BROKE_OFF.format(lost) for lost in ("RemoteProtocolError", "ReadError")]
    assert wait_until(lambda: answer_of(own, "http") == "one", timeout=60)
    assert {kind: answer_of(own, kind) for kind in DOORS} == dict.fromkeys(DOORS, "one")


def test_a_killed_offline_provider_is_started_again(no_provider: None, tmp_path: Path) -> None:
    (tmp_path / "api.yaml").write_text(to_yaml(Server(name="api", capabilities=("openai",)).as_dict()))
    with EmbeddedMesh(servers=tmp_path) as mesh:
        mesh.apply(f"manifests/{OPENAI}.yaml")
        mesh.wait()
        kill(mesh, "provider")

        def answers() -> bool:
            try:
                return bool(door("http", mesh).complete(OPENAI, QUESTION, max_tokens=1))
            except InferenceError:
                return False

        assert wait_until(answers, timeout=60)
        assert status_of(mesh, OPENAI) == {"status": "True"}


def test_a_mesh_whose_supervisor_is_killed_is_closed(own: Scripted) -> None:
    running = processes_in(own.mesh.home)
    process_of(own.mesh.home, "supervisor").send_signal(signal.SIGKILL)
    assert psutil.wait_procs(running, timeout=60)[1] == []
    assert wait_until(lambda: own.mesh.closed and not own.mesh.home.exists(), timeout=60)
    with pytest.raises(MeshError) as closed:
        own.mesh.wait()
    assert str(closed.value) == "the mesh's supervisor has stopped, and so have its servers: connect again"
