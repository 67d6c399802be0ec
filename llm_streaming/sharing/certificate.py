"""A certificate for one run of a shared mesh, which nobody has signed: its fingerprint says that it is the one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both in PEM.

    Args:
        chain: the certificate.
        key: its private key.
        fingerprint: SHA-256 of the certificate in DER, in hexadecimal digits.
    """

    chain: str
    key: str = field(repr=False)
    fingerprint: str


def self_signed() -> Certificate:
    """Make a certificate, with a key on the curve P-256."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "llm-streaming")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)  # clocks in a room differ
        .not_valid_after(now + 7 * _DAY)
        .sign(key, hashes.SHA256())
    )
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        chain=made.public_bytes(serialization.Encoding.PEM).decode(),
        key=encoded.decode(),
        fingerprint=made.fingerprint(hashes.SHA256()).hex(),
    )
