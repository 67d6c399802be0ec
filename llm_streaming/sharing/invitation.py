"""The invitation to a shared mesh: its address, its token and the fingerprint of its certificate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llm_streaming.errors import MeshError

_INVITATION = re.compile(r"https://([\w.-]+):(\d{1,5})#([A-Za-z0-9_-]{20,})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Invitation:
    """A guest's value of ``LLM_STREAMING_MESH``: ``https://host:port#token.fingerprint``.

    Args:
        host: the name or address of the presenter's machine.
        port: the port of the gateway on that machine.
        token: the secret that a guest's requests must contain.
        fingerprint: the SHA-256 of the gateway's certificate, in hexadecimal digits.
    """

    host: str
    port: int
    token: str = field(repr=False)
    fingerprint: str

    def __str__(self) -> str:
        """Return the value of ``LLM_STREAMING_MESH``, which contains the secret token."""
        return f"https://{self.address}#{self.token}.{self.fingerprint}"

    @property
    def address(self) -> str:
        """The gateway's ``host:port``, which is not secret."""
        return f"{self.host}:{self.port}"

    @classmethod
    def read(cls, value: str) -> Invitation:
        """Parse an invitation.

        Raises:
            MeshError: the value is not an invitation. The message omits the value, which may contain the token.
        """
        found = _INVITATION.fullmatch(value.strip())
        if not found or not 0 < int(found[2]) < 65_536:
            raise MeshError(
                "LLM_STREAMING_MESH is not a complete invitation to a shared mesh: run the whole line that "
                "`llm-streaming up --share` printed, from export to the last quote"
            )
        host, port, token, fingerprint = found.groups()
        return cls(host, int(port), token, fingerprint)
