"""The limits of each parameter: a value at each limit is taken, the next one is refused in a whole sentence."""

from typing import Any

import pytest

from llm_streaming.engines.bounds.parameters import UNSEEN, llamacpp_parameters, vllm_parameters
from llm_streaming.engines.bounds.values import read_parameters
from llm_streaming.errors import EngineError

CONTEXT = 2048
LLAMACPP = llamacpp_parameters(CONTEXT, allow_grammar=False, allow_samplers=False, unfollowed=set())
ALLOWED = llamacpp_parameters(CONTEXT, allow_grammar=True, allow_samplers=True, unfollowed=set())
VLLM = vllm_parameters(CONTEXT, allow_grammar=False, unfollowed=set())

# For each kind of number: its limits, and the names that have it. The numbers are also in docs/runtimes.md.
NUMBERS: dict[str, list[tuple[float, float, list[str]]]] = {
    "llamacpp": [
        (0, 2, ["temperature"]),
        (0, 1, ["top_p", "min_p", "typical_p", "xtc_probability", "xtc_threshold"]),
        (-2, 2, ["presence_penalty", "frequency_penalty"]),
        (0.01, 10, ["repeat_penalty"]),
        (-1, 100, ["top_n_sigma"]),
        (0, 100, ["dynatemp_range", "dynatemp_exponent", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base"]),
    ],
    "vllm": [
        (0, 2, ["temperature"]),
        (0, 1, ["top_p", "min_p"]),
        (-2, 2, ["presence_penalty", "frequency_penalty"]),
        (0.01, 10, ["repetition_penalty"]),
    ],
}
INTEGERS: dict[str, list[tuple[int, int, list[str]]]] = {
    "llamacpp": [
        (1, CONTEXT, ["max_tokens", "max_completion_tokens"]),
        (0, CONTEXT, ["repeat_last_n", "dry_allowed_length", "dry_penalty_last_n"]),
        (0, 2**32 - 2, ["seed"]),
        (-1, 100_000, ["top_k"]),
        (0, 20, ["top_logprobs"]),
        (0, 2, ["mirostat"]),
        (0, 1000, ["min_keep"]),
    ],
    "vllm": [
        (1, CONTEXT, ["max_tokens", "max_completion_tokens"]),
        (0, CONTEXT, ["min_tokens"]),
        (-1, CONTEXT, ["thinking_token_budget"]),
        (0, 2**63 - 1, ["seed"]),
        (-1, 100_000, ["top_k"]),
        (0, 20, ["top_logprobs", "prompt_logprobs"]),
        (1, 16, ["n"]),
        (1, 1024, ["stream_interval"]),
    ],
}
READERS = {"llamacpp": LLAMACPP, "vllm": VLLM}


def refusal(readers: Any, **parameters: Any) -> str:
    with pytest.raises(EngineError) as raised:
        read_parameters(parameters, readers)
    assert (raised.value.status, raised.value.type) == (400, "invalid_request_error")
    return str(raised.value)


@pytest.mark.parametrize("engine", READERS)
def test_numbers_stay_in_their_range(engine: str) -> None:
    for low, high, names in NUMBERS[engine]:
        for name in names:
            for value in (low, high):
                assert read_parameters({name: value}, READERS[engine]) == {name: value}
            for wrong in (low - 0.001, high + 0.001, -1e39, 1e39, True, "1", [1]):
                assert refusal(READERS[engine], **{name: wrong}) == (
                    f"{name} is {wrong!r}: give a number from {low} to {high}."
                )
            for value in (float("nan"), float("inf")):
                assert (
                    refusal(READERS[engine], **{name: value})
                    == f"{name} is {value}: give a number from {low} to {high}."
                )


@pytest.mark.parametrize("engine", READERS)
def test_integers_stay_in_their_range(engine: str) -> None:
    for low, high, names in INTEGERS[engine]:
        for name in names:
            for value in (low, high):
                assert read_parameters({name: value}, READERS[engine]) == {name: value}
            for wrong in (low - 1, 1.5, 1.0, True, "1"):
                context = ", the model's context in tokens" if "max_" in name else ""
                assert refusal(READERS[engine], **{name: wrong}) == (
                    f"{name} is {wrong!r}: give an integer from {low} to {high}{context}."
                )
            assert refusal(READERS[engine], **{name: high + 1}).startswith(f"{name} is {high + 1}: give ")


def test_each_parameter_has_a_limit_here_or_below() -> None:
    """A parameter that is added has to be added to these tests."""
    numbers = {name for table in (NUMBERS, INTEGERS) for rows in table.values() for *_, names in rows for name in names}
    flags = {name for name in LLAMACPP | VLLM if name in FLAGS}
    assert sorted(LLAMACPP.keys() | VLLM.keys()) == sorted({*numbers, *flags, *OTHERS})


FLAGS = [
    "logprobs", "ignore_eos", "parallel_tool_calls", "cache_prompt", "include_reasoning", "watermarking",
    "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens", "echo",
    "add_generation_prompt", "continue_final_message", "add_special_tokens", "return_tokens_as_token_ids",
    "return_token_ids", "return_token_offsets",
]  # fmt: skip
OTHERS = [
    "messages", "tools", "tool_choice", "response_format", "json_schema", "structured_outputs", "grammar", "samplers",
    "n", "stop", "logit_bias", "chat_template_kwargs", "dry_sequence_breakers", "stop_token_ids", "allowed_token_ids",
    "logprob_token_ids", "bad_words", "reasoning_effort", "session_id", "repetition_detection", *UNSEEN,
]  # fmt: skip


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_booleans(name: str) -> None:
    readers = LLAMACPP if name in LLAMACPP else VLLM
    assert read_parameters({name: True}, readers) == {name: True}
    assert refusal(readers, **{name: 5}) == f"{name} is 5: give true or false."


STOP = "give a string of 1 to 256 characters or a list of at most {} items, each a string of 1 to 256 characters."
NOT_ALLOWED = "it can stall the model for everybody; leave it out, or set allow_{0} in the model's settings."
GRAMMAR = "give a grammar of at most 4096 characters, without a repetition {a,b} whose a is larger than b."
SAMPLERS = (
    "give a list of at most 9 items, each one of dry, top_k, typ_p, top_p, top_n_sigma, min_p, xtc, temperature, "
    "penalties."
)
KWARGS = (
    "give an object with at most 16 names of 64 characters, each with a string of 1 to 1000 characters or a number "
    "from -9007199254740992 to 9007199254740992 or true or false."
)
MESSAGE = {"role": "user", "content": "Hi"}
REFUSED: list[tuple[Any, str, Any, str]] = [
    (LLAMACPP, "n", 2, "n is 2: give 1, because llama.cpp's chunks do not say which choice they belong to."),
    (
        LLAMACPP,
        "tool_choice",
        "required",
        "tool_choice is 'required': give auto or none, because llama.cpp cannot force a tool call reliably.",
    ),
    (LLAMACPP, "stop", "", f"stop is '': {STOP.format(16)}"),
    (LLAMACPP, "stop", ["x"] * 17, f"stop is ['x', 'x', 'x', 'x', 'x', 'x', ...]: {STOP.format(16)}"),
    (VLLM, "stop", ["x"] * 5, f"stop is ['x', 'x', 'x', 'x', 'x']: {STOP.format(4)}"),
    (VLLM, "stop", 5, f"stop is 5: {STOP.format(4)}"),
    (
        LLAMACPP,
        "logit_bias",
        {"5": 101},
        "logit_bias is {'5': 101}: give an object with at most 1024 names of 64 characters, each with a number from "
        "-100 to 100.",
    ),
    (
        LLAMACPP,
        "dry_sequence_breakers",
        [1],
        "dry_sequence_breakers is [1]: give a list of at most 16 items, each a string of 1 to 40 characters.",
    ),
    (
        VLLM,
        "stop_token_ids",
        [-1],
        "stop_token_ids is [-1]: give a list of at most 1024 items, each an integer from 0 to 2147483647.",
    ),
    (
        VLLM,
        "bad_words",
        "x",
        "bad_words is 'x': give a list of at most 128 items, each a string of 1 to 256 characters.",
    ),
    (LLAMACPP, "grammar", 'root ::= "a"', f"grammar is not taken: {NOT_ALLOWED.format('grammar')}"),
    (LLAMACPP, "samplers", ["infill"], f"samplers is not taken: {NOT_ALLOWED.format('samplers')}"),
    (ALLOWED, "grammar", 'root ::= "a"{5,3}', f"grammar is 'root ::= \"a\"{{5,3}}': {GRAMMAR}"),
    (ALLOWED, "grammar", "x" * 4097, f"grammar is 'xxxxxxxxxxxx...xxxxxxxxxxxxx': {GRAMMAR}"),
    (ALLOWED, "samplers", ["infill"], f"samplers is ['infill']: {SAMPLERS}"),
    (ALLOWED, "samplers", "i", f"samplers is 'i': {SAMPLERS}"),
    (LLAMACPP, "chat_template_kwargs", "x", f"chat_template_kwargs is 'x': {KWARGS}"),
    (LLAMACPP, "chat_template_kwargs", {"a": [1]}, f"chat_template_kwargs is {{'a': [1]}}: {KWARGS}"),
    (
        VLLM,
        "chat_template_kwargs",
        {"messages": "x"},
        "chat_template_kwargs contains messages, which the server sets: leave it out.",
    ),
    (LLAMACPP, "messages", "Hi", "messages is not a list of objects: give a list of messages."),
    (
        LLAMACPP,
        "messages",
        [MESSAGE] * 513,
        "messages has 513 messages: a context of 2048 tokens holds at most 512.",
    ),
    (
        LLAMACPP,
        "messages",
        [{"role": "user", "content": "x" * 131_073}],
        "messages has 131077 characters, and a context of 2048 tokens holds at most 131072: shorten the messages.",
    ),
    (
        VLLM,
        "messages",
        [{"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x" * 131_073}}]}],
        "messages has 131082 characters, and a context of 2048 tokens holds at most 131072: shorten the messages.",
    ),
    (
        LLAMACPP,
        "response_format",
        "x",
        "response_format has no known type: give the type text, json_object or json_schema.",
    ),
    (
        VLLM,
        "response_format",
        {"type": "structural_tag"},
        "response_format has no known type: give the type text, json_object or json_schema.",
    ),
    (
        LLAMACPP,
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "x"}},
        "response_format has no schema: put one under json_schema.schema.",
    ),
    (LLAMACPP, "json_schema", False, "The schema in json_schema is False: give an object."),
    (LLAMACPP, "tools", [{}] * 129, "tools is not a list of at most 128 tools: give one."),
    (
        LLAMACPP,
        "tools",
        [{"type": "function"}],
        'tools[0] is not a function: give {"type": "function", "function": {"name": …}}.',
    ),
    (
        LLAMACPP,
        "tools",
        [{"type": "function", "function": {"name": 'a"\n'}}],
        "tools[0] has no usable name: give 1 to 64 letters, digits, dots, hyphens and underscores.",
    ),
    (
        LLAMACPP,
        "tools",
        [{"type": "function", "function": {"name": "a", "description": "x" * 2000}}] * 100,
        "tools has more than 131072 bytes: send fewer tools.",
    ),
    (
        LLAMACPP,
        "tools",
        [{"type": "function", "function": {"name": "a", "parameters": {"not": {}}}}],
        "The schema in tools has the keyword not, which the model would not follow: leave it out.",
    ),
    (
        VLLM,
        "structured_outputs",
        {"grammar": "x"},
        "structured_outputs cannot be used: give an object with no other keys than json, regex, choice, json_object, "
        "disable_any_whitespace.",
    ),
    (
        VLLM,
        "structured_outputs",
        {"choice": ["x"] * 501},
        "structured_outputs.choice is ['x', 'x', 'x', 'x', 'x', 'x', ...]: give 1 to 500 strings, 15000 characters in "
        "all.",
    ),
    (
        VLLM,
        "structured_outputs",
        {"regex": "(.{1,1000}){1,1000}"},
        "structured_outputs.regex repeats more than 100 times, or 200 in all: lower the numbers.",
    ),
    (VLLM, "structured_outputs", {"regex": 5}, "structured_outputs.regex is not a string: give a regular expression."),
    (VLLM, "structured_outputs", {"json": "{}"}, "The schema in structured_outputs.json is '{}': give an object."),
    (VLLM, "structured_outputs", {"json_object": 5}, "structured_outputs.json_object is 5: give true or false."),
]  # fmt: skip


