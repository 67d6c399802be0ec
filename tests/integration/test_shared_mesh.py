"""A shared mesh: a presenter and several participants, each in a process of their own."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

import llm_streaming.connection
from llm_streaming.cli import main
from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.errors import MeshError
from llm_streaming.manifests import Model
from llm_streaming.mesh.processes.ports import wait_until
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.paths import project_root
from llm_streaming.sharing.tunnel import SharedMesh
from tests.conftest import CPU
from tests.support.command_line import Up
from tests.support.processes import processes_in, python

CALLS_THE_MESH = """
import json, sys
from llm_streaming import connect
from llm_streaming.errors import LLMStreamingError
mesh = connect("embedded")
print(mesh.address, flush=True)
for line in sys.stdin:
    call, *arguments = json.loads(line)
    try:
        getattr(mesh, call)(*arguments)
    except LLMStreamingError as error:
        print(error)
    print("done", flush=True)
"""


class Participant:
    """A participant's process, in a session of its own like a notebook's kernel."""

    def __init__(self, invitation: str) -> None:
        environment = {**os.environ, MESH_VARIABLE: invitation}
        self.process = python(CALLS_THE_MESH, env=environment, start_new_session=True)
        self.opened = self.process.stdout.readline().rstrip("\n")
        self.address = self.process.stdout.readline().rstrip("\n")
        (tunnel,) = (
            child for child in psutil.Process(self.process.pid).children(recursive=True) if child.name() == "envoy"
        )
        self.home = Path(tunnel.cwd())

    def does(self, *call: object) -> str:
        """Call a method of the mesh, and return what the call prints."""
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        return "\n".join(line.rstrip("\n") for line in iter(self.process.stdout.readline, "done\n"))

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def up(no_provider: None) -> Iterator[Up]:
    up = Up("--share", "--share-host", "127.0.0.1")
    yield up
    up.end(signal.SIGTERM)


@pytest.fixture
def participants(up: Up) -> Iterator[list[Participant]]:
    """Two participants; the models that they leave behind are removed."""
    both = [Participant(up.invitation) for _ in range(2)]
    yield both
    for participant in both:
        participant.end()
    with RemoteMesh.at(up.control) as presenter:
        presenter.reset()


def manifest(**fields: Any) -> dict[str, Any]:
    return Model(**{"name": "m", "storage_uri": f"models/{CPU}", "requirements": ("llm-local",), **fields}).as_dict()


def status(address: str) -> int:
    return httpx.get(f"http://{address}/v2/models/m/ready").status_code


def test_the_messages_for_the_presenter_and_the_participants(up: Up, participants: list[Participant]) -> None:
    [where] = re.findall(r"^https://(127\.0\.0\.1:\d+)#[\w-]{43}\.[0-9a-f]{64}\Z", up.invitation)
    assert up.process.stderr.readline() == (f"The mesh is shared at {where} with everyone who runs this command:\n")
    assert [one.opened for one in participants] == [
        f"The embedded mesh is open at {one.address}, kept open by `llm-streaming up` at {where}."
        for one in participants
    ]


def test_a_delete_takes_no_model_from_the_others(participants: list[Participant], up: Up) -> None:
    one, other = participants
    printed = [
        one.does("apply", manifest()),
        other.does("apply", manifest()),
        one.does("wait", "m"),
        other.does("wait", "m"),
        one.does("delete", manifest()),
        one.does("delete", manifest()),
    ]
    still_there = status(other.address)
    printed += [other.does("delete", manifest()), other.does("delete", manifest())]
    assert printed == [
        "model.mlops.seldon.io/m created",
        "model.mlops.seldon.io/m unchanged",
        "model.mlops.seldon.io/m condition met",
        "model.mlops.seldon.io/m condition met",
        'model.mlops.seldon.io "m" deleted',
        "model 'm' was deployed by 1 participant: only they can delete it",
        'model.mlops.seldon.io "m" deleted',
        "model 'm' is not deployed on this mesh: apply its manifest first",
    ]
    assert (still_there, status(other.address), status(up.address)) == (200, 404, 404)


def test_a_model_that_others_use_cannot_be_changed(participants: list[Participant]) -> None:
    one, other = participants
    changed = manifest(parameters={"keep_alive": "1"})
    refused = (
        "model 'm' was deployed by 1 participant with a different manifest: use another name, or wait until they "
        "delete the model"
    )
    assert [one.does("apply", manifest()), other.does("apply", changed), one.does("apply", changed)] == [
        "model.mlops.seldon.io/m created",
        refused,
        "model.mlops.seldon.io/m configured",
    ]


def test_the_limits_of_guests(participants: list[Participant], up: Up) -> None:
    one, _ = participants
    assert [
        one.does("apply", manifest(parameters={"model_settings": '{"model": "/etc/passwd"}'})),
        one.does("apply", manifest(storage_uri="/etc")),
        one.does("reset"),
    ] == [
        "model 'm': a shared mesh does not accept model_settings in spec.parameters, only keep_alive",
        f"storageUri /etc points outside the models folder, {project_root()}/models",
        "only the presenter can reset a shared mesh, in a shell on their machine",
    ]
    with RemoteMesh.at(up.control) as presenter:
        presenter.apply(manifest(parameters={"keep_alive": "1"}))  # the presenter may set any parameter
        presenter.delete(manifest())


def test_only_the_presenter_can_reset(
    participants: list[Participant], up: Up, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = participants
    for participant in participants:
        participant.does("apply", manifest())
    monkeypatch.setenv(MESH_VARIABLE, up.invitation)
    assert (main(["reset"]), capsys.readouterr().err) == (
        1,
        "error: only the presenter can reset a shared mesh, in a shell on their machine\n",
    )
    monkeypatch.setenv(MESH_VARIABLE, up.control)
    assert (main(["reset"]), capsys.readouterr()) == (0, ('model.mlops.seldon.io "m" deleted\n', ""))
    assert (main(["reset"]), capsys.readouterr()) == (0, ("", "No models found.\n"))
    assert other.does("apply", manifest()) == "model.mlops.seldon.io/m created"
    assert other.does("delete", manifest()) == 'model.mlops.seldon.io "m" deleted'
    assert status(one.address) == 404


def test_a_shell_of_a_participant(up: Up, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command opens a tunnel of its own, and all commands of a shell are one participant."""
    monkeypatch.setenv(MESH_VARIABLE, up.invitation)
    monkeypatch.setattr(llm_streaming.connection, "open_meshes", [])
    file = f"manifests/{CPU}.yaml"
    for arguments in (["apply", "-f", file], ["wait"], ["get"], ["delete", "-f", file]):
        assert main(arguments) == 0
    assert capsys.readouterr().out == (
        f"model.mlops.seldon.io/{CPU} created\n"
        f"model.mlops.seldon.io/{CPU} condition met\n"
        f"NAME{' ' * 25}READY   MESSAGE\n{CPU}   True\n"
        f'model.mlops.seldon.io "{CPU}" deleted\n'
    )


def test_a_participant_who_is_killed_leaves_nothing_on_their_machine(up: Up) -> None:
    participant = Participant(up.invitation)
    running = processes_in(participant.home)
    assert [process.name() for process in running if process.name() == "envoy"] == ["envoy"]
    participant.process.kill()
    participant.process.communicate()
    assert psutil.wait_procs(running, timeout=60)[1] == []
    assert wait_until(lambda: not participant.home.exists(), timeout=60)
    host, port = participant.address.split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_nothing_is_left_when_the_presenter_ends(no_provider: None) -> None:
    up = Up("--share", "--share-host", "127.0.0.1")
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert [child.name() for child in children].count("envoy") == 2
    assert up.process.stderr.readline().startswith("The mesh is shared at 127.0.0.1:")
    assert up.end(signal.SIGINT) == (0, "", "")
    assert psutil.wait_procs(children, timeout=60)[1] == []
    with pytest.raises(MeshError, match=r"cannot be reached: is `llm-streaming up --share` running there"):
        SharedMesh(up.invitation)
