"""Bytes as people read them."""

from __future__ import annotations

_PRINTABLE = range(0x20, 0x7F)


def hex_view(data: bytes, *, width: int = 16) -> str:
    r"""Lay bytes out in lines: the offset, each byte in hexadecimal, and the characters that are ASCII.

    Args:
        data: the bytes.
        width: how many stand in a line.

    Example:
        >>> print(hex_view(b"data: {}\n\n", width=8))
        0000  64 61 74 61 3a 20 7b 7d  data: {}
        0008  0a 0a                    ..
    """
    lines = []
    for start in range(0, len(data), width):
        line = data[start : start + width]
        text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in line)
        lines.append(f"{start:04x}  {line.hex(' '):<{3 * width - 1}}  {text}")
    return "\n".join(lines)
