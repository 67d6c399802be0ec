"""Shows control characters in text that a terminal or a log prints, so that the text cannot control the terminal."""

from __future__ import annotations

# Bidirectional controls reorder the characters after them, so that a line reads differently from what it says.
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROLS = [*map(chr, (*range(0x20), *range(0x7F, 0xA0))), *_BIDI]
_SURROGATES = map(chr, range(0xD800, 0xE000))  # printing one raises UnicodeEncodeError
_ESCAPED = {ord(each): each.encode("unicode_escape").decode() for each in (*_CONTROLS, *_SURROGATES)}
_ESCAPED_BUT_LAYOUT = {code: text for code, text in _ESCAPED.items() if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    r"""Return the text with each control character as an escape sequence, except newline and tab.

    The text may come from a model, a provider or another user. Control characters of terminals, bidirectional controls
    and lone surrogates are replaced; all other characters stay, emojis too.

    Example:
        >>> printable("\x1b]0;a title\x07")
        '\\x1b]0;a title\\x07'
    """
    return text.translate(_ESCAPED_BUT_LAYOUT)


def one_line(text: str) -> str:
    r"""Return the text as `printable` does, with newlines and tabs as escape sequences too, so that it stays one line.

    Example:
        >>> one_line("name\nINFO - a forged line")
        'name\\nINFO - a forged line'
    """
    return text.translate(_ESCAPED)
