"""What breaks on a mesh: a table of faults, and what each client is told, by when its call was interrupted.

Each fault happens once on a mesh of its own, while every door has a stream whose text has begun, a stream that waits
for its first text, and a call for a whole answer. Then every door calls once more. In the end the mesh is whole again.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from llm_streaming import ChatClient, GrpcChatClient
from llm_streaming.errors import InferenceError
from llm_streaming.manifests import Model
from llm_streaming.mesh.processes.ports import wait_until
from tests.support.doors import DOORS, Door, door
from tests.support.processes import processes_in
from tests.support.provider import Reply, accumulated, chunk, sse
from tests.support.scripted import Scripted, scripted_mesh

TEXT = "so far"
UNDER_WAY = ("in its text", "before its text", "whole")
"""When the calls that run are interrupted."""


def server_of(scripted: Scripted) -> psutil.Process:
    """The MLServer's process."""
    places = [(one, " ".join(one.cmdline())) for one in processes_in(scripted.mesh.home)]
    return next(one for one, command in places if "mlserver" in command or "llm_streaming.runtimes" in command)


def envoy_of(scripted: Scripted) -> psutil.Process:
    return next(one for one in processes_in(scripted.mesh.home) if one.name() == "envoy")


def delete_model(scripted: Scripted) -> None:
    scripted.mesh.delete(Model(name=scripted.model, storage_uri=f"models/{scripted.model}"))


def deploy_again(scripted: Scripted) -> None:
    model = Model(name=scripted.model, storage_uri=f"models/{scripted.model}", requirements=("scripted",))
    scripted.mesh.apply(model)
    scripted.mesh.wait(scripted.model)


def nothing(_: Scripted) -> None:
    pass


BROKE_OFF = (
    "the answer broke off before it was complete (…), most likely because the model's server exited: mesh.logs or "
    "`llm-streaming logs` shows why; ask again, and connect again if the mesh is closed"
)
LOST = (
    "the server of this model does not answer, most likely because it has exited and is being started again: try again "
    "in a few seconds; `llm-streaming get` shows its state, and mesh.logs or `llm-streaming logs` shows why it exited"
)
NOT_DEPLOYED = "model 'scripted' is not deployed here: apply its manifest and wait until it is ready"
UNLOADED = "The model has been unloaded: load it again."
STOPPING = "The server is stopping: try again in a minute."
RELOADED = (
    "model 'scripted' is being loaded again, because server 'api' exited with status {} and is being started again: "
)
RELOADED += "try again in a few seconds"
OPENAIS_WORDS = "a connection error, in the words of OpenAI's client or of httpx"


@dataclass(frozen=True)
class Fault:
    """A fault, and the sentences about it.

    Args:
        happen: makes the fault.
        told: what each call says, by when it was interrupted: one sentence, the sentences of two moments, or one for
            each door.
        mend: what a person does after it; by default the mesh mends itself.
    """

    happen: Callable[[Scripted], object]
    told: dict[str, str | tuple[str, str] | dict[str, str]]
    mend: Callable[[Scripted], object] = nothing


CUT = {"http": BROKE_OFF, "grpc": BROKE_OFF, "openai": OPENAIS_WORDS}

FAULTS = {
    "MLServer is killed": Fault(
        lambda scripted: server_of(scripted).kill(),
        {
            "in its text": CUT,
            "before its text": {**CUT, "openai": LOST},
            "whole": LOST,
            "next": (LOST, RELOADED.format(-9)),
        },
    ),
    "MLServer is told to end": Fault(
        lambda scripted: server_of(scripted).terminate(),
        {"in its text": STOPPING, "before its text": STOPPING, "whole": STOPPING, "next": (LOST, RELOADED.format(0))},
    ),
    "Envoy is killed": Fault(
        lambda scripted: envoy_of(scripted).kill(),
        {
            "in its text": CUT,
            "before its text": CUT,
            "whole": CUT,
            # Envoy is back within a second, so the next call may already be answered.
        },
    ),
    "the model is deleted": Fault(
        delete_model,
        {
            "in its text": UNLOADED,
            "before its text": UNLOADED,
            "whole": UNLOADED,
            "next": {"http": NOT_DEPLOYED, "grpc": NOT_DEPLOYED, "openai": "Error code: 404"},
        },
        mend=deploy_again,
    ),
}


@pytest.fixture
def own(no_provider: None, tmp_path: Path) -> Iterator[Scripted]:
    """A scripted mesh that only one test uses. Its provider is silent after what the text of a question names."""
    with scripted_mesh(tmp_path) as scripted:
        yield scripted


