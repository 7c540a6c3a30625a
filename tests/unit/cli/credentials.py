"""A signing key as Apple gives it, and an authority to trust: one of our own is loaded in no time, the system's are not."""

from __future__ import annotations

import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_KEY: Final = ec.generate_private_key(ec.SECP256R1())
_NAME: Final = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
_NOW: Final = datetime.datetime.now(datetime.UTC)

KEY: Final = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
AUTHORITY: Final = (
    x509.CertificateBuilder()
    .subject_name(_NAME)
    .issuer_name(_NAME)
    .public_key(_KEY.public_key())
    .serial_number(1)
    .not_valid_before(_NOW - datetime.timedelta(days=1))
    .not_valid_after(_NOW + datetime.timedelta(days=1))
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    .sign(_KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.PEM)
)
