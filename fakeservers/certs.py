"""Throw-away credentials: a CA, a server certificate, a provider's `.p8` key and client certificates.

Keys are P-256, made afresh for each directory, and files that hold one are readable by their owner alone.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fakeservers.serving.small_files import read_small

KEY_ID = "FAKEKEY001"
TEAM_ID = "FAKETEAM01"

SANDBOX_OID = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
PRODUCTION_OID = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
TOPICS_OID = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")
"""Lists the topics of a certificate: SEQUENCE of (UTF8String topic, SEQUENCE of UTF8String kind)."""

BROKEN = ("expired", "early", "wrong-host", "wrong-ca")
"""Ways in which a server's certificate can be bad."""

LIFETIME = datetime.timedelta(days=365)
_DER_NULL = b"\x05\x00"
_SEQUENCE, _UTF8 = 0x30, 0x0C


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate for certificate authentication, with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    authority: x509.Certificate

    def pem(self) -> bytes:
        """Certificate and unencrypted PKCS#8 key, one after the other, as `SSLContext.load_cert_chain` wants them."""
        return self.certificate.public_bytes(serialization.Encoding.PEM) + _key_pem(self.key)

    def pkcs12(self, passphrase: bytes | None = None) -> bytes:
        """The same as a PKCS#12 (`.p12`) with the CA in it, encrypted when there is a passphrase."""
        encryption: serialization.KeySerializationEncryption
        if passphrase is None:
            encryption = serialization.NoEncryption()
        else:
            encryption = serialization.BestAvailableEncryption(passphrase)
        return pkcs12.serialize_key_and_certificates(
            b"apns", self.key, self.certificate, [self.authority], encryption
        )


