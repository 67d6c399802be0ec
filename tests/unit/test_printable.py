"""Control characters in text for a terminal or a log."""

import sys
import unicodedata

import pytest

from llm_streaming.printable import one_line, printable

SHOWN = {
    "a title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "a line that overwrites another": ("safe\rforged\b", r"safe\rforged\x08"),
    "a C1 control": ("\x9b31m", r"\x9b31m"),
    "delete": ("\x7f", r"\x7f"),
    "a bidirectional override": ("user\u202exe\u2066", r"user\u202exe\u2066"),
    "half a surrogate": ("\ud83d", r"\ud83d"),
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert (printable(text), one_line(text)) == (shown, shown)


def test_ordinary_text_stays() -> None:
    text = "grüße 👩‍🔬 \u00a0 سلام\n\tend \\x1b"
    assert printable(text) == text
    assert one_line(text) == text.replace("\n", r"\n").replace("\t", r"\t")


def test_every_control_character_of_unicode_is_shown() -> None:
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    controls = [
        each
        for each in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(each) in ("Cc", "Cs") or unicodedata.bidirectional(each) in bidirectional
    ]
    assert [each for each in controls if printable(each) == each] == ["\t", "\n"]
    assert [each for each in controls if one_line(each) == each] == []
