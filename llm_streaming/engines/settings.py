"""The checks of settings and request parameters that all engines and runtimes use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from llm_streaming.engines.base import bad_request
from llm_streaming.engines.bounds.parameters import UNSEEN
from llm_streaming.engines.bounds.values import Reader, read_parameters, shortened
from llm_streaming.errors import EngineError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONSTRAINTS = {"response_format", "json_schema", "structured_outputs", "tools"}
"""The parameters that contain schemas."""

_MOST_LISTED = 50  # the most names that one message lists


class Settings(BaseModel):
    """A part of a ``model-settings.json``. Numbers may be strings, because Seldon Core 2 passes them as strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def settings_error(failure: ValidationError, path: str, known: Iterable[str]) -> EngineError:
    """Build the one-sentence error for invalid settings.

    Args:
        failure: the exception that pydantic raised.
        path: the path of the settings in ``model-settings.json``, such as ``parameters.extra``.
        known: the names of all settings at this path.
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
    """Raise an error if a parameter or setting is unknown, because it would have no effect.

    Raises:
        EngineError: a name is unknown; the message suggests the most similar known name.
    """
    known = frozenset(known)
    for given_name in given:
        if given_name not in known:
            name = shortened(given_name, 64)
            raise bad_request(f"{engine} has no {what} {name}{_known_names(name, known)}.", f"unknown_{what}")


def _known_names(name: str, known: Iterable[str]) -> str:
    """Build a hint for the message about an unknown name: the most similar known name, or else all known names."""
    known = sorted(known)
    names = ", ".join(known) if len(known) < _MOST_LISTED else f"{len(known)}, which are listed in the documentation"
    return did_you_mean(name, known) or f": there are {names}"


def read_generate_kwargs(value: object, engine: str, parameters: Iterable[str]) -> dict[str, Any]:
    """Read ``default_generate_kwargs``: a mapping, or a JSON string, because Seldon Core 2 converts the mapping to one.

    Raises:
        EngineError: the setting is not a mapping, or contains an unknown parameter.
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


def check_defaults(defaults: Mapping[str, Any], readers: Mapping[str, Reader]) -> None:
    """Check a model's default parameters as those of a request are checked.

    Raises:
        EngineError: a value is outside its limits.
    """
    try:
        read_parameters(defaults, readers)
    except EngineError as error:
        raise bad_request(f"The setting default_generate_kwargs cannot be used: {error}", "invalid_setting") from None


def complete_request(
    request: Mapping[str, Any], defaults: Mapping[str, Any], engine: str, readers: Mapping[str, Reader]
) -> dict[str, Any]:
    """Add the default parameters to a request, and check all of them.

    A null in the request means "not given", as in OpenAI's API.

    Raises:
        EngineError: a parameter is unknown or outside its limits, or there are no messages.
    """
    body = {**defaults, **{name: value for name, value in request.items() if value is not None}}
    refuse_unknown(engine, "parameter", body, readers)
    if not body.get("messages"):
        raise bad_request("There are no messages: send at least one.")
    read = read_parameters(body, readers)
    return {name: value for name, value in read.items() if name not in UNSEEN}


def schema_warnings(request: Mapping[str, Any], new_readers: Callable[[set[str]], Mapping[str, Reader]]) -> list[str]:
    """Return a warning if the schemas of a request have keywords that the model does not follow.

    Args:
        request: a request, which need not have been checked.
        new_readers: returns the reader of each parameter; the readers add such keywords to the given set.
    """
    unfollowed: set[str] = set()
    readers = new_readers(unfollowed)
    with suppress(EngineError):  # the answer to the request will be this error
        read_parameters({name: request.get(name) for name in CONSTRAINTS & readers.keys()}, readers)
    names = ", ".join(sorted(unfollowed))
    sentence = f"The model does not follow these keywords of the request's schemas, so check the answer: {names}"
    return [sentence] if names else []
