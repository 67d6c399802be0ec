"""Quantities, such as ``500m`` of a processor and ``2Gi`` of memory, checked as the API server checks them."""

from __future__ import annotations

import re

from llm_streaming.errors import ManifestError

# kubernetes/apimachinery, pkg/api/resource/quantity.go: a decimal number, then nothing, a decimal suffix, a binary one
# or an exponent. So 1K is none, and 1E is 10^18 while 1E3 is a thousand.
_QUANTITY = re.compile(r"(?P<sign>[+-]?)(?P<number>\d+(\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?", re.ASCII)


def check_quantity(where: str, value: object) -> None:
    """Refuse what is not an amount of a resource: a string, or a whole number.

    Raises:
        ManifestError: it is none, or is negative.
    """
    found = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if found is None:
        raise ManifestError(
            f"{where} must be a quantity, a number with a unit such as 500m, 2Gi or 2G or with none, but got {value!r}"
        )
    if found["sign"] == "-" and found["number"].strip("0."):
        raise ManifestError(f"{where} must not be negative, but got {value!r}")
