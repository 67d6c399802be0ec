"""Valid chat requests, and what a fault in one of them is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any

Body = dict[str, Any]

OPENAI = ("openai whole", "openai stream")
HTTP = ("http whole", "http stream")
GRPC = ("grpc whole", "grpc stream")
TENSORS = (*HTTP, *GRPC)
JSON = (*HTTP, *OPENAI)
DOORS = (*HTTP, *GRPC, *OPENAI)


class Expected(Enum):
    """What may become of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    REFUSED_BY_LOCAL = "refused by the Local runtime, which knows its engine's parameters"
    ANY = "answered or refused"


@dataclass(frozen=True)
class Fault:
    """One way to spoil a request.

    Args:
        name: the row of the fuzzer's table.
        stage: what `apply` changes: ``parameters``, ``body``, ``text`` or ``wire``.
        doors: the doors to which the fault applies.
        expected: what may become of the request.
        apply: changes the request at its stage, in place, or returns what takes its place.
    """

    name: str
    stage: str
    doors: tuple[str, ...]
    expected: Expected
    apply: Callable[[Random, Any], Any]


def faults(
    stage: str, doors: tuple[str, ...], expected: Expected, by_name: dict[str, Callable[[Random, Any], Any]]
) -> list[Fault]:
    """Make faults that differ in their names and in what they do."""
    return [Fault(name, stage, doors, expected, apply) for name, apply in by_name.items()]


WORDS = ("red", "Oslo", "why", "42", "naïve", "日本", "🙂", "<b>", "&", '"', "\\", "\n", "x" * 50)


def text(rng: Random) -> str:
    """A text of a few words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))


def valid_body(rng: Random) -> Body:
    """A valid chat request in OpenAI's form; the last message is the user's, with a plain text."""
    messages = [{"role": rng.choice(("user", "assistant")), "content": text(rng)} for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.3:
        messages.insert(0, {"role": "system", "content": text(rng)})
    messages.append({"role": "user", "content": text(rng)})
    optional = {"temperature": rng.choice((0, 0.5, 1)), "top_p": 0.9, "seed": rng.randint(0, 9), "stop": ["zzz"]}
    chosen = {name: value for name, value in optional.items() if rng.random() < 0.3}
    return {"messages": messages, "max_tokens": rng.randint(1, 3), **chosen}


DEEP = 100_000
EXTREME = (0, -1, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63, 2**64, 10**400, 1e39, -1e39, 1e-320, 0.1)
JUNK: tuple[Any, ...] = (None, True, "", "x", [], {}, [None], [[]], {"a": {}}, "\x00\x1b]0;t\x07", "\u202e", *EXTREME)


def nested(depth: int, leaf: Any = 0) -> Any:
    """A list in a list in a list …"""
    for _ in range(depth):
        leaf = [leaf]
    return leaf


def set_one(**choices: tuple[Any, ...]) -> Callable[[Random, Body], None]:
    """A fault that sets one of the named keys to one of its values."""

    def apply(rng: Random, target: Body) -> None:
        name = rng.choice(list(choices))
        target[name] = rng.choice(choices[name])

    return apply


def to_json(body: Body) -> bytes:
    """Write a body as compact JSON; numbers that JSON does not know are written as Python does, such as NaN."""
    return json.dumps(body, separators=(",", ":")).encode()
