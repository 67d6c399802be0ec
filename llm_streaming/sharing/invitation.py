"""The invitation to a shared mesh: its address, its token and the fingerprint of its certificate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llm_streaming.errors import MeshError

_INVITATION = re.compile(r"https://([^/#:]+):(\d{1,5})#([A-Za-z0-9_-]{20,})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Invitation:
    """A participant's value of ``LLM_STREAMING_MESH``: ``https://host:port#token.fingerprint``.

    Args:
        host: the name or address of the presenter's machine.
        port: the port of the gateway there.
        token: the secret that admits a participant.
        fingerprint: the SHA-256 of the gateway's certificate, in hexadecimal digits.
    """

    host: str
    port: int
    token: str = field(repr=False)
    fingerprint: str

    def __str__(self) -> str:
        """Write the invitation as the value of the variable, with the token."""
        return f"https://{self.address}#{self.token}.{self.fingerprint}"

    @property
    def address(self) -> str:
        """``host:port`` of the gateway, which is no secret."""
        return f"{self.host}:{self.port}"

    @classmethod
    def read(cls, value: str) -> Invitation:
        """Read an invitation.

        Raises:
            MeshError: the value is no invitation. The message does not repeat it, because it may hold the token.
        """
        found = _INVITATION.fullmatch(value.strip())
        if not found:
            raise MeshError(
                "LLM_STREAMING_MESH is not a complete invitation to a shared mesh: run the whole line that "
                "`llm-streaming up --share` printed, from export to the last quote"
            )
        host, port, token, fingerprint = found.groups()
        return cls(host, int(port), token, fingerprint)