@pytest.mark.parametrize(("readers", "name", "value", "message"), REFUSED)
def test_other_parameters_are_refused_in_a_sentence(readers: Any, name: str, value: Any, message: str) -> None:
    assert refusal(readers, **{name: value}) == message


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "a", "description": "Paints.", "parameters": SCHEMA, "strict": True}}
TAKEN: list[tuple[Any, dict[str, Any]]] = [
    (LLAMACPP, {"n": 1, "tool_choice": "auto", "tools": [TOOL], "stop": "x"}),
    (LLAMACPP, {"logit_bias": {"5": -100, "word": 1.5}, "stop": ["x"] * 16, "user": "u", "metadata": {"a": "b"}}),
    (LLAMACPP, {"service_tier": "auto", "store": False, "prompt_cache_key": "k", "safety_identifier": "u"}),
    (LLAMACPP, {"temperature": 0, "top_p": 1, "logprobs": True, "top_logprobs": 0, "stop": [], "logit_bias": {}}),
    (LLAMACPP, {"response_format": {"type": "text"}, "chat_template_kwargs": {"enable_thinking": False, "a": 1}}),
    (LLAMACPP, {"response_format": {"type": "json_object"}, "json_schema": SCHEMA}),
    (LLAMACPP, {"tools": [{"type": "function", "function": {"name": "now"}}]}),
    (LLAMACPP, {"messages": [MESSAGE] * 512}),
    (ALLOWED, {"grammar": 'root ::= ("a"{1,3} | "b")', "samplers": ["top_k", "temperature"]}),
    (VLLM, {"tool_choice": {"type": "function", "function": {"name": "a"}}, "tools": [TOOL], "n": 16}),
    (VLLM, {"structured_outputs": {"json": SCHEMA}}),
    (VLLM, {"structured_outputs": {"regex": "[a-z]+"}}),
    (VLLM, {"structured_outputs": {"choice": ["a", "b"]}}),
    (VLLM, {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}}),  # noqa: E501
    (VLLM, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x" * 10**6}}]}]}),
]  # fmt: skip


