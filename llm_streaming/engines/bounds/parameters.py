"""The tables of limits: for each parameter of llama.cpp and vLLM the values that it may have.

Within these limits, the worst request that was tried kept another user waiting for 3 s on two cores, with 960
properties in vLLM. Beyond them, single requests ended or blocked an engine.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds import conversation, outputs
from llm_streaming.engines.bounds.schema import NewSchemaReader, SchemaReader
from llm_streaming.engines.bounds.values import (
    Kind,
    Reader,
    anything,
    either,
    flag,
    integer,
    list_of,
    number,
    object_of,
    one_of,
    refused,
    text,
)

UNSEEN = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
"""Parameters of OpenAI's API that never change an answer. They are accepted, and not passed to the engine."""

_SHARE, _SMALL, _TOKENS = number(0, 1), number(0, 100), list_of(integer(0, 2**31 - 1), 1024)
_SAMPLERS = ("dry", "top_k", "typ_p", "top_p", "top_n_sigma", "min_p", "xtc", "temperature", "penalties")
_TEMPLATE_VALUES = object_of(either(text(1000), number(-(2**53), 2**53), flag), 16)
_SET_BY_THE_SERVER = {
    "messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token",
    "chat_template", "tokenize", "return_dict",
}  # fmt: skip


def llamacpp_parameters(
    context: int, *, allow_grammar: bool, allow_samplers: bool, unfollowed: set[str]
) -> dict[str, Reader]:
    """Return the reader of each parameter that llama.cpp's chat completions use; llama.cpp ignores other names.

    Parameters that would change the format of chunks are left out.

    Args:
        context: the setting ``n_ctx``.
        allow_grammar: whether requests may have the parameter ``grammar``.
        allow_samplers: whether requests may have the parameter ``samplers``.
        unfollowed: gets the keywords of schemas that llama.cpp does not follow.
    """
    new_schema_reader = partial(SchemaReader, for_llamacpp=True, unfollowed=unfollowed)
    return _common(context, new_schema_reader, stops=16) | {
        "n": Kind("1, because llama.cpp's chunks do not say which choice they belong to", lambda value: value == 1),
        "tool_choice": Kind(
            "auto or none, because llama.cpp cannot force a tool call reliably", lambda value: value in ("auto", "none")
        ),
        "seed": integer(0, 2**32 - 2),
        "json_schema": outputs.schema(new_schema_reader),
        "grammar": outputs.grammar if allow_grammar else _unless("grammar"),
        "samplers": list_of(one_of(*_SAMPLERS), len(_SAMPLERS)) if allow_samplers else _unless("samplers"),
        **dict.fromkeys(("typical_p", "xtc_probability", "xtc_threshold"), _SHARE),
        **dict.fromkeys(("dynatemp_range", "dynatemp_exponent", "mirostat_tau", "mirostat_eta"), _SMALL),
        **dict.fromkeys(("dry_multiplier", "dry_base"), _SMALL),
        **dict.fromkeys(("repeat_last_n", "dry_allowed_length", "dry_penalty_last_n"), integer(0, context)),
        "dry_sequence_breakers": list_of(text(40), 16),
        "top_n_sigma": number(-1, 100),
        "mirostat": integer(0, 2),
        "repeat_penalty": number(0.01, 10),
        "min_keep": integer(0, 1000),
        "cache_prompt": flag,
    }


def vllm_parameters(context: int, *, allow_grammar: bool, unfollowed: set[str]) -> dict[str, Reader]:
    """Return the reader of each parameter of vLLM that a request may have. The others are for whoever runs vLLM.

    Args:
        context: the setting ``max_model_len``.
        allow_grammar: whether ``structured_outputs`` may contain a grammar.
        unfollowed: gets the keywords of schemas that vLLM does not follow.
    """
    new_schema_reader = partial(SchemaReader, for_llamacpp=False, unfollowed=unfollowed)
    flags = (
        "include_reasoning", "watermarking", "include_stop_str_in_output", "skip_special_tokens",
        "spaces_between_special_tokens", "echo", "add_generation_prompt", "continue_final_message",
        "add_special_tokens", "return_tokens_as_token_ids", "return_token_ids", "return_token_offsets",
    )  # fmt: skip
    return _common(context, new_schema_reader, stops=4) | {
        "n": integer(1, 16),
        "seed": integer(0, 2**63 - 1),
        "structured_outputs": outputs.structured_outputs(new_schema_reader, allow_grammar=allow_grammar),
        "reasoning_effort": text(16),
        "thinking_token_budget": integer(-1, context),
        "repetition_penalty": number(0.01, 10),
        "repetition_detection": anything,
        "min_tokens": integer(0, context),
        "stop_token_ids": _TOKENS,
        "allowed_token_ids": _TOKENS,
        "logprob_token_ids": list_of(integer(0, 2**31 - 1), 128),
        "bad_words": list_of(text(256), 128),
        "prompt_logprobs": integer(0, 20),
        "session_id": text(256),
        "stream_interval": integer(1, 1024),
        **dict.fromkeys(flags, flag),
    }


def _common(context: int, new_schema_reader: NewSchemaReader, *, stops: int) -> dict[str, Reader]:
    """Return the readers of the parameters that both engines have; `context` is the most tokens of one request."""
    tokens = Kind(f"{integer(1, context).words}, the model's context in tokens", integer(1, context).admits)
    return {
        "messages": conversation.messages(context),
        "tools": conversation.tools(new_schema_reader),
        "response_format": outputs.response_format(new_schema_reader),
        "chat_template_kwargs": _template_kwargs,
        "temperature": number(0, 2),
        "top_p": _SHARE,
        "min_p": _SHARE,
        "top_k": integer(-1, 100_000),
        **dict.fromkeys(("max_tokens", "max_completion_tokens"), tokens),
        "presence_penalty": number(-2, 2),
        "frequency_penalty": number(-2, 2),
        "logit_bias": object_of(number(-100, 100), 1024),
        "top_logprobs": integer(0, 20),
        "stop": either(text(256), list_of(text(256), stops)),
        **dict.fromkeys(("logprobs", "ignore_eos", "parallel_tool_calls"), flag),
        "tool_choice": anything,  # vLLM checks it
        **dict.fromkeys(UNSEEN, anything),
    }


def _template_kwargs(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
    for key in _TEMPLATE_VALUES(name, value):
        if key in _SET_BY_THE_SERVER:
            raise bad_request(f"{name} contains {key}, which the server sets: leave it out.")
    return value


def _unless(name: str) -> Reader:
    return refused(f"it can stall the model for everybody; leave it out, or set allow_{name} in the model's settings")
