"""Reads YAML files with bounds, so that no file can occupy the reader for long. Errors quote nothing of a file."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 100
_MAX_VALUES = 50_000  # read in a second; an alias counts as many values as the part of the file that it repeats


def read_yaml(path: Path, *, unique_keys: bool = True) -> list[Any]:
    """Read all documents in a YAML file, except empty ones.

    Args:
        path: the file.
        unique_keys: whether a key that occurs twice in a mapping is an error; otherwise the last one counts.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is too large, is not YAML, or is nested too deeply. The message gives the line, and quotes
            nothing of the file, which may contain secrets.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES:,} bytes")
    try:
        loader = _Loader(content.decode(), unique_keys=unique_keys)
        documents = []
        while loader.check_data():  # type: ignore[no-untyped-call]
            documents.append(loader.get_data())
    except yaml.MarkedYAMLError as error:
        raise ValueError(_reason(error)) from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise ValueError("it has a character or a value that YAML does not allow") from None
    return [document for document in documents if document is not None]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with bounds for aliases. Without them, a few lines can describe millions of values."""

    def __init__(self, text: str, *, unique_keys: bool) -> None:
        super().__init__(text)
        self._unique_keys = unique_keys
        self._depth = 0
        self._count = 0
        self._counts: dict[yaml.Node, int] = {}  # the values in each complete node

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:  # noqa: ANN401 - PyYAML's signature
        """Compose a node, and count the values in it, and the nodes that it is in."""
        before, event = self._count, self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _BoundError(f"this is nested more than {_MAX_DEPTH} deep", event)
        node: yaml.Node = super().compose_node(parent, index)  # type: ignore[assignment]
        self._depth -= 1
        if not isinstance(event, yaml.AliasEvent):
            self._count += 1
            self._counts[node] = self._count - before
        elif node in self._counts:
            self._count += self._counts[node]
        else:
            raise _BoundError("a value contains itself", event)
        if self._count > _MAX_VALUES:
            raise _BoundError(f"there are more than {_MAX_VALUES:,} values, with those that aliases repeat", event)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping, in which each key occurs once."""
        known: set[str] = set()
        for key, _ in node.value if self._unique_keys else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in known:
                    raise _BoundError("the key is already in this mapping", key)
                known.add(key.value)
        return super().construct_mapping(node, deep)


class _BoundError(yaml.MarkedYAMLError):
    """The file is YAML, but exceeds a bound."""

    def __init__(self, problem: str, at: yaml.Event | yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=at.start_mark)  # type: ignore[arg-type] # types-PyYAML adds None


def _reason(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    # Other errors quote a word of the file. An error of the scanner quotes one character at most.
    quotes_nothing = isinstance(error, _BoundError | yaml.scanner.ScannerError)
    return where + (error.problem if quotes_nothing and error.problem else "this is not YAML")
