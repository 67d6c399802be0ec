"""The checks of settings and of request parameters that engines and runtimes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from llm_streaming.engines.base import bad_request
from llm_streaming.errors import EngineError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_MOST_LISTED = 50  # names in a message


class Settings(BaseModel):
    """A part of a ``model-settings.json``; numbers may be strings, as Seldon Core 2 hands them on."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def settings_error(failure: ValidationError, path: str, known: Iterable[str]) -> EngineError:
    """Make the error of settings that do not fit, in one sentence.

    Args:
        failure: what pydantic found.
        path: where in a ``model-settings.json`` the settings are, such as ``parameters.extra``.
        known: the names of all settings there.
    """
    sentences = "; ".join(_sentence(detail, path, known) for detail in failure.errors())
    return EngineError(f"model-settings.json: {sentences}", status=422, type="invalid_request_error")


def _sentence(detail: ErrorDetails, path: str, known: Iterable[str]) -> str:
    name = ".".join((path, *map(str, detail["loc"])))
    if detail["type"] == "extra_forbidden":
        return f"there is no setting {name}{_known_names(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return f"{name} is missing"
    return f"{name}: {detail['msg']}, but got {detail['input']!r}"


def refuse_unknown(engine: str, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names of parameters or settings that would have no effect.

    Raises:
        EngineError: a name is unknown; the message has the one that was probably meant.
    """
    known = frozenset(known)
    for name in given:
        if name not in known:
            raise bad_request(f"{engine} has no {what} {name}{_known_names(name, known)}.", f"unknown_{what}")


def _known_names(name: str, known: Iterable[str]) -> str:
    """A hint for a message about an unknown name: the most similar one, or else all that exist."""
    known = sorted(known)
    names = ", ".join(known) if len(known) < _MOST_LISTED else f"{len(known)} others, which its documentation names"
    return did_you_mean(name, known) or f": there are {names}"


def read_generate_kwargs(value: object, engine: str, parameters: Iterable[str]) -> dict[str, Any]:
    """Read the setting ``default_generate_kwargs``: a mapping, or its JSON, which Seldon Core 2 makes of it.

    Raises:
        EngineError: it is no mapping, or names an unknown parameter.
    """
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        message = f"The setting default_generate_kwargs must be a mapping of parameters, not {value!r}."
        raise bad_request(message, "invalid_setting")
    refuse_unknown(engine, "parameter", found, parameters)
    return found


def complete_request(
    request: Mapping[str, Any], defaults: Mapping[str, Any], engine: str, parameters: Iterable[str]
) -> dict[str, Any]:
    """Add the default parameters to a request. A null in it means "not given", as in OpenAI's API.

    Raises:
        EngineError: a parameter is unknown, or there are no messages.
    """
    body = {**defaults, **{name: value for name, value in request.items() if value is not None}}
    refuse_unknown(engine, "parameter", body, parameters)
    if not body.get("messages"):
        raise bad_request("There are no messages: send at least one.")
    return body
