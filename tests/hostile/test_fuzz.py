"""Random requests over every door of both runtimes: no crash, no hang, no traceback, no nonsense answered.

`pytest tests/hostile/test_fuzz.py --seed 1 --first 4711 --requests 1` sends one of them again.
"""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass

import psutil
import pytest

from llm_streaming import ChatClient
from llm_streaming.errors import LLMStreamingError
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from tests.hostile.grammar import Expected
from tests.hostile.requests import VALID, Case, case
from tests.hostile.sending import Outcome, Sender
from tests.support.both_runtimes import MODELS, RELAY, SMALL, mesh_of_both_runtimes
from tests.support.processes import processes_in
from tests.support.provider import Reply, Request, accumulated, streamed

AT_ONCE = 8
SHOWN = 20
PATIENCE = 3
UNREADABLE = "Error parsing message with type 'inference.ModelInferRequest'"
"""What gRPC's own server says, with a status that counts as 500, of bytes that are no message."""

QUESTION = [{"role": "user", "content": "Name a colour."}]


@dataclass(frozen=True)
class Report:
    """What became of all requests.

    Attributes:
        outcomes: each request and what came back.
        before, after: an answer of each model, and the processes of the mesh, before and after them.
        log: what the servers logged.
    """

    outcomes: list[tuple[Case, Outcome]]
    before: tuple[dict[str, str], set[psutil.Process]]
    after: tuple[dict[str, str], set[psutil.Process]]
    log: str


def echo(request: Request) -> Reply:
    """Repeat the last message, so that it shows in the answer whether it arrived as it was sent."""
    said = json.dumps(request.body["messages"][-1].get("content"))[:400]
    if request.body.get("stream"):
        return streamed(f"echo {said}")
    return Reply([accumulated(f"echo {said}")], headers={"content-type": "application/json"})


def state(mesh: EmbeddedMesh) -> tuple[dict[str, str], set[psutil.Process]]:
    """The answer of each model to one question, or why it has none; and the processes of the mesh."""
    with ChatClient(mesh.address, timeout=60) as client:
        return {name: answer(client, name) for name in MODELS}, set(processes_in(mesh.home))


def answer(client: ChatClient, model: str) -> str:
    try:
        return client.complete(model, QUESTION, max_tokens=4, temperature=0).content
    except LLMStreamingError as error:
        return str(error)


async def send_all(address: str, cases: list[Case]) -> list[tuple[Case, Outcome]]:
    """Send the requests, `AT_ONCE` at a time, in their order. End early if `PATIENCE` of them hang."""
    waiting = iter(cases)
    outcomes: list[tuple[Case, Outcome]] = []
    async with Sender(address) as sender:

        async def work() -> None:
            for one in waiting:
                outcome = await sender.send(one)
                outcomes.append((one, outcome))
                if sum(each.note == "hang" for _, each in outcomes) >= PATIENCE:
                    return

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return outcomes


@pytest.fixture(scope="module")
def report(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Report:
    first, count = pytestconfig.getoption("first"), pytestconfig.getoption("requests")
    cases = [case(pytestconfig.getoption("seed"), index) for index in range(first, first + count)]
    with mesh_of_both_runtimes(tmp_path_factory.mktemp("fuzz"), echo) as mesh:
        before = state(mesh)
        outcomes = asyncio.run(send_all(mesh.address, cases))
        return Report(outcomes, before, state(mesh), "".join(mesh.logs(name) for name in MODELS))


def fault_of(one: Case, outcome: Outcome) -> str:
    """Say what is wrong with an outcome; an empty text if nothing is."""
    if outcome.note == "hang":
        return "hang"
    if outcome.status >= 500 and UNREADABLE not in outcome.text:
        return "a client's fault answered as the server's"
    if "Traceback" in outcome.text or ", line " in outcome.text:
        return "a traceback in an answer"
    if outcome.note == "cut" or (outcome.status == 200 and one.expected != Expected.ANY and not outcome.finished):
        return "an answer without an end"
    if one.expected == Expected.REFUSED and not 400 <= outcome.status < 500:
        return "not refused"
    if one.expected == Expected.ANSWERED:
        if outcome.status != 200:
            return "a valid request refused"
        if one.model == RELAY and not echoed(one.question, outcome.text):
            return "another question answered"
    return ""


def echoed(question: str, text: str) -> bool:
    """Whether an answer repeats a question, however often its JSON is escaped on the way."""
    letters = re.sub(r"\\+(u[0-9a-f]{4}|n)|\W", "", json.dumps(question)[:400])
    return letters in re.sub(r"\\+(u[0-9a-f]{4}|n)|\W", "", text)


def table(outcomes: list[tuple[Case, Outcome]]) -> str:
    """Count the outcomes by their faults' names and their statuses."""
    counts = Counter((one.kind, outcome.note or str(outcome.status)) for one, outcome in outcomes)
    kinds = sorted({kind for kind, _ in counts})
    columns = sorted({column for _, column in counts})
    rows = [f"{'':34}" + "".join(f"{column:>7}" for column in columns)]
    rows += [f"{kind:34}" + "".join(f"{counts[kind, column] or '':>7}" for column in columns) for kind in kinds]
    return "\n".join(rows)


def test_no_request_is_answered_as_it_must_not_be(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    found = [(fault_of(one, outcome), one, outcome) for one, outcome in report.outcomes]
    faults = [each for each in found if each[0]]
    with capsys.disabled():
        print(f"\n{table(report.outcomes)}\n{len(found)} requests, {len(faults)} faults")
    lines = [
        f"{fault}: {one} -> {outcome.status} {outcome.note} {outcome.text[:300]!r}\n  {str(one.wire)[:300]}"
        for fault, one, outcome in faults[:SHOWN]
    ]
    assert not faults, f"{Counter((fault, one.kind) for fault, one, _ in faults)}\n" + "\n".join(lines)


def test_every_process_lives_and_answers_as_before(report: Report) -> None:
    assert report.after == report.before


def test_no_log_has_a_traceback_of_ours(report: Report) -> None:
    tracebacks = re.findall(r"^Traceback \(most.*\n(?: .*\n|\n)*.*", report.log, re.MULTILINE)
    ours = [each for each in tracebacks if "/llm_streaming/" in each]
    assert not ours, f"{len(ours)} of {len(tracebacks)}, such as\n{ours[0]}"


def test_the_same_seed_makes_the_same_requests() -> None:
    assert [case(7, index).wire for index in range(300)] == [case(7, index).wire for index in range(300)]
    assert {case(7, index).kind for index in range(3000)} >= {VALID, "json: nested", "grpc: truncated"}
    assert {case(7, index).model for index in range(30)} == {RELAY, SMALL}
