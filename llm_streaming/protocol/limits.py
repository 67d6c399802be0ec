"""Limits of requests (contract §1) and of events, so that none can occupy a process's event loop or memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from llm_streaming.errors import ProtocolError

LARGEST_REQUEST = 16 * 1024**2
"""Bytes of a request's body over HTTP, after decompression, or of a message over gRPC."""

MOST_ELEMENTS = 10_000
"""Elements of one tensor."""

LARGEST_EVENT = 4_000_000
"""Bytes of one server-sent event; a chunk of a chat has some hundred."""

_DEEPEST = 100  # levels of lists and objects; orjson writes at most 254


def check_depth(value: object, where: str) -> None:
    """Check that JSON values are nested at most 100 levels deep.

    Raises:
        ProtocolError: the value is nested deeper.
    """
    if any(depth > _DEEPEST for depth, _ in enumerate(levels(value))):
        raise ProtocolError(f"{where}: nested deeper than {_DEEPEST} levels, which is the most that is accepted")


def levels(value: object) -> Iterator[list[object]]:
    """Yield JSON values level by level, with the names in objects. Recursion could exceed the stack."""
    level = [value]
    while level:
        yield level
        level = [child for each in level for child in _children(each)]


def _children(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return chain(value, value.values())
    return value if isinstance(value, list | tuple) else ()
