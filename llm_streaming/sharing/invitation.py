"""What a presenter hands out: where the shared mesh is, the token that opens it, and whom to trust there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from llm_streaming.errors import MeshError

_SECRET = re.compile(r"(?P<token>[A-Za-z0-9_-]{20,})\.(?P<fingerprint>[0-9a-f]{64})")


@dataclass(frozen=True)
class Invitation:
    """The value of ``LLM_STREAMING_MESH`` for those in the room: ``https://host:port#token.fingerprint``.

    Args:
        host: the presenter's machine.
        port: where it listens.
        token: what proves that one was invited.
        fingerprint: SHA-256 of the certificate that the presenter's machine shows, in hexadecimal digits.
    """

    host: str
    port: int
    token: str = field(repr=False)
    fingerprint: str

    def __str__(self) -> str:
        """The value itself, token and all."""
        return f"https://{self.address}#{self.token}.{self.fingerprint}"

    @property
    def address(self) -> str:
        """``host:port``, which is no secret."""
        return f"{self.host}:{self.port}"

    @staticmethod
    def is_meant(value: str) -> bool:
        """Whether a value is an invitation, and no path of this machine."""
        return "://" in value

    @classmethod
    def read(cls, value: str) -> Invitation:
        """Read an invitation.

        Raises:
            MeshError: it is cut or malformed; the message does not repeat it, because it holds a secret.
        """
        try:
            url = urlsplit(value.strip())
            host, port = url.hostname, url.port
        except ValueError:  # a port that is none
            host = port = None
        secret = _SECRET.fullmatch(url.fragment) if host and port and url.scheme == "https" else None
        if not host or not port or not secret:
            raise MeshError(
                "LLM_STREAMING_MESH is no invitation to a shared mesh: run the whole line that "
                "`llm-streaming up --share` printed, from export to the last quote"
            )
        return cls(host, port, secret["token"], secret["fingerprint"])
