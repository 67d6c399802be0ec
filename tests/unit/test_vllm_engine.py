"""What the engine around vLLM does, with a scripted chat layer in place of vLLM's."""

from argparse import Namespace
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.engine import VLLMEngine, _prepare_cpu
from llm_streaming.engines.vllm.settings import VLLMSettings
from llm_streaming.errors import EngineError

PARAMETERS = frozenset({"messages", "max_tokens", "response_format", "tools", "priority", "user", "structured_outputs"})
MESSAGES = [{"role": "user", "content": "Hi"}]


def settings(**arguments: Any) -> VLLMSettings:
    return VLLMSettings(Namespace(**arguments), {}, PARAMETERS, allow_grammar=False)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> VLLMEngine:
    """An engine whose streams end without a chunk, as vLLM's do when its compiler of schemas fails."""

    async def nothing() -> AsyncIterator[str]:
        yield "data: [DONE]\n\n"

    async def create(request: dict[str, Any], _: None) -> AsyncIterator[str]:
        return nothing()

    request_class = SimpleNamespace(model_validate=lambda body: body)
    monkeypatch.setattr(versions, "chat_request", lambda: request_class)
    client = SimpleNamespace(errored=False, model_config=SimpleNamespace(max_model_len=100))
    return VLLMEngine(client, settings(), SimpleNamespace(create_chat_completion=create))


async def refusal(engine: VLLMEngine, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(EngineError) as raised:
        await engine.complete({"messages": MESSAGES, **parameters})
    return str(raised.value), raised.value.status


async def test_a_format_that_vllm_cannot_compile_is_the_requests_fault(silent: VLLMEngine) -> None:
    sentence = "vLLM cannot compile the answer's format: simplify the schema, or the tools' schemas."
    tool = {"type": "function", "function": {"name": "paint"}}
    for parameters in ({"response_format": {"type": "json_object"}}, {"tools": [tool]}):
        assert await refusal(silent, **parameters) == (sentence, 400)
    assert await refusal(silent) == ("vLLM ended the stream before the answer was complete.", 502)


async def test_parameters_are_checked_before_vllm_sees_them(silent: VLLMEngine) -> None:
    assert await refusal(silent, max_tokens=101) == (
        "max_tokens is 101: give an integer from 1 to 100, the model's context in tokens.",
        400,
    )
    assert await refusal(silent, priority=5) == (
        "priority is not taken: it can cost other users their answers; leave it out.",
        400,
    )


@pytest.mark.parametrize("asked", [None, False])
def test_prompts_are_computed_in_one_step_on_a_cpu(asked: bool | None) -> None:
    given = settings(enable_chunked_prefill=asked, kv_cache_memory_bytes=1)
    _prepare_cpu(given)
    assert given.arguments.enable_chunked_prefill is False


def test_settings_cannot_ask_for_several_steps_on_a_cpu() -> None:
    with pytest.raises(EngineError) as raised:
        _prepare_cpu(settings(enable_chunked_prefill=True, kv_cache_memory_bytes=1))
    assert str(raised.value) == (
        "The setting enable_chunked_prefill must be false on a CPU, where it ends vLLM's engine: leave it out."
    )
