"""Parameters of the API runtime that OpenAI does not know, but nearly names."""

import json
import re

import orjson
import pytest
from mlserver.types import InferenceResponse, Parameters

from llm_streaming.client.grpc_messages import read_message
from llm_streaming.client.http import read_event
from llm_streaming.engines.openai.parameters import misspelled
from llm_streaming.protocol import encode_chunk
from llm_streaming.protocol.chunks import keep_alive_chunk
from llm_streaming.runtimes.responses import StreamedResponse
from tests.support.provider import Provider, Reply, accumulated, streamed
from tests.unit.test_runtimes import api, payload, stream

MISSPELLED = {
    "max_token": "max_tokens",
    "maxTokens": "max_tokens",
    "max_tokes": "max_tokens",
    "max_completion_token": "max_completion_tokens",
    "temprature": "temperature",
    "Temperature": "temperature",
    "topp": "top_p",
    "stops": "stop",
    "logprob": "logprobs",
    "frequency_penality": "frequency_penalty",
    "response_fromat": "response_format",
    "reasoning_efort": "reasoning_effort",
    "paralell_tool_calls": "parallel_tool_calls",
}

# Parameters that vLLM, llama.cpp, Ollama, Hugging Face, OpenRouter, Groq, Mistral, Perplexity, DashScope and other
# providers add to OpenAI's.
EXTENSIONS = """
top_k min_p top_a typical_p tfs_z top_n_sigma repetition_penalty length_penalty repeat_penalty repeat_last_n
presence_penalty frequency_penalty dry_multiplier xtc_probability mirostat mirostat_tau dynatemp_range
chat_template chat_template_kwargs add_generation_prompt continue_final_message documents mm_processor_kwargs
reasoning reasoning_format reasoning_budget include_reasoning thinking enable_thinking thinking_budget
provider models route transforms plugins usage user_id safe_prompt random_seed prompt_mode guardrails num_ctx
num_predict num_gpu keep_alive format n_predict n_probs n_keep cache_prompt samplers grammar json_schema
min_tokens max_new_tokens min_new_tokens max_length stop_token_ids stop_sequences ignore_eos best_of echo
bad_words allowed_token_ids use_beam_search skip_special_tokens spaces_between_special_tokens
include_stop_str_in_output guided_json guided_choice guided_regex structured_outputs priority request_id
logits_processors truncate_prompt_tokens prompt_logprobs return_tokens_as_token_ids kv_transfer_params
do_sample watermark search_parameters search_domain_filter search_recency_filter return_images
return_related_questions enable_search context_length_exceeded_behavior speculation safety_settings
cached_content regex ebnf separate_reasoning
"""

WARNING = "OpenAI's API has no parameter max_token (did you mean max_tokens?); it was sent as it is"


@pytest.mark.parametrize(("name", "meant"), MISSPELLED.items())
def test_a_misspelled_name_is_found(name: str, meant: str) -> None:
    assert misspelled(["temperature", name]) == [
        f"OpenAI's API has no parameter {name} (did you mean {meant}?); it was sent as it is"
    ]


@pytest.mark.parametrize("name", re.findall(r"\w+", EXTENSIONS))
def test_providers_own_parameters_are_no_mistakes(name: str) -> None:
    assert misspelled([name]) == []


def test_only_some_names_are_compared() -> None:
    assert misspelled([*map(str, range(50)), "max_token"]) == []


async def test_only_the_first_event_has_the_warnings() -> None:
    async with Provider(streamed("a")) as provider:
        model = api(provider.base_url)
        await model.load()
        responses = await stream(model, payload(parameters={"max_token": 5, "top_k": 1}))
        await model.unload()
    given = [dict(each.event_parameters) for each in responses]
    assert given == [{"warnings": json.dumps([WARNING])}, *[{}] * (len(responses) - 1)]


@pytest.mark.parametrize(("name", "warnings"), [("max_token", [WARNING]), ("max_tokens", [])])
async def test_a_whole_answer_has_the_warnings(name: str, warnings: list[str]) -> None:
    async with Provider(Reply([accumulated("a")], headers={"content-type": "application/json"})) as provider:
        model = api(provider.base_url)
        await model.load()
        response: InferenceResponse = await model.predict(payload(parameters={name: 5}))
        await model.unload()
    text = orjson.dumps(warnings).decode()
    assert response.parameters == (Parameters.model_validate({"warnings": text}) if warnings else None)


@pytest.mark.parametrize("given", ["[1]", "{", "3", '["\\u001b[31m"]', '{"a": 1}'])
@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_clients_bear_any_value_of_the_field(given: str, transport: str, recwarn: pytest.WarningsRecorder) -> None:
    [event] = encode_chunk(keep_alive_chunk("1", "m", 1))
    response = StreamedResponse("m", "1", Parameters(), [event], {"warnings": given})
    if transport == "http":
        seen = read_event(response.as_server_sent_events().decode().removeprefix("data: ").strip())
    else:
        seen = read_message(response.as_message(raw=False).SerializeToString())
    assert seen.content == ""
    expected = {"[1]": ["1"], '["\\u001b[31m"]': [r"\x1b[31m"]}.get(given, [])
    assert [str(each.message) for each in recwarn] == expected
