"""The settings of a llama.cpp model, and the parameters that a request to it may have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL
from llm_streaming.engines.settings import Settings, read_generate_kwargs, settings_error

# Everything that llama.cpp's chat completions honour; it ignores other names silently. `user`, `metadata` and `store`
# are accepted because they change nothing in an answer. Switches that would change a chunk's form are left out.
# fmt: off
PARAMETERS = frozenset({
    "messages", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "max_tokens",
    "max_completion_tokens", "n", "stop", "seed", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs", "top_logprobs", "response_format", "user", "metadata", "store",
    # llama.cpp's own
    "top_k", "min_p", "top_n_sigma", "typical_p", "xtc_probability", "xtc_threshold", "dynatemp_range",
    "dynatemp_exponent", "mirostat", "mirostat_tau", "mirostat_eta", "repeat_penalty", "repeat_last_n",
    "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers",
    "samplers", "min_keep", "ignore_eos", "grammar", "json_schema", "chat_template_kwargs", "cache_prompt",
})
# fmt: on


def _no_bool(value: object) -> object:
    if isinstance(value, bool):  # pydantic takes True for 1
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


_Whole = Annotated[int, BeforeValidator(_no_bool)]


class LlamaCppSettings(Settings):
    """The ``model_settings`` of the backend ``llamacpp``."""

    model: str = Field(default=SMALL_MODEL, min_length=1)
    """The small model's name, a .gguf file in the folder of the settings, or an absolute path."""

    n_ctx: _Whole = Field(default=2048, ge=1)
    """Tokens that one request may fill, prompt and answer together; every slot has as many of its own (for the small
    model that is 45 MB a slot), so that no request can fail because of another."""

    n_parallel: _Whole = Field(default=8, ge=1)
    """Slots: the number of requests that are answered at the same time; others wait for their turn."""

    n_threads: _Whole = Field(default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) - 1)), ge=1)
    """Threads that compute. By default one core is left free: threads wait for each other by spinning, so one other
    busy process slows two threads on two cores down tenfold, and a single thread hardly at all."""

    n_batch: _Whole = Field(default=64, ge=1)
    """Prompt tokens computed at a time. A request that is cancelled while its prompt is read ends with the batch;
    larger batches gain nothing on a CPU."""

    seed: _Whole = Field(default=1, ge=0)
    """The seed of requests that name none, so that the same request gets the same answer."""

    default_generate_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Parameters for requests that do not set them."""

    @field_validator("default_generate_kwargs", mode="before")
    @classmethod
    def _read_kwargs(cls, value: object) -> dict[str, Any]:
        return read_generate_kwargs(value, "llama.cpp", PARAMETERS)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> LlamaCppSettings:
        """Read the ``model_settings`` of a model-settings.json; None stands for a setting's default.

        Raises:
            EngineError: a setting is unknown or malformed; the message names it.
        """
        try:
            return cls.model_validate({name: value for name, value in mapping.items() if value is not None})
        except ValidationError as error:
            raise settings_error(error, "parameters.extra.config.model_settings", cls.model_fields) from None
