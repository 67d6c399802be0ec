"""Names, checked as the API server checks them."""

from __future__ import annotations

import re

from llm_streaming.errors import ManifestError

# kubernetes/apimachinery, pkg/util/validation/validation.go
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_SECRET_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def check_label(where: str, name: object) -> None:
    """Refuse what is not a DNS-1123 label: the name of a Model or a Server, which becomes part of a host name.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(name, str) or not _LABEL.fullmatch(name) or len(name) > 63:
        raise ManifestError(
            f"{where} must be lower-case letters, digits and '-', starting and ending with a letter or a digit, "
            f"63 characters at most, but got {name!r}"
        )


def check_subdomain(where: str, name: object) -> None:
    """Refuse what is not a DNS-1123 subdomain: the name of a Secret.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(name, str) or not _SUBDOMAIN.fullmatch(name) or len(name) > 253:
        raise ManifestError(
            f"{where} must be lower-case letters, digits, '-' and '.', each part starting and ending with a letter or "
            f"a digit, 253 characters at most, but got {name!r}"
        )


def check_secret_key(where: str, key: object) -> None:
    """Refuse what is not a key of a Secret.

    Raises:
        ManifestError: it is none.
    """
    if (
        not isinstance(key, str)
        or not _SECRET_KEY.fullmatch(key)
        or len(key) > 253
        or key == "."
        or key.startswith("..")
    ):
        raise ManifestError(
            f"{where} must be letters, digits, '-', '_' and '.', 253 characters at most, but got {key!r}"
        )


def check_variable(where: str, name: object) -> None:
    """Refuse what is not the name of an environment variable.

    Raises:
        ManifestError: it is none.
    """
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or name == "." or name.startswith(".."):
        raise ManifestError(
            f"{where} must be named in letters, digits, '-', '_' and '.', starting with no digit, but got {name!r}"
        )
