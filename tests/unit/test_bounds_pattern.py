"""Which regular expressions are taken, and how they are written for llama.cpp."""

import re
import re._constants as kind  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]

import pytest

from llm_streaming.engines.bounds.pattern import read_pattern

ELSE = "contains something else than characters, classes, groups, | and repetitions: leave it out"
TWICE = "has a repetition inside a repetition: leave out one of them"
OFTEN = "repeats more than 100 times, or 200 in all: lower the numbers"
ESCAPED = "contains a quotation mark, a backslash or a control character: leave it out"
REFUSED = {
    "a": "does not begin with ^ and end with $: add them",
    "^a": "does not begin with ^ and end with $: add them",
    f"^{'a' * 199}$": "has more than 200 characters: shorten it",
    # each of these blocked llama.cpp or vLLM for everybody, or took gigabytes
    "^((a{1,100}){1,100}){1,100}$": OFTEN,
    "^(.{1,100}){1,100}$": OFTEN,
    "^(([a-z ]{0,30}){0,30}){0,30}$": OFTEN,
    "^([a-z]*){1,20}x$": TWICE,
    "^([a-z]?){50}[a-z]{50}$": TWICE,
    "^(a?){500}a{500}$": OFTEN,
    "^a{5,3}$": "is not a regular expression (min repeat greater than max repeat at position 2): correct it",
    f"^{'[a-z]*' * 33}$": "has more than 8 repetitions without a fixed number: use fewer",
    f"^{'[a-z]{0,20}' * 10}$": "has more than 8 repetitions without a fixed number: use fewer",
    f"^{'(ab|c)' * 9}$": "has more than 16 alternatives: use an enum",
    f"^{'(' * 90}a{')' * 90}$": "has too many groups inside groups: use fewer",
    "^.{1,150}$": OFTEN,
    "^([a-z]{1,100}-){1,100}$": OFTEN,
    # these are harmless, but cannot be told from the others, or are ignored by llama.cpp
    "^(a+)+b$": TWICE,
    "^(a[a-z]*){1,50}$": TWICE,
    "^(?=a)b$": ELSE,
    r"^(a)\1$": ELSE,
    r"^\ba$": ELSE,
    "^a+?$": ELSE,
    "^a|^b$": ELSE,
    "^(?i)a$": "sets flags: leave them out",
    "^(?i:a)$": "sets flags: leave them out",
    r"^\p{L}$": r"is not a regular expression (bad escape \p at position 0): correct it",
    r"^a\$": r"is not a regular expression (bad escape (end of pattern) at position 1): correct it",
    "^[$": "is not a regular expression (unterminated character set at position 0): correct it",
    r"^\D$": r"contains \D, \W or \S: write a class such as [^0-9]",
    '^"$': ESCAPED,
    r"^\\$": ESCAPED,
    r"^\n$": ESCAPED,
}


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_that_costs_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=re.escape(REFUSED[pattern])) as raised:
        read_pattern(pattern)
    assert str(raised.value) == REFUSED[pattern]


WRITTEN = {
    "^$": "^$",
    "^[a-z]{1,20}$": "^[a-z]{1,20}$",
    "^a?b*c+$": "^[a]{0,1}[b]{0,}[c]{1,}$",
    "^[a-z]+(-[a-z]+)*$": r"^[a-z]{1,}([\x2D][a-z]{1,}){0,}$",
    r"^(\d{1,3}\.){3}\d{1,3}$": r"^([0-9]{1,3}[\x2E]){3,3}[0-9]{1,3}$",
    r"^\d{4}-\d{2}$": r"^[0-9]{4,4}[\x2D][0-9]{2,2}$",
    r"^[\w.+-]+@[\w-]+$": r"^[A-Za-z0-9_\x2E\x2B\x2D]{1,}[\x40][A-Za-z0-9_\x2D]{1,}$",
    r"^a\sb$": "^[a][ ][b]$",
    "^a.c$": r'^[a][^"\\\x00-\x1F][c]$',
    "^[^a-z]b[^c]$": r'^[^"\\\x00-\x1Fa-z][b][^"\\\x00-\x1Fc]$',
    "^(red|green){1,20}$": "^(([r][e][d]|[g][r][e][e][n])){1,20}$",
    "^(?P<x>ab)?(?:cd){2}$": "^([a][b]){0,1}([c][d]){2,2}$",
    "^é🙂$": "^[é][🙂]$",
}


@pytest.mark.parametrize("pattern", WRITTEN)
def test_a_pattern_is_written_without_short_forms(pattern: str) -> None:
    assert read_pattern(pattern) == WRITTEN[pattern]
    assert read_pattern(pattern.strip("^$"), anchored=False) == WRITTEN[pattern]


@pytest.mark.parametrize("pattern", [pattern for pattern in WRITTEN if pattern.isascii()])
@pytest.mark.parametrize(
    "text", ["", "abc", "a-b", "1.2.3.4", "2026-11", "a.b@c-d", "a b", "axc", "AbX", "redgreen", "cdcd"]
)
def test_what_is_written_matches_the_same_texts(pattern: str, text: str) -> None:
    assert bool(re.fullmatch(pattern, text)) == bool(re.fullmatch(read_pattern(pattern), text))


def test_pythons_private_parser_of_regular_expressions_gives_the_tree_that_is_read_here() -> None:
    """`re._parser` and `re._constants` are private."""
    tree = parser.parse(r"a(?:b|[^c\d])*.")
    assert tree.state.flags == re.UNICODE
    assert next(iter(tree)) == (kind.LITERAL, ord("a"))
    operator, (low, high, repeated) = list(tree)[1]
    assert (operator, low, high) == (kind.MAX_REPEAT, 0, kind.MAXREPEAT)
    [(operator, (_, branches))] = list(repeated)
    assert (operator, [list(branch) for branch in branches]) == (
        kind.BRANCH,
        [
            [(kind.LITERAL, ord("b"))],
            [(kind.IN, [(kind.NEGATE, None), (kind.LITERAL, ord("c")), (kind.CATEGORY, kind.CATEGORY_DIGIT)])],
        ],
    )
    assert list(tree)[2] == (kind.ANY, None)
