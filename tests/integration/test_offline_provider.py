"""The provider for machines without a key: OpenAI's chat completions from the small model, and what it refuses."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from llm_streaming.engines.base import Engine
from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.errors import EngineError
from llm_streaming.mesh.embedded.offline_server import application
from tests.support.provider import chunk

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a key of this test"
PATH = "/v1/chat/completions"
QUESTION: dict[str, Any] = {
    "model": "gpt-3.5-turbo",
    "messages": [{"role": "user", "content": "Count to three."}],
    "max_tokens": 8,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    engine = await LlamaCppEngine.load(LlamaCppSettings(), Path())
    transport = httpx2.ASGITransport(application(engine, KEY))
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://provider", headers=headers) as client:
        yield client
    await engine.close()


async def test_openais_client_gets_the_same_answer_streamed_and_whole(http: httpx2.AsyncClient) -> None:
    client = openai.AsyncOpenAI(base_url="http://provider/v1", api_key=KEY, http_client=http)
    whole = await client.chat.completions.create(**QUESTION)
    chunks = [chunk async for chunk in await client.chat.completions.create(**QUESTION, stream=True)]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    streamed = "".join(choice.delta.content or "" for choice in choices), choices[-1].finish_reason
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == streamed
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert whole.usage.total_tokens == chunks[-1].usage.total_tokens


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (
            {**QUESTION, "grammar": 'root ::= "a"'},
            400,
            "grammar is not taken: it can stall the model for everybody; leave it out, or set allow_grammar in the "
            "model's settings.",
        ),
        ({"messages": []}, 400, "There are no messages: send at least one."),
        (["a list"], 400, "the body: expected a JSON object, but got b'[\"a list\"]'"),
    ],
)
async def test_a_request_that_the_model_cannot_follow_is_refused(
    http: httpx2.AsyncClient, content: Any, status: int, message: str
) -> None:
    response = await http.post(PATH, json=content)
    assert (response.status_code, response.json()["error"]["message"]) == (status, message)


@pytest.mark.parametrize("given", ["Bearer another", "Bearer é".encode()])
async def test_a_request_with_another_key_is_refused(http: httpx2.AsyncClient, given: Any) -> None:
    response = await http.post(PATH, json=QUESTION, headers={"authorization": given})
    error = {"message": "The key is missing or wrong.", "type": "invalid_request_error", "code": None}
    assert (response.status_code, response.json()) == (401, {"error": error})


class Failing(Engine):
    """An engine that waits, or sends one chunk and fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.began, self.ended = asyncio.Event(), asyncio.Event()

    async def close(self) -> None:
        pass

    async def stream(self, _: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self.began.set()
        try:
            if self.failure is None:
                await asyncio.Event().wait()
            yield chunk({"content": "One"})
            assert self.failure is not None
            raise self.failure
        finally:
            self.ended.set()


def posting(engine: Engine, *, stream: bool) -> Coroutine[Any, Any, httpx2.Response]:
    transport = httpx2.ASGITransport(application(engine, KEY), raise_app_exceptions=False)
    client = httpx2.AsyncClient(transport=transport, base_url="http://provider")
    return client.post(PATH, json={**QUESTION, "stream": stream}, headers={"authorization": f"Bearer {KEY}"})


ERROR = {"error": {"message": "No more.", "type": "server_error", "code": None}}


async def test_a_failure_after_the_first_chunk_is_the_last_event_of_a_stream() -> None:
    response = await posting(Failing(EngineError("No more.", status=503)), stream=True)
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n\n") if line]
    assert (response.status_code, events) == (200, [chunk({"content": "One"}), ERROR])


async def test_a_failure_of_a_whole_answer_has_its_status() -> None:
    response = await posting(Failing(EngineError("No more.", status=503)), stream=False)
    assert (response.status_code, response.json()) == (503, ERROR)


async def test_an_unexpected_exception_shows_nothing_of_itself() -> None:
    response = await posting(Failing(RuntimeError("a secret")), stream=False)
    assert (response.status_code, response.text) == (500, "Internal Server Error")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_first_chunk_ends_the_models_work(stream: bool) -> None:
    engine = Failing()
    body = json.dumps({**QUESTION, "stream": stream}).encode()
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await engine.began.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", f"Bearer {KEY}".encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": headers}
    await asyncio.wait_for(application(engine, KEY)(scope, receive, send), 60)
    assert engine.ended.is_set()
    assert [message.get("status") for message in sent] == [499, None]


async def test_without_a_model_every_request_gets_the_reason() -> None:
    reason = EngineError("The model's file is broken.", status=503, code="no_model")
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(application(reason, KEY)), headers={"authorization": f"Bearer {KEY}"}
    ) as client:
        responses = [await client.post(f"http://provider{PATH}", json=QUESTION) for _ in range(3)]
    assert [(response.status_code, response.json()) for response in responses] == [(503, reason.as_openai())] * 3
    assert reason.__traceback__ is None  # it would keep every request in memory
