"""Checks regular expressions, and writes them as llama.cpp reads them.

A few characters can keep llama.cpp or vLLM busy for ever: ``(([a-z]*)*)*``, or thirty times ``[a-z]*``. Python's own
parser reads the expressions, so that exactly what was checked is written.
"""

from __future__ import annotations

import re
import re._constants as kind  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

_LONGEST = 200  # characters
_MOST_REPEATED = 100  # times; vLLM's compiler fails from about 130 times on
_MOST_IN_ALL, _MOST_VARIABLE = 200, 8  # vLLM took 2 s for these, 9 s for 300 and 10; llama.cpp did not end for 33 stars
_MOST_BRANCHES = 16
_DEEPEST = 8
_TAKEN = {
    kind.LITERAL, kind.NOT_LITERAL, kind.ANY, kind.IN, kind.BRANCH, kind.SUBPATTERN, kind.MAX_REPEAT,
}  # fmt: skip
_CATEGORIES = {kind.CATEGORY_DIGIT: "0-9", kind.CATEGORY_WORD: "A-Za-z0-9_", kind.CATEGORY_SPACE: " "}
# Characters that JSON writes in an escaped form. llama.cpp would write them as they are, which ends the string.
_ESCAPED = r'"\\\x00-\x1F'
_Tree: TypeAlias = Iterable[tuple[Any, Any]]  # a parsed expression: operators with their operands


def has_lookaround(pattern: str) -> bool:
    """Return whether an expression looks ahead or behind, which the engines do not follow."""
    return re.search(r"\(\?<?[=!]", pattern) is not None


def read_pattern(pattern: str, *, anchored: bool = True) -> str:
    r"""Check a regular expression, and write it as llama.cpp reads it: without ``\d``, ``.`` or other short forms.

    Args:
        pattern: the expression.
        anchored: whether it has to begin with ``^`` and end with ``$``; llama.cpp ignores it otherwise.

    Raises:
        ValueError: the expression is not taken; the message continues a sentence that begins with the expression.
    """
    if len(pattern) > _LONGEST:
        raise ValueError(f"has more than {_LONGEST} characters: shorten it")
    if anchored and not (pattern.startswith("^") and pattern.endswith("$")):
        raise ValueError("does not begin with ^ and end with $: add them")
    try:
        tree = parser.parse(pattern.removeprefix("^").removesuffix("$"))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"is not a regular expression ({error}): correct it") from None
    _check(tree, tree.state.flags)
    return f"^{_written(tree)}$"


def _check(tree: _Tree, flags: int) -> None:
    nodes = list(_nodes(tree, 0))
    groups = [operand for operator, operand, _ in nodes if operator is kind.SUBPATTERN]
    if flags != re.UNICODE or any(added or removed for _, added, removed, _ in groups):
        raise ValueError("sets flags: leave them out")
    if any(operator not in _TAKEN for operator, _, _ in nodes):
        raise ValueError("contains something else than characters, classes, groups, | and repetitions: leave it out")
    if any(level > _DEEPEST for _, _, level in nodes):
        raise ValueError("has too many groups inside groups: use fewer")
    if sum(len(operand[1]) for operator, operand, _ in nodes if operator is kind.BRANCH) > _MOST_BRANCHES:
        raise ValueError(f"has more than {_MOST_BRANCHES} alternatives: use an enum")
    repetitions = [operand for operator, operand, _ in nodes if operator is kind.MAX_REPEAT]
    if any(_times(*operand) > _MOST_REPEATED for operand in repetitions) or _repeated(tree) > _MOST_IN_ALL:
        raise ValueError(f"repeats more than {_MOST_REPEATED} times, or {_MOST_IN_ALL} in all: lower the numbers")
    if sum(low != high for low, high, _ in repetitions) > _MOST_VARIABLE:
        raise ValueError(f"has more than {_MOST_VARIABLE} repetitions without a fixed number: use fewer")
    if any(_repeated(inner) and not _is_delimited(inner) for _, _, inner in repetitions):
        raise ValueError("has a repetition inside a repetition: leave out one of them")


def _nodes(tree: _Tree, depth: int) -> Iterator[tuple[Any, Any, int]]:
    """Yield every operator of a tree, its operand, and how deep it is."""
    for operator, operand in tree:
        yield operator, operand, depth
        for below in _below(operator, operand):
            yield from _nodes(below, depth + 1)


def _below(operator: Any, operand: Any) -> list[_Tree]:  # noqa: ANN401 - Python's own types
    if operator is kind.BRANCH:
        return list(operand[1])
    return [operand[-1]] if operator in (kind.SUBPATTERN, kind.MAX_REPEAT) else []


def _times(low: Any, high: Any, _: _Tree) -> int:  # noqa: ANN401 - Python's own types
    return max(1, int(low if high is kind.MAXREPEAT else high))


def _repeated(tree: _Tree) -> int:
    """Return how many times all repetitions of a tree repeat something, an inner one as often as the outer one."""
    total = 0
    for operator, operand in tree:
        inner = sum(map(_repeated, _below(operator, operand)))
        total += _times(*operand) * max(1, inner) if operator is kind.MAX_REPEAT else inner
    return total


def _is_delimited(tree: _Tree) -> bool:
    """Return whether a group begins or ends with a character that nothing else in it matches, as in ``(-[a-z]+)*``."""
    top = list(tree)
    if len(top) == 1 and top[0][0] is kind.SUBPATTERN:
        return _is_delimited(top[0][1][-1])
    parts = [
        _node_written(operator, operand) for operator, operand, _ in _nodes(top, 0) if not _below(operator, operand)
    ]
    return any(
        operator is kind.LITERAL and sum(re.fullmatch(part, chr(character)) is not None for part in parts) == 1
        for operator, character in (top[0], top[-1])
    )


def _written(tree: _Tree) -> str:
    return "".join(_node_written(operator, operand) for operator, operand in tree)


def _node_written(operator: Any, operand: Any) -> str:  # noqa: ANN401 - Python's own types
    if operator is kind.BRANCH:
        return f"({'|'.join(map(_written, operand[1]))})"
    if operator is kind.SUBPATTERN:
        return f"({_written(operand[-1])})"
    if operator is kind.MAX_REPEAT:
        low, high, inner = operand
        group = inner if len(inner) == 1 else [(kind.SUBPATTERN, (inner,))]
        return f"{_written(group)}{{{low},{'' if high is kind.MAXREPEAT else high}}}"
    if operator is kind.IN:
        return f"[{''.join(_element_written(*element) for element in operand)}]"
    if operator is kind.NOT_LITERAL:
        return f"[^{_ESCAPED}{_character(operand)}]"
    return f"[^{_ESCAPED}]" if operator is kind.ANY else f"[{_character(operand)}]"


def _element_written(operator: Any, operand: Any) -> str:  # noqa: ANN401 - Python's own types
    if operator is kind.NEGATE:
        return f"^{_ESCAPED}"
    if operator is kind.RANGE:
        return f"{_character(operand[0])}-{_character(operand[1])}"
    if operator is kind.LITERAL:
        return _character(operand)
    if operand not in _CATEGORIES:
        raise ValueError(r"contains \D, \W or \S: write a class such as [^0-9]")
    return _CATEGORIES[operand]


def _character(code: int) -> str:
    """Write a character for use inside a class, where only letters and digits have no special meaning."""
    if code < ord(" ") or chr(code) in '"\\':
        raise ValueError("contains a quotation mark, a backslash or a control character: leave it out")
    return chr(code) if chr(code).isalnum() or code > ord("~") else f"\\x{code:02X}"