@pytest.mark.parametrize(("readers", "parameters"), TAKEN)
def test_what_clients_send_is_taken_unchanged(readers: Any, parameters: dict[str, Any]) -> None:
    assert read_parameters(parameters, readers) == parameters


def test_llamacpps_short_form_of_a_format_becomes_openais() -> None:
    short = {"response_format": {"type": "json_object", "schema": SCHEMA}}
    long = {"response_format": {"type": "json_schema", "json_schema": {"name": "schema", "schema": SCHEMA}}}
    assert read_parameters(short, LLAMACPP) == long


@pytest.mark.parametrize("name", sorted(LLAMACPP))
def test_nothing_is_nested_deeper_than_32_levels(name: str) -> None:
    """Deeper values reach neither recursion of ours nor of the engine."""
    for depth in (33, 5000):
        value: Any = "x"
        for _ in range(depth):
            value = [value] if depth % 2 else {"a": value}
        assert refusal(LLAMACPP, **{name: value}) == f"{name} is nested more than 32 levels deep: send fewer levels."
        while not isinstance(value, str):  # Python itself would recurse when it deletes the value
            value = value[0] if depth % 2 else value["a"]
    deepest: Any = 1
    for _ in range(32):
        deepest = [deepest]
    assert read_parameters({"metadata": deepest}, LLAMACPP) == {"metadata": deepest}
