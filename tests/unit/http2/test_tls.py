"""The client's TLS context and certificates, by handshakes in memory; and the names of what goes wrong."""

from __future__ import annotations

import asyncio
import datetime
import errno
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from fakeservers.certs import Certificates
from pushcore.errors import AlpnError, CertificateError, ConfigurationError, ConnectError
from pushcore.http2.tls import ApnsCertificate, client_context, name_tls_error

PEM = serialization.Encoding.PEM
PASSPHRASE = "correct horse"
TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Any = KEY, passphrase: str | None = None, traditional: bool = False) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    kind = (
        serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    )
    made: bytes = key.private_bytes(PEM, kind, encryption)
    return made


def certificate(
    begin: datetime.datetime = TODAY - DAY, end: datetime.datetime = TODAY + DAY, key: Any = KEY
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Apple Push Services: com.example.app")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end).sign(key, hashes.SHA256())


def certificate_pem(**arguments: Any) -> bytes:
    return certificate(**arguments).public_bytes(PEM)


def p12(
    key: Any = KEY, own: x509.Certificate | None = None, passphrase: str | None = None, bare: bool = False
) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    own = None if bare else own or certificate()
    return pkcs12.serialize_key_and_certificates(b"apns", key, own, None, encryption)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def save(content: bytes) -> Path:
        file = tmp_path / "client.file"
        file.write_bytes(content)
        return file

    return save


def server_context(certificates: Certificates) -> ssl.SSLContext:
    context = certificates.server_context()
    context.set_alpn_protocols(["h2"])
    return context


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost"
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends after a handshake without a network; raises the client's error first, as a client would see it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    failed: Exception | None = None
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                failed = failed or error
                if end is ends[0]:
                    raise
    if failed is not None:
        ends[0].read(1)  # in TLS 1.3 the server's alert comes after the client's half of the handshake
        raise failed
    return ends


# --- the context


def test_http2_over_verified_tls(certificates: Certificates) -> None:
    context = client_context(ca_file=certificates.ca_file)
    ours, _ = handshake(context, server_context(certificates))
    assert ours.selected_alpn_protocol() == "h2"
    assert ours.version() == "TLSv1.3"
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_tls_12_with_authenticated_ciphers_alone(certificates: Certificates) -> None:
    server = server_context(certificates)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    context = client_context(ca_file=certificates.ca_file)
    ours, _ = handshake(context, server)
    assert ours.version() == "TLSv1.2"
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert all("GCM" in each["name"] or "CHACHA20" in each["name"] for each in context.get_ciphers())


def test_neither_renegotiation_nor_compression(certificates: Certificates) -> None:
    options = client_context(ca_file=certificates.ca_file).options
    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION


def test_authorities_in_der_or_many_in_pem(certificates: Certificates, save: Callable[[bytes], Path]) -> None:
    authority = x509.load_pem_x509_certificate(certificates.ca_file.read_bytes())
    der = authority.public_bytes(serialization.Encoding.DER)
    handshake(client_context(ca_file=save(der)), server_context(certificates))
    bundle = b"Comment\n" + certificate_pem() + key_pem() + authority.public_bytes(PEM)
    context = client_context(ca_file=save(bundle))
    assert context.cert_store_stats()["x509"] == 2
    handshake(context, server_context(certificates))
    damaged = save(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match="holds a damaged certificate"):
        client_context(ca_file=damaged)


def test_the_systems_authorities_are_the_default_and_ca_file_replaces_them(
    certificates: Certificates,
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_context(), server_context(certificates))
    assert client_context(ca_file=str(certificates.ca_file)).cert_store_stats()["x509"] == 1


def test_the_servers_name_is_checked(certificates: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        handshake(client_context(ca_file=certificates.ca_file), server_context(certificates), "example.com")
    error = name_tls_error(caught.value)
    assert type(error) is CertificateError
    assert "example.com" in str(error)


def test_a_ca_file_that_is_none_is_named(tmp_path: Path, save: Callable[[bytes], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.pem cannot be read \(No such file"):
        client_context(ca_file=tmp_path / "gone.pem")
    with pytest.raises(ConfigurationError, match="ca_file is empty"):
        client_context(ca_file="")
    for content in (b"", b"text", key_pem()):
        with pytest.raises(ConfigurationError, match=r"client\.file holds no certificate"):
            client_context(ca_file=save(content))


# --- client certificates


@pytest.mark.parametrize("form", ["pem", "p12", "p12 passphrase"])
def test_a_server_sees_the_certificate(
    certificates: Certificates, save: Callable[[bytes], Path], form: str
) -> None:
    made = certificates.client_certificate("com.example.app")
    password = PASSPHRASE if form.endswith("passphrase") else None
    content = made.pem() if form == "pem" else made.pkcs12(password.encode() if password else None)
    ours = ApnsCertificate.from_file(save(content), password=password)
    assert ours.expires == made.certificate.not_valid_after_utc
    assert ours.subject == "Apple Push Services: com.example.app"
    context = client_context(ca_file=certificates.ca_file, certificate=ours)
    _, server = handshake(context, server_context(certificates))
    assert server.getpeercert(True) == made.certificate.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("traditional", [False, True])
def test_key_and_certificate_in_one_pem_or_in_two_encrypted_or_not(
    tmp_path: Path, save: Callable[[bytes], Path], traditional: bool
) -> None:
    key_file = tmp_path / "key.pem"
    key_file.write_bytes(b"Bag Attributes\n" + key_pem(passphrase=PASSPHRASE, traditional=traditional))
    separate = ApnsCertificate.from_pem(save(certificate_pem()), key_file=key_file, password=PASSPHRASE)
    both = ApnsCertificate.from_pem(
        save(key_pem(passphrase=PASSPHRASE, traditional=traditional) + certificate_pem()),
        password=PASSPHRASE.encode(),
    )
    plain = ApnsCertificate.from_file(save(key_pem(traditional=traditional) + certificate_pem()))
    for each in (separate, both, plain):
        client_context(certificate=each)


def test_rsa_keys_will_do(save: Callable[[bytes], Path]) -> None:
    key = rsa.generate_private_key(65537, 2048)
    client_context(certificate=ApnsCertificate.from_file(save(key_pem(key) + certificate_pem(key=key))))


def test_the_own_certificate_goes_first_whatever_the_order_in_the_file(
    certificates: Certificates, save: Callable[[bytes], Path]
) -> None:
    made = certificates.client_certificate("com.example.app")
    ours = ApnsCertificate.from_file(save(certificates.ca_file.read_bytes() + made.pem()))
    context = client_context(ca_file=certificates.ca_file, certificate=ours)
    _, server = handshake(context, server_context(certificates))
    assert server.getpeercert(True) == made.certificate.public_bytes(serialization.Encoding.DER)


def test_a_certificate_without_a_common_name_is_shown_by_its_subject(save: Callable[[bytes], Path]) -> None:
    name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    made = builder.not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY).sign(KEY, hashes.SHA256())
    assert ApnsCertificate.from_file(save(made.public_bytes(PEM) + key_pem())).subject == "O=Example"


def test_of_two_certificates_for_one_key_the_later_is_meant(save: Callable[[bytes], Path]) -> None:
    content = certificate_pem(end=TODAY - DAY / 2) + certificate_pem(end=TODAY + 9 * DAY) + key_pem()
    assert ApnsCertificate.from_file(save(content)).expires > TODAY + 8 * DAY


@pytest.mark.parametrize("empty", [None, "", b""])
def test_a_pkcs12_without_or_with_an_empty_passphrase(
    save: Callable[[bytes], Path], empty: str | bytes | None
) -> None:
    assert ApnsCertificate.from_pkcs12(save(p12()), password=empty).subject


@pytest.mark.parametrize("password", ["battery\0staple", b"\xff\xfeb\0a\0t\0t\0e\0r\0y\0", b"\0"])
def test_a_passphrase_with_a_nul_character_is_refused_and_not_printed(
    save: Callable[[bytes], Path], capfd: pytest.CaptureFixture[str], password: str | bytes
) -> None:
    with pytest.raises(ConfigurationError, match="the passphrase has a NUL character in it"):
        ApnsCertificate.from_pkcs12(save(p12(passphrase=PASSPHRASE)), password=password)
    assert capfd.readouterr() == ("", "")


def test_a_passphrase_that_utf_8_does_not_have_is_refused_and_not_repeated(
    save: Callable[[bytes], Path],
) -> None:
    with pytest.raises(ConfigurationError, match="password contains a character") as caught:
        ApnsCertificate.from_file(save(p12(passphrase=PASSPHRASE)), password="battery\ud800")
    assert caught.value.__context__ is None


@pytest.mark.parametrize("read", [ApnsCertificate.from_pem, ApnsCertificate.from_pkcs12])
def test_a_passphrase_of_a_wrong_type_is_named(
    save: Callable[[bytes], Path], read: Callable[..., Any]
) -> None:
    content = p12() if read == ApnsCertificate.from_pkcs12 else key_pem() + certificate_pem()
    with pytest.raises(ConfigurationError, match="password must be a string or bytes, not int"):
        read(save(content), password=1)


OLD = {"begin": TODAY - 9 * DAY, "end": datetime.datetime(TODAY.year - 1, 12, 31, tzinfo=datetime.UTC)}
OLD["begin"] = OLD["end"] - DAY

BAD_FILES: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, "is neither PEM nor PKCS#12"),
    "der certificate": (
        certificate().public_bytes(serialization.Encoding.DER),
        None,
        "is neither PEM nor PKCS#12",
    ),
    "pem without key": (
        certificate_pem(),
        None,
        "holds a certificate and no private key; pass the file with the key as key_file",
    ),
    "pem without certificate": (key_pem(), None, "holds no certificate"),
    "pem of another key": (
        certificate_pem() + key_pem(OTHER_KEY),
        None,
        "does not belong to the certificate",
    ),
    "pem with damaged key": (
        certificate_pem() + key_pem()[:60] + b"\n-----END PRIVATE KEY-----",
        None,
        "key is damaged",
    ),
    "pem with damaged certificate": (
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + key_pem(),
        None,
        "a certificate is damaged",
    ),
    "pem without passphrase": (
        certificate_pem() + key_pem(passphrase=PASSPHRASE),
        None,
        "needs a passphrase",
    ),
    "pem with empty passphrase": (
        certificate_pem() + key_pem(passphrase=PASSPHRASE),
        "",
        "needs a passphrase",
    ),
    "old pem without passphrase": (
        certificate_pem() + key_pem(passphrase=PASSPHRASE, traditional=True),
        None,
        "needs a passphrase",
    ),
    "pem with wrong passphrase": (
        certificate_pem() + key_pem(passphrase=PASSPHRASE),
        "battery staple",
        "does not open with the given passphrase",
    ),
    "pem expired": (certificate_pem(**OLD) + key_pem(), None, f"expired on {TODAY.year - 1}-12-31"),
    "pem of tomorrow": (certificate_pem(begin=TODAY + DAY / 2) + key_pem(), None, "is not valid before "),
    "p12 without passphrase": (p12(passphrase=PASSPHRASE), None, "needs a passphrase, or is damaged"),
    "p12 with wrong passphrase": (
        p12(passphrase=PASSPHRASE),
        "battery staple",
        "does not open with the given passphrase, or is damaged",
    ),
    "p12 damaged": (p12()[:100], None, "or is damaged"),
    "p12 without key": (p12(key=None), None, "holds no private key"),
    "p12 without certificate": (p12(bare=True), None, "holds no certificate"),
    "p12 expired": (p12(own=certificate(**OLD)), None, f"expired on {TODAY.year - 1}-12-31"),
}


@pytest.mark.parametrize("case", list(BAD_FILES))
def test_a_certificate_that_cannot_work_is_named(save: Callable[[bytes], Path], case: str) -> None:
    content, password, message = BAD_FILES[case]
    file = save(content)
    with pytest.raises(ConfigurationError) as caught:
        ApnsCertificate.from_file(file, password=password)
    text = str(caught.value)
    assert text.startswith(str(file))
    assert message in text
    assert PASSPHRASE not in text
    assert "battery" not in text
    assert caught.value.__cause__ is None


def test_the_wrong_kind_of_file_is_named(tmp_path: Path, save: Callable[[bytes], Path]) -> None:
    with pytest.raises(ConfigurationError, match="is not PEM"):
        ApnsCertificate.from_pem(save(p12()))
    with pytest.raises(ConfigurationError, match="is not PKCS#12"):
        ApnsCertificate.from_pkcs12(save(certificate_pem() + key_pem()))
    for read in (ApnsCertificate.from_file, ApnsCertificate.from_pem, ApnsCertificate.from_pkcs12):
        with pytest.raises(ConfigurationError, match=r"gone cannot be read \(No such file"):
            read(tmp_path / "gone")
        with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory"):
            read(tmp_path)
    with pytest.raises(ConfigurationError, match=r"gone cannot be read"):
        ApnsCertificate.from_pem(save(certificate_pem()), key_file=tmp_path / "gone")


def test_a_pkcs12_that_openssl_cannot_decrypt_is_named(
    save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(data: bytes, password: bytes | None) -> None:
        raise UnsupportedAlgorithm("RC2")

    monkeypatch.setattr(pkcs12, "load_key_and_certificates", refuse)
    with pytest.raises(ConfigurationError, match="export it again"):
        ApnsCertificate.from_file(save(p12()), password=PASSPHRASE)


class Context:
    """Stands for an `ssl.SSLContext` and looks at the file that it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.passphrases: list[bytes] = []
        self.chain: list[x509.Certificate] = []

    def load_cert_chain(self, path: str, password: bytes) -> None:
        content = Path(path).read_bytes()
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert content.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert content.count(b"PRIVATE KEY-----") == 2
        self.passphrases.append(password)
        self.chain = x509.load_pem_x509_certificates(content)
        if self.error:
            raise self.error


def test_issuers_follow_the_own_certificate_and_older_ones_for_the_same_key_are_left_out(
    certificates: Certificates, save: Callable[[bytes], Path]
) -> None:
    issuer = x509.load_pem_x509_certificate(certificates.ca_file.read_bytes())
    older, newer = certificate(end=TODAY + DAY), certificate(end=TODAY + 9 * DAY)
    context: Any = Context()
    content = b"".join(each.public_bytes(PEM) for each in (issuer, older, newer))
    ApnsCertificate.from_file(save(content + key_pem())).load_into(context)
    assert context.chain == [newer, issuer]
    bundle = pkcs12.serialize_key_and_certificates(
        b"apns", KEY, newer, [issuer], serialization.NoEncryption()
    )
    ApnsCertificate.from_file(save(bundle)).load_into(context)
    assert context.chain == [newer, issuer]


def test_the_key_is_on_disk_only_encrypted_private_and_for_a_moment(
    tmp_path: Path, save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ApnsCertificate.from_file(save(p12()))
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    context: Any = Context()
    ours.load_into(context)
    ours.load_into(context)
    assert len(set(context.passphrases)) == 2
    refusing: Any = Context(ssl.SSLError(1, "EE_KEY_TOO_SMALL"))
    with pytest.raises(ConfigurationError, match="cannot be used in TLS"):
        ours.load_into(refusing)
    assert list(place.iterdir()) == []


def test_a_temporary_directory_that_cannot_be_written_is_named(
    tmp_path: Path, save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ApnsCertificate.from_file(save(p12()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match=r"temporary file.*\(No such file or directory\); TMPDIR"):
        client_context(certificate=ours)


def test_a_full_disk_is_named_and_leaves_no_file(
    tmp_path: Path, save: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ApnsCertificate.from_file(save(p12()))
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    full: Any = Context(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ConfigurationError, match=r"\(No space left on device\)"):
        ours.load_into(full)
    odd: Any = Context(OSError("odd"))
    with pytest.raises(ConfigurationError, match=r"\(odd\)"):
        ours.load_into(odd)
    assert list(place.iterdir()) == []


def test_repr_shows_subject_and_date_alone(save: Callable[[bytes], Path]) -> None:
    ours = ApnsCertificate.from_file(save(p12(passphrase=PASSPHRASE)), password=PASSPHRASE)
    day = f"{ours.expires:%Y-%m-%d}"
    assert repr(ours) == f"<ApnsCertificate 'Apple Push Services: com.example.app' until {day}>"


# --- what the environment may say and lack


def test_a_key_log_that_cannot_be_written_is_named(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the authorities, which are there."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "gone" / "keys"))
    for ca_file in (None, certificates.ca_file):
        with pytest.raises(
            ConfigurationError, match=r"SSLKEYLOGFILE is .*keys, which cannot be written \(No such"
        ):
            client_context(ca_file=ca_file)
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    client_context(ca_file=certificates.ca_file)
    with pytest.raises(ConfigurationError, match="missing cannot be read"):
        client_context(ca_file=tmp_path / "missing")


def test_a_system_without_authorities_is_named(
    certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image without the package ca-certificates: no server could ever be verified."""

    def unlisted(path: str) -> list[str]:
        raise PermissionError(path)

    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    (tmp_path / "README").touch()
    with pytest.raises(
        ConfigurationError, match=r"no CA certificates.*ca-certificates.*which is .*none.pem now"
    ):
        client_context()
    client_context(ca_file=certificates.ca_file)
    with monkeypatch.context() as patch:
        patch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
        with pytest.raises(ConfigurationError, match="no CA certificates"):
            client_context()
    with monkeypatch.context() as patch:
        patch.setattr("os.listdir", unlisted)
        client_context()  # OpenSSL may find in the directory what it looks for
    hashed = tmp_path / "0a775a30.0"
    hashed.touch()  # OpenSSL reads these when it looks for one
    client_context()
    hashed.unlink()
    for trusted in (
        certificates.ca_file,
        certificates.server_file,
    ):  # a server's own certificate can be trusted, too
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        client_context()


def test_a_key_log_on_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL says no more of a write to it that failed than this."""
    failure = ssl_error("SYSTEM_LIB")
    assert str(name_tls_error(failure)) == "TLS with the server failed: system lib"
    monkeypatch.setenv("SSLKEYLOGFILE", "/dev/full")
    assert "SSLKEYLOGFILE cannot be written; is the disk full?" in str(name_tls_error(failure))


def server_named(san: bool) -> tuple[ssl.SSLContext, bytes]:
    """A server whose certificate has "localhost" as its common name, and as its alternative name or not at all; and the
    authority, which is itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(TODAY - DAY).not_valid_after(TODAY + DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    # What Python 3.13 asks of an authority besides.
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False
    )
    builder = builder.add_extension(
        x509.KeyUsage(True, False, False, False, False, True, False, False, False), critical=True
    )
    if san:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem + key_pem())
        file.flush()
        context.load_cert_chain(file.name)
    context.set_alpn_protocols(["h2"])
    return context, pem


@pytest.mark.parametrize("san", [True, False])
def test_a_common_name_alone_is_no_name(san: bool, save: Callable[[bytes], Path]) -> None:
    """RFC 9110, section 4.3.4: a client must not take the subject's common name for the server's."""
    server, authority = server_named(san)
    client = client_context(ca_file=save(authority))
    if san:
        handshake(client, server)
    else:
        error = caught_in_handshake(client, server)
        assert type(error) is CertificateError
        assert error.permanent


# --- names of errors


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("expired", "certificate has expired; is the clock right?"),
        ("early", "certificate is not yet valid; is the clock right?"),
        ("wrong-host", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("wrong-ca", "unable to get local issuer certificate"),
    ],
)
def test_a_servers_certificate_that_is_not_accepted_says_why(
    certificates: Certificates, how: str, sentence: str
) -> None:
    error = caught_in_handshake(
        client_context(ca_file=certificates.ca_file), certificates.broken_context(how)
    )
    assert (type(error), error.permanent) == (CertificateError, True)
    assert str(error) == f"the server's certificate was not accepted: {sentence}"


def caught_in_handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> ConnectError:
    with pytest.raises(ssl.SSLError) as caught:
        handshake(client, server)
    return name_tls_error(caught.value)


def test_an_unknown_authority_is_a_certificate_error(certificates: Certificates) -> None:
    error = caught_in_handshake(client_context(), server_context(certificates))
    assert type(error) is CertificateError
    assert str(error).startswith("the server's certificate was not accepted: ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_missing_client_certificate_is_a_certificate_error(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server = server_context(certificates)
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = server.maximum_version = version
    error = caught_in_handshake(client_context(ca_file=certificates.ca_file), server)
    if version is ssl.TLSVersion.TLSv1_2:
        assert isinstance(error, ConnectError)  # its alert is a bare "handshake failure"
    else:
        assert type(error) is CertificateError
        assert "did not accept the client certificate" in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_of_a_stranger_is_a_certificate_error(
    certificates: Certificates, save: Callable[[bytes], Path], version: ssl.TLSVersion
) -> None:
    server = server_context(certificates)
    server.maximum_version = version
    ours = ApnsCertificate.from_file(save(p12()))
    error = caught_in_handshake(client_context(ca_file=certificates.ca_file, certificate=ours), server)
    assert type(error) is CertificateError
    assert "did not accept the client certificate" in str(error)


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail ESMTP\r\n"]
)
def test_a_server_without_tls_and_one_without_an_answer_are_told_apart(greeting: bytes) -> None:
    incoming = ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLError):
        client.do_handshake()
    incoming.write(greeting)
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()
    error = name_tls_error(caught.value)
    assert "does not speak TLS" in str(error)
    assert error.permanent

    incoming = ssl.MemoryBIO()
    incoming.write_eof()
    client = client_context().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname="localhost")
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()
    assert "closed the connection during the TLS handshake" in str(name_tls_error(caught.value))


