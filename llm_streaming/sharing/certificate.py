"""A self-signed certificate for one run of a shared mesh. Guests check its fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both in PEM, and the certificate's SHA-256 in hexadecimal digits."""

    chain: str
    key: str = field(repr=False)
    fingerprint: str


def self_signed() -> Certificate:
    """Create a self-signed certificate with a key on the curve P-256."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "llm-streaming")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)  # the clock of a guest's machine may be slow
        .not_valid_after(now + 7 * _DAY)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    chain = certificate.public_bytes(pem).decode()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return Certificate(chain, private, certificate.fingerprint(hashes.SHA256()).hex())
