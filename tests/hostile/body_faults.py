"""Faults in the bodies of the fuzzer's requests: in the protocol's, in OpenAI's, and in their text as JSON."""

import string
from collections.abc import Callable
from random import Random
from typing import Any

from tests.hostile.grammar import DEEP, HTTP, JSON, JUNK, OPENAI, TENSORS, Body, Expected, faults, nested, set_one


def tensor(body: Body, name: str) -> Body:
    """The tensor with this name in the protocol's body."""
    found: Body = next(one for one in body["inputs"] if one["name"] == name)
    return found


def _in_tensor(key: str, values: tuple[Any, ...], *names: str) -> Callable[[Random, Body], None]:
    def apply(rng: Random, body: Body) -> None:
        tensor(body, rng.choice(names or ("role", "content", "type")))[key] = rng.choice(values)

    return apply


def _element(values: tuple[Any, ...], *names: str) -> Callable[[Random, Body], None]:
    def apply(rng: Random, body: Body) -> None:
        data = tensor(body, rng.choice(names))["data"]
        data[rng.randrange(len(data))] = rng.choice(values)

    return apply


def _more(name: str, *data: str, shape: list[int] | None = None) -> Callable[[Random, Body], None]:
    one = {"name": name, "shape": shape or [len(data)], "datatype": "BYTES", "data": list(data)}
    return lambda rng, body: body["inputs"].insert(rng.randint(0, 2), one)


def _no_parameters(rng: Random, body: Body) -> None:
    value = rng.choice((5, "x", [1], "[]", "{" * 900))
    body["parameters"] = {"llm_parameters": value, "kwargs": value}


_NOT_TEXT: tuple[Any, ...] = (5, None, {}, True, 1e39, nested(800))
_DATATYPES = ("INT32", "FP64", "BOOL", "", "bytes")
_SHAPES: tuple[list[int], ...] = ([], [0], [7], [-1], [2**62], [2**40, 2**40], [1, 1, 1, 9])

TENSOR_FAULTS = [
    *faults(
        "body",
        TENSORS,
        Expected.REFUSED,
        {
            "tensor: role missing": lambda _, body: body["inputs"].remove(tensor(body, "role")),
            "tensor: unknown": _more("prompt", "x"),
            "tensor: given twice": _more("role", "user"),
            "tensor: wrong datatype": _in_tensor("datatype", _DATATYPES),
            "tensor: wrong shape": _in_tensor("shape", _SHAPES),
            "tensor: unknown role": _element(("wizard", "", "USER", "user\n"), "role"),
            "tensor: types of another number": _in_tensor("data", (["text"] * 9,), "type"),
            "tensor: tools are no JSON": _more("tools", "{", "[]", '{"type": 5}'),
            "tensor: tool calls without end": _more("tool_calls", "[" * DEEP),
        },
    ),
    *faults(
        "body",
        HTTP,
        Expected.REFUSED,
        {
            "tensor: not text": _element(_NOT_TEXT, "role", "content"),
            "outputs: unknown": lambda _, body: body.update(outputs=[{"name": "logits"}]),
            "parameters: no object": _no_parameters,
        },
    ),
]

_BAD_MESSAGES: tuple[Any, ...] = (
    5,
    "x",
    {},
    [],
    [5],
    [None],
    [[]],
    [{}],
    [{"role": "user", "content": 5}],
    [{"role": "wizard"}],
)
_BAD_CONTENT: tuple[Any, ...] = (
    5,
    True,
    [5],
    [{}],
    [{"type": "text"}],
    [{"type": 5, "text": "x"}],
    {"a": 1},
    nested(800),
)
_BAD_CALLS = (5, ["x"], [{"id": 1}], [{"type": "function"}], [{"type": "function", "function": {"name": "f"}}])


def _in_message(key: str, values: tuple[Any, ...]) -> Callable[[Random, Body], None]:
    def apply(rng: Random, body: Body) -> None:
        rng.choice(body["messages"])[key] = rng.choice(values)

    return apply


OPENAI_FAULTS = faults(
    "body",
    OPENAI,
    Expected.REFUSED,
    {
        "openai: another model": set_one(model=("other", "", None, 5, ["relay"])),
        "openai: bad messages": set_one(messages=_BAD_MESSAGES),
        "openai: bad role": _in_message("role", (5, None, "wizard", [], {})),
        "openai: bad content": _in_message("content", _BAD_CONTENT),
        "openai: bad tool calls": _in_message("tool_calls", _BAD_CALLS),
        "openai: bad tools": set_one(tools=(5, "x", [5], [None], {"a": 1})),
        "openai: bad options": set_one(stream_options=(5, "x", [1])),
    },
)


def _in_text(find: bytes, *puts: bytes) -> Callable[[Random, bytes], bytes]:
    """A fault that replaces the first `find` in the text of a request."""
    return lambda rng, data: data.replace(find, rng.choice(puts), 1)


_NO_OBJECTS = (b"", b"{", b"[1]", b"null", b"NaN", b"\x00", b"5")

TEXT_FAULTS = [
    *faults(
        "text",
        JSON,
        Expected.REFUSED,
        {
            "json: no object": lambda rng, _: rng.choice(_NO_OBJECTS),
            "json: truncated": lambda rng, data: data[: rng.randrange(1, len(data))],
            "json: more after it": lambda _, data: data + b"}",
            "json: not UTF-8": _in_text(b'"user"', b'"us\xffer"', b'"\xc3"', b'"\xed\xa0\x80"'),
            "json: half a surrogate": _in_text(b'"user"', rb'"\ud800"', rb'"us\udfffer"'),
            "json: nested": _in_text(b"{", b'{"x":' + b"[" * DEEP, b'{"a":' * DEEP),
        },
    ),
    *faults(
        "text",
        JSON,
        Expected.ANY,
        {
            "json: key given twice": _in_text(b"{", b'{"inputs":5,', b'{"messages":[],'),
            "json: id with a newline": _in_text(b"{", rb'{"id":"a\nb",', rb'{"id":"\u0000",'),
        },
    ),
]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a body: a container with a key or an index."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _drop(rng: Random, body: Body) -> None:
    container, key = rng.choice(_places(body))
    del container[key]


def _replace(draw: Callable[[Random], Any]) -> Callable[[Random, Body], None]:
    def apply(rng: Random, body: Body) -> None:
        container, key = rng.choice(_places(body))
        container[key] = draw(rng)

    return apply


_CONTROLS = "\x00\x07\x1b\x9b\u2028\u202e" + string.printable

ANYWHERE_FAULTS = faults(
    "body",
    JSON,
    Expected.ANY,
    {
        "anywhere: dropped": _drop,
        "anywhere: junk": _replace(lambda rng: rng.choice(JUNK)),
        "anywhere: a huge text": _replace(lambda _: "x" * 500_000),
        "anywhere: control characters": _replace(lambda rng: "".join(rng.choices(_CONTROLS, k=20))),
    },
)
