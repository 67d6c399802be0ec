"""The provider for machines without a key: OpenAI's chat completions from the small model, and what it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from llm_streaming.engines.llamacpp.engine import LlamaCppEngine
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.mesh.embedded.offline_provider import application

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


@pytest.mark.parametrize("sent", [b"Bearer another", b"", "Bearer clé".encode()])
async def test_a_request_with_another_key_is_refused(http: httpx2.AsyncClient, sent: bytes) -> None:
    response = await http.post(PATH, json=QUESTION, headers={b"authorization": sent})
    error = {"message": "the key is missing or wrong", "type": "invalid_request_error", "code": None}
    assert (response.status_code, response.json()) == (401, {"error": error})
