"""The provider that fails on purpose, called by the OpenAI engine."""

import asyncio

import pytest

from llm_streaming.engines.openai.engine import OpenAIEngine
from llm_streaming.errors import EngineError
from llm_streaming.notebook.faulty_provider import BUSY, ENDLESS, FAILURES, REFUSALS, TOKENS, FaultyProvider

CLOSED = ("The provider closed the connection before the answer was complete.", 502)
CRASHED = ("The model has crashed.", 500)
ANSWER = "".join(TOKENS)


async def ask(provider: FaultyProvider, text: str, whole: bool = False) -> tuple[str, tuple[str, int] | None]:
    """Return the text that arrived, and the failure as message and status."""
    engine = OpenAIEngine("any", base_url=provider.base_url, max_retries=0)
    request, so_far = {"messages": [{"role": "user", "content": text}]}, ""
    try:
        if whole:
            return (await engine.complete(request))["choices"][0]["message"]["content"], None
        async for chunk in engine.stream(request):
            for choice in chunk["choices"]:
                so_far += choice["delta"].get("content", "")
    except EngineError as error:
        return so_far, (str(error), error.status)
    finally:
        await engine.close()
    return so_far, None


async def test_an_answer_fails_as_its_question_says() -> None:
    with FaultyProvider(silence=0.01) as provider:
        streamed = {text: await ask(provider, text) for text in (*FAILURES, "anything else")}
        whole = {text: await ask(provider, text, whole=True) for text in (*FAILURES, "anything else")}
    assert streamed == {
        "crashes": (ANSWER, CRASHED),
        "breaks off": (ANSWER, CLOSED),
        "falls silent": (ANSWER, None),
        "anything else": (ANSWER, None),
    }
    assert whole == {
        "crashes": ("", CRASHED),
        "breaks off": ("", CLOSED),
        "falls silent": (ANSWER, None),
        "anything else": (ANSWER, None),
    }
    assert provider.asked == [*streamed, *whole]


@pytest.mark.parametrize("whole", [False, True])
async def test_a_refusal_has_a_status_and_words(whole: bool) -> None:
    with FaultyProvider(retry_after=3) as provider:
        refused = {text: await ask(provider, text, whole) for text in REFUSALS}
    expected = {text: ("", (refusal.message, refusal.status)) for text, refusal in REFUSALS.items()}
    assert refused == expected | {"too often": ("", ("Rate limit reached. (Try again after 3 s.)", 429))}


async def test_the_third_who_asks_a_busy_provider_is_answered() -> None:
    with FaultyProvider() as provider:
        answers = [await ask(provider, BUSY) for _ in range(3)]
    assert [text for text, _ in answers] == ["", "", ANSWER]


async def test_an_endless_answer_ends_when_its_reader_leaves() -> None:
    with FaultyProvider() as provider:
        engine = OpenAIEngine("any", base_url=provider.base_url)
        chunks = engine.stream({"messages": [{"role": "user", "content": ENDLESS}]})
        begun = [(await anext(chunks))["choices"][0]["delta"]["content"] for _ in range(5)]
        assert not provider.left.is_set()
        await chunks.aclose()
        await engine.close()
        assert await asyncio.to_thread(provider.left.wait, 20)
    assert begun == [*TOKENS, " more", " more"]


async def test_closing_ends_a_silence() -> None:
    provider = FaultyProvider(silence=3600)
    engine = OpenAIEngine("any", base_url=provider.base_url)
    chunks = engine.stream({"messages": [{"role": "user", "content": "falls silent"}]})
    for _ in TOKENS:
        await anext(chunks)
    provider.close()
    rest = [chunk["choices"] async for chunk in chunks]
    await engine.close()
    assert rest == [[{"index": 0, "delta": {}, "finish_reason": "stop"}], []]
