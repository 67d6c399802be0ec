"""The checks of settings that engines and runtimes share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from llm_streaming.engines.errors import bad_request, known_names, refuse_unknown
from llm_streaming.errors import EngineError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Settings(BaseModel):
    """A part of a ``model-settings.json``; numbers may be strings, as Seldon Core 2 hands them on."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def settings_error(failure: ValidationError, path: str, known: Iterable[str]) -> EngineError:
    """Make the error of settings that do not fit, in one sentence.

    Args:
        failure: what pydantic found.
        path: where in a ``model-settings.json`` the settings are, such as ``parameters.extra``.
        known: the names of all settings there, for a hint at the one that was meant.
    """
    sentences = "; ".join(_sentence(detail, path, known) for detail in failure.errors())
    return EngineError(f"model-settings.json: {sentences}", status=422, type="invalid_request_error")


def _sentence(detail: ErrorDetails, path: str, known: Iterable[str]) -> str:
    name = ".".join((path, *map(str, detail["loc"])))
    if detail["type"] == "extra_forbidden":
        return f"there is no setting {name}{known_names(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return f"{name} is missing"
    return f"{name}: {detail['msg']}, but got {detail['input']!r}"


def read_generate_kwargs(value: object, engine: str, parameters: Collection[str]) -> dict[str, Any]:
    """Read the setting ``default_generate_kwargs``: parameters for requests that do not set them.

    Args:
        value: a mapping, or its JSON, which Seldon Core 2 makes of it.
        engine: the engine's name, for the message.
        parameters: the names of all parameters that the engine takes.

    Raises:
        EngineError: it is no mapping, or names an unknown parameter.
    """
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise bad_request(
            f"The setting default_generate_kwargs must be a mapping of parameters, not {value!r}.", "invalid_setting"
        )
    refuse_unknown(engine, "parameter", found, parameters)
    return found
