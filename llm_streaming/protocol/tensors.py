"""BYTES tensors of the Open Inference Protocol, and the tensors' names in chats (contract §1 and §2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol.json import counted, tensor_location, unexpected
from llm_streaming.protocol.limits import MOST_ELEMENTS

INPUT_NAMES = ("role", "content", "type", "tool_calls", "tool_call_id", "tools", "parallel_tool_calls", "tool_choice")
OUTPUT_NAMES = ("role", "content", "type", "tool_calls", "output_all")  # content must stay at index 1 (contract §2)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named list of strings.

    Attributes:
        name: the tensor's name, such as ``content``.
        data: its elements, decoded to ``str``.
    """

    name: str
    data: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the tensor as an object of the protocol's JSON, with the shape ``[len(data)]``."""
        return {"name": self.name, "shape": [len(self.data)], "datatype": "BYTES", "data": list(self.data)}

    @classmethod
    def from_json(cls, value: object) -> Tensor:
        """Build a tensor from a parsed JSON object; the object's ``parameters`` are ignored.

        Raises:
            ProtocolError: the value is not an object with name, shape, datatype and data, or one of these is invalid.
        """
        if not isinstance(value, Mapping) or not {"name", "shape", "datatype", "data"} <= value.keys():
            raise unexpected("tensor", "an object with name, shape, datatype and data", value)
        return cls.from_parts(value["name"], value["datatype"], value["shape"], value["data"])

    @classmethod
    def from_parts(cls, name: object, datatype: object, shape: object, data: object) -> Tensor:
        """Build a tensor from its parts.

        Args:
            name: a string that is not empty.
            datatype: ``BYTES``, the only datatype that is accepted.
            shape: dimensions whose product is the number of elements, such as ``[n]``, ``[n, 1]`` or ``[1, n]``.
            data: a flat or nested list of ``str`` (REST) or ``bytes`` (gRPC).

        Raises:
            ProtocolError: an argument does not match its description, an element is not UTF-8, or there are more than
                10,000 elements.
        """
        if not isinstance(name, str) or not name:
            raise unexpected("tensor", "a name", name)
        if datatype != "BYTES":
            raise unexpected(tensor_location(name), "datatype BYTES", datatype)
        if not isinstance(data, list | tuple):
            raise unexpected(tensor_location(name), "a list of strings as data", data)
        flat = list(islice(_flat(data), MOST_ELEMENTS + 1))
        if len(flat) > MOST_ELEMENTS:
            raise ProtocolError(f"{tensor_location(name)}: more than {MOST_ELEMENTS} elements, which is the maximum")
        elements = tuple(_decode(element, tensor_location(name, index)) for index, element in enumerate(flat))
        _check_shape(name, shape, len(elements))
        return cls(name, elements)


def _flat(data: Iterable[object]) -> Iterator[object]:
    for element in data:
        if isinstance(element, list | tuple):
            yield from _flat(element)
        else:
            yield element


def _decode(element: object, where: str) -> str:
    if isinstance(element, str):
        return element
    if not isinstance(element, bytes):
        raise unexpected(where, "a string", element)
    try:
        return element.decode()
    except UnicodeDecodeError:
        raise unexpected(where, "UTF-8", element) from None


def _check_shape(name: str, shape: object, count: int) -> None:
    dimensions = shape if isinstance(shape, list | tuple) else ()
    whole = all(type(size) is int and size >= 0 for size in dimensions)
    if not dimensions or not whole or math.prod(dimensions) != count:
        raise unexpected(tensor_location(name), f"shape [{count}], to match the number of elements in data", shape)


def per_message(tensors: Mapping[str, tuple[str, ...]], name: str, count: int) -> tuple[str, ...]:
    """Return a tensor's elements, one for each of ``count`` messages; if the tensor is missing, all are ``""``.

    Raises:
        ProtocolError: the tensor has more or fewer elements.
    """
    elements = tensors.get(name) or ("",) * count
    if len(elements) != count:
        raise unexpected(tensor_location(name), f"{counted(count, 'element')}, one for each message", len(elements))
    return elements
