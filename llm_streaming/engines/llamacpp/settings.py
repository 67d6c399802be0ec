"""The settings of a llama.cpp model, and the parameters that a request to the model may have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from llm_streaming.engines.bounds.parameters import llamacpp_parameters
from llm_streaming.engines.bounds.values import Reader
from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL
from llm_streaming.engines.settings import Settings, check_defaults, read_generate_kwargs, settings_error


def _no_bool(value: object) -> object:
    if isinstance(value, bool):  # pydantic would convert True to 1
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


_Whole = Annotated[int, BeforeValidator(_no_bool)]


class LlamaCppSettings(Settings):
    """The ``model_settings`` of the backend ``llamacpp``."""

    model: str = Field(default=SMALL_MODEL, min_length=1)
    """The small model's name, the path of a .gguf file in the folder of the settings, or an absolute path."""

    n_ctx: _Whole = Field(default=2048, ge=1)
    """The most tokens in one request, prompt and answer together. Each of the `n_parallel` slots reserves memory for
    this many tokens (45 MB for the small model), so that no request can fail because of another."""

    n_parallel: _Whole = Field(default=8, ge=1)
    """The number of requests that are answered at the same time (slots). Further requests wait until a slot is free."""

    n_threads: _Whole = Field(default_factory=lambda: min(4, max(1, (os.cpu_count() or 1) - 1)), ge=1)
    """The number of threads that compute. By default at most four, and one core is left free, because threads wait for
    each other in busy loops. On two cores, another busy process slows two threads tenfold, but one thread hardly."""

    n_batch: _Whole = Field(default=64, ge=1)
    """The number of prompt tokens that are computed at a time (a batch). If a request is cancelled while its prompt is
    processed, it stops after the current batch. Larger batches are not faster on a CPU."""

    seed: _Whole = Field(default=1, ge=0, le=2**32 - 2)
    """The seed for requests without a seed, so that the same request gets the same answer."""

    allow_grammar: bool = False
    """Whether requests may have the parameter `grammar`. A grammar of a few characters can stall the model."""

    allow_samplers: bool = False
    """Whether requests may have the parameter `samplers`, the order in which samplers choose tokens."""

    stall_timeout: float = Field(default=30.0, gt=0)
    """The seconds without any progress after which a busy model is taken for stalled, and its server is ended. A large
    model with large batches may need more."""

    default_generate_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Default values of request parameters."""

    def readers(self, unfollowed: set[str]) -> dict[str, Reader]:
        """Return the reader of each parameter that a request may have.

        Args:
            unfollowed: gets the keywords of schemas that llama.cpp does not follow.
        """
        return llamacpp_parameters(
            self.n_ctx,
            allow_grammar=self.allow_grammar,
            allow_samplers=self.allow_samplers,
            unfollowed=unfollowed,
        )

    @field_validator("default_generate_kwargs", mode="before")
    @classmethod
    def _read_kwargs(cls, value: object) -> dict[str, Any]:
        known = llamacpp_parameters(1, allow_grammar=True, allow_samplers=True, unfollowed=set())
        return read_generate_kwargs(value, "llama.cpp", known)

    @model_validator(mode="after")
    def _check_kwargs(self) -> Self:
        check_defaults(self.default_generate_kwargs, self.readers(set()))
        return self

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
