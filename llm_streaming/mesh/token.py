"""The token of a mesh, in a file that other processes of this account read.

The file contains a whole header, so ``curl -H @file`` sends the token, and the token is in no command line.
"""

from __future__ import annotations

import secrets
from pathlib import Path

FILE = "authorization"
"""The name of the file in the mesh's private folder."""

_PREFIX = "Authorization: Bearer "


def create_token(home: Path) -> str:
    """Create a token, and write it to a new file in a mesh's private folder."""
    token = secrets.token_urlsafe()
    file = home / FILE
    file.touch(0o600, exist_ok=False)
    file.write_text(f"{_PREFIX}{token}\n")
    return token


def read_token(home: Path) -> str | None:
    """Return the token of the mesh with this private folder, or None if the mesh has none."""
    try:
        return (home / FILE).read_text().removeprefix(_PREFIX).strip()
    except FileNotFoundError:
        return None