@dataclass(frozen=True, slots=True)
class Certificates:
    """The credentials in one directory: `ca.pem`, `ca-key.pem`, `server.pem` and `AuthKey_<key id>.p8`."""

    directory: Path
    key_id: str = KEY_ID
    team_id: str = TEAM_ID

    @classmethod
    def create(
        cls,
        directory: str | os.PathLike[str],
        *,
        key_id: str = "",
        team_id: str = TEAM_ID,
        hosts: Sequence[str] = (),
    ) -> Certificates:
        """Make the directory's credentials, or take those that it holds when CA and `.p8` are complete and valid.

        The server's certificate is always new. Without `key_id` a `.p8` that is there gives its own.

        Args:
            directory: where the files go.
            key_id: of the `.p8`.
            team_id: of the `.p8`.
            hosts: host names that the server's certificate is valid for, besides this machine.

        Raises:
            OSError: the directory cannot be written.
            ValueError: a file in it is not what its name says.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        if not key_id:
            key_files = sorted(folder.glob("AuthKey_*.p8"))
            key_id = key_files[0].stem.removeprefix("AuthKey_") if key_files else KEY_ID
        self = cls(folder, key_id, team_id)
        if not self._complete():
            key = ec.generate_private_key(ec.SECP256R1())
            authority = _sign(_name("pushcore fake CA"), key, None, key, _authority_extensions())
            self.ca_file.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
            write_private(folder / "ca-key.pem", _key_pem(key))
            write_private(self.key_file, _key_pem(ec.generate_private_key(ec.SECP256R1())))
        server_key = ec.generate_private_key(ec.SECP256R1())
        server = self._issue(_name("localhost"), server_key, _server_extensions(more=hosts))
        write_private(
            self.server_file, server.public_bytes(serialization.Encoding.PEM) + _key_pem(server_key)
        )
        return self

    @property
    def ca_file(self) -> Path:
        """The certificate that clients must trust."""
        return self.directory / "ca.pem"

    @property
    def key_file(self) -> Path:
        """The provider's signing key, PKCS#8 PEM, as Apple hands it out."""
        return self.directory / f"AuthKey_{self.key_id}.p8"

    @property
    def server_file(self) -> Path:
        """The server's certificate and key."""
        return self.directory / "server.pem"

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half of `key_file`."""
        return load_key(read_small(self.key_file))

    def server_context(self) -> ssl.SSLContext:
        """TLS 1.2 or later; a client may show a certificate, which must then be of this CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server_file)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def broken_context(self, how: str) -> ssl.SSLContext:
        """The same with a certificate that no client may take, or as it is for any other `how`.

        Args:
            how: `expired`, `early` (not valid before tomorrow), `wrong-host` (for example.net) or `wrong-ca` (signed by
                an unknown one).
        """
        context = self.server_context()
        if how not in BROKEN:
            return context
        key = ec.generate_private_key(ec.SECP256R1())
        shift = datetime.timedelta(days={"expired": -400, "early": 2}.get(how, 0))
        extensions = _server_extensions("example.net" if how == "wrong-host" else "")
        if how == "wrong-ca":
            signer = ec.generate_private_key(ec.SECP256R1())
            authority = _sign(_name("pushcore unknown CA"), signer, None, signer, _authority_extensions())
            made = _sign(_name("localhost"), key, authority, signer, extensions)
        else:
            made = self._issue(_name("localhost"), key, extensions, shift)
        file = self.directory / f"server-{how}.pem"
        write_private(file, made.public_bytes(serialization.Encoding.PEM) + _key_pem(key))
        try:
            context.load_cert_chain(file)
        finally:
            file.unlink()
        return context

    def client_certificate(
        self,
        topic: str,
        *,
        topics: Sequence[str] = (),
        environments: Iterable[str] = ("sandbox", "production"),
    ) -> ClientCertificate:
        """A certificate for `topic` (its UID and CN) and, by Apple's extension .6.3.6, for `topics` besides."""
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        ]
        for environment in environments:
            oid = {"sandbox": SANDBOX_OID, "production": PRODUCTION_OID}[environment]
            extensions.append((x509.UnrecognizedExtension(oid, _DER_NULL), False))
        if topics:
            listed = _topics_der([topic, *topics])
            extensions.append((x509.UnrecognizedExtension(TOPICS_OID, listed), False))
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Apple Push Services: {topic}", uid=topic)
        return ClientCertificate(self._issue(name, key, extensions), key, self._authority())

    def _authority(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(read_small(self.ca_file))

    def _complete(self) -> bool:
        files = (self.ca_file, self.directory / "ca-key.pem", self.key_file)
        if not all(file.exists() for file in files):
            return False
        load_key(read_small(self.key_file))
        return self._authority().not_valid_after_utc > _today() + datetime.timedelta(days=1)

    def _issue(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: Iterable[tuple[x509.ExtensionType, bool]],
        shift: datetime.timedelta = datetime.timedelta(),
    ) -> x509.Certificate:
        signer = serialization.load_pem_private_key(read_small(self.directory / "ca-key.pem"), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        return _sign(name, key, self._authority(), signer, extensions, shift)


def load_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public P-256 key of a PEM that holds it or its private half.

    Raises:
        ValueError: it is no PEM of a key, or not one for ES256.
    """
    key: object
    if b"PRIVATE KEY" in pem:
        private = serialization.load_pem_private_key(pem, None)
        key = private.public_key()
    else:
        key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whatever the umask and whatever was there."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def certificate_topics(certificate: x509.Certificate) -> frozenset[str]:
    """What a client certificate may push to: its list of topics, or else the UID of its subject."""
    for extension in certificate.extensions:
        if extension.oid == TOPICS_OID and isinstance(extension.value, x509.UnrecognizedExtension):
            return frozenset(_read_topics(extension.value.value))
    uids = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    return frozenset(str(uid.value) for uid in uids)


def certificate_environments(certificate: x509.Certificate) -> frozenset[str]:
    """Which of `sandbox` and `production` a client certificate is for, by Apple's extensions .6.3.1 and .6.3.2."""
    names = {SANDBOX_OID: "sandbox", PRODUCTION_OID: "production"}
    return frozenset(names[extension.oid] for extension in certificate.extensions if extension.oid in names)


def _sign(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
    shift: datetime.timedelta = datetime.timedelta(),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(authority.subject if authority else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_today() + shift - datetime.timedelta(days=1))
        .not_valid_after(_today() + shift + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        # Python 3.13 verifies strictly: it wants to be told which key signed.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def _authority_extensions() -> list[tuple[x509.ExtensionType, bool]]:
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True),
    ]


def _server_extensions(host: str = "", more: Sequence[str] = ()) -> list[tuple[x509.ExtensionType, bool]]:
    """For this host, by default this machine, and for more."""
    names: list[x509.GeneralName] = [x509.DNSName(host or "localhost")]
    if not host:
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    names += map(x509.DNSName, more)
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectAlternativeName(names), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]


def _name(common_name: str, uid: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])]
    if uid:
        attributes.insert(0, x509.NameAttribute(NameOID.USER_ID, uid))
    return x509.Name(attributes)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _today() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _topics_der(topics: Iterable[str]) -> bytes:
    kind = _der(_SEQUENCE, _der(_UTF8, b"app"))
    return _der(_SEQUENCE, b"".join(_der(_UTF8, topic.encode()) + kind for topic in topics))


def _read_topics(der: bytes) -> list[str]:
    """The topics of the extension: the strings directly within its sequence; the nested ones say kinds."""
    [(_, listed)] = _der_items(der)
    return [value.decode() for tag, value in _der_items(listed) if tag == _UTF8]


def _der(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes((tag, size)) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + value


def _der_items(der: bytes) -> list[tuple[int, bytes]]:
    items, at = [], 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            width = size & 0x7F
            size, at = int.from_bytes(der[at : at + width], "big"), at + width
        items.append((tag, der[at : at + size]))
        at += size
    return items
