"""What ``parameters.extra`` of a ``model-settings.json`` may hold (contract §4), one model for each runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from llm_streaming.errors import EngineError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class APIConfig(_Settings):
    """``config`` of the API runtime."""

    model_id: str = Field(min_length=1)
    """The provider's name of the model, such as ``gpt-3.5-turbo``."""

    model_type: Literal["chat.completions"] = "chat.completions"
    """Which of the provider's APIs is used."""

    base_url: str | None = None
    """Where an OpenAI-compatible API is; by default ``OPENAI_BASE_URL``, or OpenAI's own."""

    timeout: PositiveFloat = 600.0
    """Seconds of silence after which a call to the provider fails."""

    max_retries: int = Field(default=2, ge=0)
    """How often a call that failed before its first byte is made again."""

    llm_parameters: dict[str, Any] = {}
    """Sampling parameters for requests that do not set them."""

    keep_alive: PositiveFloat = 2.0
    """Seconds of the provider's silence after which a stream carries an empty event."""


class APISettings(_Settings):
    """``parameters.extra`` of the API runtime."""

    provider_id: Literal["openai"] = "openai"
    """OpenAI, or any server that speaks its API."""

    config: APIConfig


class LocalConfig(_Settings):
    """``config`` of the Local runtime."""

    model_type: Literal["chat.completions"] = "chat.completions"
    """Which kind of requests the model answers."""

    model_settings: dict[str, Any]
    """The backend's own arguments under their own names, and ``default_generate_kwargs``."""

    keep_alive: PositiveFloat = 2.0
    """Seconds of the model's silence after which a stream carries an empty event."""


class LocalSettings(_Settings):
    """``parameters.extra`` of the Local runtime."""

    backend: Literal["llamacpp", "vllm", "transformers", "deepspeed"]
    """What runs the model, llama.cpp on a CPU or vLLM on GPUs; the others are known by name, to be refused."""

    config: LocalConfig


Settings = TypeVar("Settings", bound=_Settings)


def read_settings(kind: type[Settings], extra: Mapping[str, Any] | None) -> Settings:
    """Check ``parameters.extra`` of a model's settings.

    A Model's ``spec.parameters`` arrive beside ``config``, as strings; those that `config` knows go before its own.

    Raises:
        EngineError: a setting is missing, unknown or malformed; the message names it.
    """
    given = dict(extra or {})
    config = kind.model_fields["config"].annotation
    known = config.model_fields if config else {}
    overrides = {name: given.pop(name) for name in list(given) if name in known}
    if isinstance(given.get("config"), Mapping):
        given["config"] = {**given["config"], **overrides}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        known_names = [*kind.model_fields, *known]
        raise EngineError(
            "model-settings.json: " + "; ".join(_sentence(detail, known_names) for detail in error.errors()),
            status=422,
            type="invalid_request_error",
        ) from None


def _sentence(detail: ErrorDetails, known: Iterable[str]) -> str:
    """Say what is wrong with one setting, in a person's words."""
    path = ".".join(("parameters.extra", *map(str, detail["loc"])))
    if detail["type"] == "extra_forbidden":
        return f"there is no setting {path}{did_you_mean(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return f"{path} is missing"
    return f"{path}: {detail['msg']}, but got {detail['input']!r}"
