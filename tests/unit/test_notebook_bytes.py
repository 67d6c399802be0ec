"""Bytes, laid out for people."""

from llm_streaming.notebook.bytes import hex_view


def test_bytes_stand_in_lines_with_what_is_ascii() -> None:
    assert hex_view("data: ü\n\n~\x7f and more".encode()) == (
        "0000  64 61 74 61 3a 20 c3 bc 0a 0a 7e 7f 20 61 6e 64  data: ....~. and\n"
        "0010  20 6d 6f 72 65                                    more"
    )


def test_nothing_is_no_line() -> None:
    assert hex_view(b"") == ""
