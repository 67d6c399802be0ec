"""Manifests checked against the fields that SC2's custom resources have."""

from collections.abc import Mapping
from typing import Any


def check(manifest: Mapping[str, Any]) -> None:
    """To come."""
