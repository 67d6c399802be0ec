"""What a llama.cpp model can be told: its settings when it is loaded, and parameters with each request."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from llm_streaming.engines.errors import bad_request, refuse_unknown
from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL
from llm_streaming.errors import EngineError

# Everything that llama.cpp's chat completions honour; it drops other names silently. `user`, `metadata` and `store`
# ask for nothing that could show in an answer. Its own switches that would change a chunk's shape are left out.
# fmt: off
_OPENAI = frozenset({
    "messages", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "max_tokens",
    "max_completion_tokens", "n", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs", "top_logprobs", "response_format", "user", "metadata", "store",
})
_OWN = frozenset({
    "top_k", "min_p", "top_n_sigma", "typical_p", "xtc_probability", "xtc_threshold", "dynatemp_range",
    "dynatemp_exponent", "mirostat", "mirostat_tau", "mirostat_eta", "repeat_penalty", "repeat_last_n",
    "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers",
    "samplers", "min_keep", "ignore_eos", "grammar", "json_schema", "chat_template_kwargs", "cache_prompt",
})
# fmt: on
PARAMETERS = _OPENAI | _OWN


@dataclass(frozen=True, kw_only=True)
class LlamaCppSettings:
    """What ``model_settings`` holds for the backend ``llamacpp``."""

    model: str = SMALL_MODEL
    """The small model's name, a .gguf file in the folder of the settings, or an absolute path."""

    n_ctx: int = 2048
    """Tokens that one request may fill, prompt and answer together; every slot has as many of its own (for the small
    model that is 45 MB a slot), so that no request can fail because of another."""

    n_parallel: int = 8
    """Slots, which is how many requests are answered at the same time; others wait for their turn."""

    n_threads: int = field(default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) - 1)))
    """Threads that compute. By default one core is left alone, because threads wait for each other by spinning, so that
    one busy neighbour slows two threads on two cores down tenfold, and a single one hardly at all."""

    n_batch: int = 64
    """Prompt tokens computed at a time. A request that is cancelled while its prompt is read ends with the batch;
    larger ones gain nothing on a CPU."""

    seed: int = 1
    """The seed of requests that name none, so that the same request gets the same answer."""

    default_generate_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that go under those of each request."""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> LlamaCppSettings:
        """Read settings as a model-settings.json has them, or as Seldon Core 2 hands them on, which is as strings.

        Args:
            mapping: settings by name; None stands for the default.

        Raises:
            EngineError: there is no such setting, or its value does not fit.
        """
        refuse_unknown("llama.cpp", "setting", mapping, (each.name for each in fields(cls)))
        read: dict[str, Callable[[str, object], Any]] = {"model": _text, "default_generate_kwargs": _parameters}
        given = {name: value for name, value in mapping.items() if value is not None}
        return cls(**{name: read.get(name, _number)(name, value) for name, value in given.items()})


def _misfit(name: str, expected: str, value: object) -> EngineError:
    return bad_request(f"The setting {name} must be {expected}, not {value!r}.", "invalid_setting")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _misfit(name, "a text", value)
    return value


def _number(name: str, value: object) -> int:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    smallest = 0 if name == "seed" else 1
    if not isinstance(number, int) or isinstance(number, bool) or number < smallest:
        raise _misfit(name, f"a whole number, at least {smallest}", value)
    return number


def _parameters(name: str, value: object) -> Mapping[str, Any]:
    try:
        parameters = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        parameters = None
    if not isinstance(parameters, Mapping):
        raise _misfit(name, "a mapping of parameters", value)
    refuse_unknown("llama.cpp", "parameter", parameters, PARAMETERS)
    return parameters
