"""Hides secrets, such as a provider's key, in error messages, answers and log lines."""

from __future__ import annotations

from itertools import groupby

_MASK = "***"
# A shorter secret is a placeholder such as "none" or "x". Replacing it would garble messages.
_SHORTEST_SECRET = 8
# A part of a secret with this many characters is hidden too, because an error may split the secret over its fields.
_SHORTEST_PART = 12

_secrets: list[str] = []  # the longest first, because one secret may contain another
_parts: set[str] = set()


def hide(*secrets: str) -> None:
    """Register secrets of this process, which `masked` and `masked_bytes` hide from then on."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET and secret not in _secrets:
            _secrets.append(secret)
            _parts.update(secret[start:][:_SHORTEST_PART] for start in range(len(secret) - _SHORTEST_PART + 1))
    _secrets.sort(key=len, reverse=True)


def masked(text: str) -> str:
    """Return the text with ``***`` in place of each secret, and of each long part of a secret."""
    for secret in _secrets:
        text = text.replace(secret, _MASK)
    hidden = bytearray(len(text))
    for start in range(len(text) - _SHORTEST_PART + 1):
        if text[start : start + _SHORTEST_PART] in _parts:
            hidden[start : start + _SHORTEST_PART] = b"\1" * _SHORTEST_PART
    runs = groupby(range(len(text)), key=hidden.__getitem__)
    return "".join(_MASK if secret else "".join(text[index] for index in run) for secret, run in runs)


def masked_bytes(data: bytes) -> bytes:
    """Return the bytes with ``***`` in place of each whole secret. This is faster than `masked`, for every event."""
    for secret in _secrets:
        data = data.replace(secret.encode(), _MASK.encode())
    return data