CERTIFICATE_ALERTS = (41, 42, 43, 44, 45, 46, 48, 49, 116)


@pytest.mark.parametrize("alert", [10, 40, 70, 80, 112, 115, 120, 121, 255, *CERTIFICATE_ALERTS])
@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_an_alert_is_what_its_number_says(certificates: Certificates, loop: str, alert: int) -> None:
    """Sent raw. Python knows no reason for some of them, 115 and 120 among them."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(bytes((21, 3, 3, 0, 2, 2, alert)))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(OSError) as caught:
            await asyncio.open_connection(
                host, port, ssl=client_context(ca_file=certificates.ca_file), server_hostname="localhost"
            )
    error = name_tls_error(caught.value)
    kind = AlpnError if alert == 120 else CertificateError if alert in CERTIFICATE_ALERTS else ConnectError
    assert type(error) is kind
    assert error.permanent is (kind is not ConnectError or alert == 70)  # 70: protocol_version
    assert "_ssl.c" not in str(error)


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] text (_ssl.c:1)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (ssl_error("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"), AlpnError, "does not offer HTTP/2"),
        (ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), ConnectError, "does not speak TLS 1.2 or later"),
        (ssl_error("SSLV3_ALERT_CERTIFICATE_REVOKED"), CertificateError, "certificate revoked"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), CertificateError, "did not accept the client certificate"),
        (ssl_error("BAD_RECORD_TYPE"), ConnectError, "TLS with the server failed: bad record type"),
        (ssl.SSLCertVerificationError(1, "bare"), CertificateError, "not accepted: bare"),
        (ssl.SSLError(1, "without a reason"), ConnectError, "without a reason"),
        (socket.gaierror(-2, "Name or service not known"), ConnectError, "could not be resolved: Name or"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), ConnectError, "nothing listens"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ConnectError, "closed the connection before"),
        (BrokenPipeError(errno.EPIPE, "pipe"), ConnectError, "closed the connection before"),
        (asyncio.IncompleteReadError(b"", 9), ConnectError, "closed the connection before"),
        (
            ConnectionAbortedError("SSL handshake is taking longer"),
            ConnectError,
            "aborted: SSL handshake is",
        ),
        (
            OSError(errno.ENETUNREACH, "Network is unreachable"),
            ConnectError,
            "reached: Network is unreachable",
        ),
        (OSError("Multiple exceptions: [Errno 111], [Errno 101]"), ConnectError, "Multiple exceptions"),
        (TimeoutError(), ConnectError, "not made in time"),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), ConnectError, "not made in time"),
        (RuntimeError("odd"), ConnectError, "RuntimeError: odd"),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, BaseException) else None,
)
def test_every_failure_to_connect_has_a_name(
    raised: BaseException, kind: type[ConnectError], message: str
) -> None:
    error = name_tls_error(raised)
    assert type(error) is kind
    assert message in str(error)
    assert error.unprocessed
    assert error.permanent is (kind is not ConnectError or "does not speak TLS" in message)


def test_a_named_error_keeps_its_name() -> None:
    error = AlpnError("x")
    assert name_tls_error(error) is error


async def test_a_port_where_nothing_listens(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError) as caught:
        await asyncio.open_connection("127.0.0.1", port, ssl=client_context(ca_file=certificates.ca_file))
    assert "refused the connection" in str(name_tls_error(caught.value))


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_a_server_that_hangs_up_in_the_handshake(certificates: Certificates, loop: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(OSError) as caught:
            await asyncio.open_connection(host, port, ssl=client_context(ca_file=certificates.ca_file))
    assert "closed the connection" in str(name_tls_error(caught.value))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"key": None}, "key must be a private key of the package cryptography, not None"),
        ({"key": "PRIVATE"}, "not str"),
        (
            {"certificates": None},
            "certificates must be a list of certificates of the package cryptography, not None",
        ),
        ({"certificates": [b"x"]}, "each of certificates must be a certificate of that package, not bytes"),
        ({"certificates": ()}, "x: the private key does not belong to the certificate"),
        ({"name": 1}, "name must be a text, not int"),
    ],
)
def test_a_certificate_of_wrong_types_is_named(given: dict[str, Any], words: str) -> None:
    values: dict[str, Any] = {"key": ec.generate_private_key(ec.SECP256R1()), "certificates": [], "name": "x"}
    with pytest.raises(ConfigurationError, match=words):
        ApnsCertificate(**{**values, **given})
