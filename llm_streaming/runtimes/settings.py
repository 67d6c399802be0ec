"""The settings in ``parameters.extra`` of a ``model-settings.json`` (contract §4), one class for each runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, PositiveFloat, ValidationError

from llm_streaming.engines.settings import Settings, settings_error


class ChatConfig(Settings):
    """The settings in ``config`` that both runtimes share."""

    model_type: Literal["chat.completions"] = "chat.completions"
    """The kind of requests that the model answers."""

    keep_alive: float = Field(default=2.0, ge=0.1, le=300)
    """Seconds without a new chunk after which a stream sends an empty event; ten such events a second are the most."""


class APIConfig(ChatConfig):
    """``config`` of the API runtime."""

    model_id: str = Field(min_length=1)
    """The provider's name of the model, such as ``gpt-3.5-turbo``."""

    base_url: str | None = None
    """The URL of an OpenAI-compatible API; by default ``OPENAI_BASE_URL``, or OpenAI's own."""

    timeout: PositiveFloat = 600.0
    """Seconds of silence after which a call to the provider fails."""

    max_retries: int = Field(default=2, ge=0)
    """The number of retries for a call that fails before its first byte arrives."""

    llm_parameters: dict[str, Any] = Field(default_factory=dict)
    """Sampling parameters for requests that do not set them."""


class APISettings(Settings):
    """``parameters.extra`` of the API runtime."""

    provider_id: Literal["openai"] = "openai"
    """The kind of provider, OpenAI or any other server with OpenAI's API."""

    config: APIConfig


class LocalConfig(ChatConfig):
    """``config`` of the Local runtime."""

    model_settings: dict[str, Any]
    """The backend's own arguments, under the backend's names for them, and ``default_generate_kwargs``."""


class LocalSettings(Settings):
    """``parameters.extra`` of the Local runtime."""

    backend: Literal["llamacpp", "vllm", "transformers", "deepspeed"]
    """The engine that runs the model, either llama.cpp on a CPU or vLLM on GPUs. The other two names are refused."""

    config: LocalConfig


_Kind = TypeVar("_Kind", bound=Settings)


def read_settings(kind: type[_Kind], extra: Mapping[str, Any] | None) -> _Kind:
    """Read ``parameters.extra`` of a model's settings.

    A Model's ``spec.parameters``, which SC2 adds next to ``config`` as strings, take precedence over ``config``.

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
        raise settings_error(error, "parameters.extra", [*kind.model_fields, *known]) from None
