"""The tokens of open meshes. Clients of this process send a token only to the address of its mesh."""

from __future__ import annotations

from llm_streaming.errors import InferenceError

_TOKENS: dict[str, str] = {}  # by the mesh's ``host:port``


def remember(address: str, token: str) -> None:
    """Let clients that are created from now on send a token to a mesh's ``host:port``."""
    _TOKENS[address] = token


def authorization(address: str, token: str | None) -> dict[str, str]:
    """Return the header for requests to a ``host:port``: with the given token, else with the remembered one, if any.

    Raises:
        InferenceError: HTTP does not allow a character of the token, such as a newline at its end.
    """
    token = token or _TOKENS.get(address)
    if token and not (token.isascii() and token.isprintable()):
        raise InferenceError("the token has a line break or another character that HTTP forbids: pass mesh.token")
    return {} if token is None else {"authorization": f"Bearer {token}"}
