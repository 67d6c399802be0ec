"""The kinds of values that a parameter can have, and the check of a whole request against a table of such kinds."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from llm_streaming.engines.base import bad_request
from llm_streaming.protocol.limits import levels

Reader: TypeAlias = Callable[[str, Any], Any]
"""Takes a parameter's name and value, and returns the value that the engine gets; raises `EngineError` if it refuses
the value."""

_DEEPEST = 32  # levels of lists and objects; deeper JSON overflows the stack of llama.cpp's parsers
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Kind:
    """A kind of values, a `Reader`. Its words complete the sentence "give …"."""

    words: str
    admits: Callable[[Any], bool]

    def __call__(self, name: str, value: Any) -> Any:  # noqa: ANN401 - JSON
        """Return the value if it is of this kind, or else raise `EngineError`."""
        if not self.admits(value):
            raise bad_request(f"{name} is {reprlib.repr(value)}: give {self.words}.")
        return value


def shortened(words: str, longest: int = 300) -> str:
    """Cut words that quote a request, so that a message stays short."""
    return words if len(words) <= longest else f"{words[:longest]}…"


anything = Kind("any value", lambda _: True)
flag = Kind("true or false", lambda value: isinstance(value, bool))


def one_of(*values: object) -> Kind:
    """Return the kind of the given values."""
    return Kind(f"one of {', '.join(map(str, values))}", lambda value: value in values)


def integer(low: int, high: int) -> Kind:
    """Return the kind of whole numbers in a range. llama.cpp wraps larger ones, and cuts off fractions."""
    return Kind(f"an integer from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Kind:
    """Return the kind of numbers in a range."""
    return Kind(f"a number from {low} to {high}", lambda value: type(value) in (int, float) and low <= value <= high)


def text(longest: int) -> Kind:
    """Return the kind of strings that are neither empty nor longer than so many characters."""
    words = f"a string of 1 to {longest} characters"
    return Kind(words, lambda value: isinstance(value, str) and 1 <= len(value) <= longest)


def list_of(item: Kind, most: int) -> Kind:
    """Return the kind of lists with at most so many items of one kind."""
    words = f"a list of at most {most} items, each {item.words}"
    return Kind(words, lambda value: isinstance(value, list) and len(value) <= most and all(map(item.admits, value)))


def object_of(item: Kind, most: int) -> Kind:
    """Return the kind of JSON objects with at most so many values of one kind."""
    words = f"an object with at most {most} names of {_LONGEST_NAME} characters, each with {item.words}"
    entries = list_of(item, most)

    def admits(value: Any) -> bool:  # noqa: ANN401 - JSON
        names_fit = isinstance(value, dict) and all(len(name) <= _LONGEST_NAME for name in value)
        return names_fit and entries.admits(list(value.values()))

    return Kind(words, admits)


def either(*kinds: Kind) -> Kind:
    """Return the kind of values of any of several kinds."""
    return Kind(" or ".join(kind.words for kind in kinds), lambda value: any(kind.admits(value) for kind in kinds))


def refused(why: str) -> Reader:
    """Return a reader that refuses every value; `why` says what to do instead."""

    def refuse(name: str, _: object) -> None:
        raise bad_request(f"{name} is not taken: {why}.")

    return refuse


def read_parameters(parameters: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Check the parameters of a request, or a model's default parameters, and return them as the engine gets them.

    Args:
        parameters: the values by name, all of which are in `readers`; None means that the parameter is not given.
        readers: the reader of each parameter.

    Raises:
        EngineError: a reader refuses its value, or the value is nested too deeply.
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    for name, value in given.items():
        if any(depth > _DEEPEST for depth, _ in enumerate(levels(value))):
            raise bad_request(f"{name} is nested more than {_DEEPEST} levels deep: send fewer levels.")
    return {name: readers[name](name, value) for name, value in given.items()}