def sentence_of(client: Door, call: Callable[[], object]) -> str:
    """What a client is told, without the parts that differ from run to run."""
    try:
        call()
    except (openai.APIConnectionError, httpx.TransportError):  # the second in the middle of a stream
        return OPENAIS_WORDS
    except (InferenceError, openai.APIError) as error:
        said = client.failure(error).message
    else:
        return "an answer"
    said = re.sub(r"(?:http://)?127\.0\.0\.1:\d+", "…", said)
    return re.sub(r"\((?:RemoteProtocolError|ReadError|UNAVAILABLE|CANCELLED|INTERNAL)\)", "(…)", said)


def one_of(words: str | tuple[str, str], said: str) -> str:
    """What was said if it is one of the expected sentences, otherwise the first expected sentence."""
    sentences = (words,) if isinstance(words, str) else words
    return said if said in sentences else sentences[0]


def call_of(scripted: Scripted, kind: str, when: str, seen: list[str]) -> str:
    """Make a call, and return what it ends with; the text before that goes into `seen`."""
    client, messages = door(kind, scripted.mesh), [{"role": "user", "content": f"{kind} {when}"}]

    def stream() -> None:
        for one in client.stream(scripted.model, messages):
            seen.extend(choice["delta"].get("content", "") for choice in one["choices"])

    def complete() -> Any:
        return client.complete(scripted.model, messages)

    return sentence_of(client, stream if "text" in when else complete)


@pytest.mark.parametrize("name", FAULTS)
def test_every_client_is_told_and_keeps_what_had_come(own: Scripted, name: str) -> None:
    fault = FAULTS[name]
    begun: dict[str, Any] = {"in its text": [sse(chunk({"content": TEXT}))]}
    ways = [(kind, when) for when in UNDER_WAY for kind in DOORS]
    for kind, when in ways:
        own.replies[f"{kind} {when}"] = Reply([*begun.get(when, []), asyncio.Event()])
    for kind in DOORS:
        own.replies[f"{kind} next"] = Reply([accumulated("An answer.")], headers={"content-type": "application/json"})
    seen: dict[tuple[str, str], list[str]] = {way: [] for way in ways}
    pool = ThreadPoolExecutor(len(ways))
    try:
        calls = {(kind, when): pool.submit(call_of, own, kind, when, seen[kind, when]) for kind, when in ways}
        for kind, when in ways:
            own.wait_for_request(f"{kind} {when}")
        assert wait_until(lambda: all("".join(seen[kind, "in its text"]) == TEXT for kind in DOORS), timeout=60)
        fault.happen(own)
        told = {way: call.result(timeout=120) for way, call in calls.items()}
    finally:
        pool.shutdown(wait=False)  # a call that hangs ends with the mesh
    if "next" in fault.told:
        told |= {(kind, "next"): call_of(own, kind, "next", []) for kind in DOORS}
    expected = {
        (kind, when): words[kind] if isinstance(words, dict) else words
        for when, words in fault.told.items()
        for kind in DOORS
    }
    assert {way: one_of(words, told[way]) for way, words in expected.items()} == told
    assert {way: "".join(texts) for way, texts in seen.items()} == {
        (kind, when): TEXT if when == "in its text" else "" for kind, when in ways
    }
    fault.mend(own)
    for kind in DOORS:
        assert wait_until(lambda kind=kind: call_of(own, kind, "next", []) == "an answer", timeout=60)  # type: ignore[misc]


def test_a_server_that_stands_still_is_waited_for_as_long_as_the_client_says(own: Scripted) -> None:
    """SIGSTOP: no connection breaks, so that only the client's own limit ends the call."""
    own.replies["stopped"] = Reply([accumulated("An answer.")], headers={"content-type": "application/json"})
    question = [{"role": "user", "content": "stopped"}]
    server = server_of(own)
    server.suspend()
    try:
        for client in (ChatClient(own.mesh.address, timeout=1), GrpcChatClient(own.mesh.grpc_address, timeout=1)):
            with (
                client,
                pytest.raises(InferenceError, match=r":\d+ sent nothing for longer than the client's timeout$"),
            ):
                client.complete(own.model, question)
    finally:
        server.resume()
    assert [
        door(kind, own.mesh).complete(own.model, question)["choices"][0]["message"]["content"] for kind in DOORS
    ] == ["An answer."] * 3
