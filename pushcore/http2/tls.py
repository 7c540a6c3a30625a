"""TLS for HTTP/2: the client's context, client certificates, and the errors of connecting."""

from __future__ import annotations

import datetime
import os
import re
import secrets
import socket
import ssl
import tempfile
import weakref
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ..arguments import check_type, kind
from ..errors import AlpnError, CertificateError, ConfigurationError, ConnectError
from ..key_material import PEM_MARK, find_private_key, is_pkcs12, pem_blocks, read_material
from ..redaction import is_der

# In TLS 1.2, RFC 9113, section 9.2.2 allows only ephemeral keys with authenticated encryption.
_TLS12_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_OPENSSL: Final = re.compile(r"\[[^]]*\] (.*?)(?: \(\w+\.c:\d+\))?")  # Python's text of an OpenSSL error
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")  # the name of a certificate in OpenSSL's directory
_EXPECTED: Final = "expected a certificate with its key, PEM or PKCS#12"
_AUTHORITIES: Final = "expected CA certificates in PEM"
_CERTIFICATES: Final = ("CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE")  # OpenSSL's labels

_TIMES: Final = (9, 10)
"""OpenSSL's verify codes of a certificate that is not valid yet, and of one that has expired."""

PathOrContent = str | bytes | os.PathLike[str]
"""The path of a file, or the content: PEM, PKCS#12 as bytes, or base64 of either."""


class Certified(Protocol):
    """Anything that can put a client certificate into a context; `ApnsCertificate` does."""

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make `context` present the certificate to servers that request one."""


class ApnsCertificate:
    """A certificate with its key, for certificate authentication.

    `subject`: the common name, as Apple writes it. `expires`: the end of its validity, in UTC.

    Args:
        key: the private key.
        certificates: the certificate of the key, and others such as its issuers.
        name: the name of the certificate in errors.
    """

    __slots__ = ("_certificates", "_key", "expires", "subject")

    def __init__(self, key: Any, certificates: list[x509.Certificate], name: str) -> None:
        """Check that the key and its certificate belong together.

        Raises:
            ConfigurationError: no certificate belongs to the key, or it is not valid now.
        """
        if not hasattr(key, "public_key"):
            raise ConfigurationError(
                f"key must be a private key of the package cryptography, not {kind(key)}"
            )
        expected = "a list of certificates of the package cryptography"
        check_type("certificates", certificates, (list, tuple), expected)
        for certificate in certificates:
            check_type("each of certificates", certificate, x509.Certificate, "a certificate of that package")
        check_type("name", name, str, "a text")
        public = _public_bytes(key.public_key())
        own = [
            certificate for certificate in certificates if _public_bytes(certificate.public_key()) == public
        ]
        if not own:
            raise ConfigurationError(f"{name}: the private key does not belong to the certificate")
        # After a renewal with the same key a file may have both; the one that expires later is used.
        leaf = max(own, key=lambda certificate: certificate.not_valid_after_utc)
        now = datetime.datetime.now(datetime.UTC)
        if leaf.not_valid_after_utc < now:
            raise ConfigurationError(
                f"{name}: the certificate expired on {leaf.not_valid_after_utc:%Y-%m-%d}"
            )
        if leaf.not_valid_before_utc > now:
            raise ConfigurationError(
                f"{name}: the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d}; is the clock right?"
            )
        self._key = key
        # TLS requires the certificate of the key first, then its issuers.
        self._certificates = [leaf, *(issuer for issuer in certificates if issuer not in own)]
        self.subject = _common_name(leaf)
        self.expires = leaf.not_valid_after_utc

    @classmethod
    def from_file(
        cls, path: PathOrContent, *, password: str | bytes | None = None, name: str | None = None
    ) -> ApnsCertificate:
        """Certificate and key from a PEM or a PKCS#12 file; the content shows which.

        Args:
            path: of the file; or its content, for example from an environment variable.
            password: the passphrase of the private key, None for none.
            name: the name of the certificate in errors; None: the path, or "the certificate".

        Returns:
            The certificate, checked against its key.

        Raises:
            ConfigurationError: the file is neither PEM nor PKCS#12, or a reason of `from_pem` or `from_pkcs12`.
        """
        name, data = _read(path, "the certificate", name)
        if PEM_MARK in data:
            return cls._from_pem(name, data, name, data, password)
        if is_pkcs12(data):
            return cls._from_pkcs12(name, data, password)
        raise ConfigurationError(f"{name} is neither PEM nor PKCS#12; expected a certificate with its key")

    @classmethod
    def from_pem(
        cls,
        path: PathOrContent,
        *,
        key_file: PathOrContent | None = None,
        password: str | bytes | None = None,
        name: str | None = None,
        key_name: str | None = None,
    ) -> ApnsCertificate:
        """Certificates from a PEM file, and the key from the same file or from `key_file`.

        Args:
            path: of the file with the certificates; or its content.
            key_file: path of the file with the private key, or its content; None: the key is in the file with the
                certificates.
            password: the passphrase of the private key, None for none.
            name: the name of the certificate in errors; None: the path, or "the certificate".
            key_name: the name of `key_file` in errors; None: its path, or "key_file".

        Returns:
            The certificate, checked against its key.

        Raises:
            ConfigurationError: a file cannot be read or is not PEM, there is no certificate or no key, they do not
                belong together, the passphrase is missing or wrong, or the certificate is not valid now.
        """
        name, data = _read(path, "the certificate", name)
        key_name, key_data = (name, data) if key_file is None else _read(key_file, "key_file", key_name)
        return cls._from_pem(name, data, key_name, key_data, password)

    @classmethod
    def from_pkcs12(
        cls, path: PathOrContent, *, password: str | bytes | None = None, name: str | None = None
    ) -> ApnsCertificate:
        """Certificates and key from a PKCS#12 file (`.p12`, `.pfx`).

        Args:
            path: of the file; or its content, as bytes or in base64.
            password: the passphrase of the file, None for none.
            name: the name of the certificate in errors; None: the path, or "the certificate".

        Returns:
            The certificate, checked against its key.

        Raises:
            ConfigurationError: the file cannot be read or is not PKCS#12, there is no certificate or no key, the
                passphrase is missing or wrong, or the certificate is not valid now.
        """
        name, data = _read(path, "the certificate", name)
        return cls._from_pkcs12(name, data, password)

    @classmethod
    def _from_pem(
        cls, name: str, data: bytes, key_name: str, key_data: bytes, password: str | bytes | None
    ) -> ApnsCertificate:
        for file_name, content in ((name, data), (key_name, key_data)):
            if PEM_MARK not in content:
                raise ConfigurationError(
                    f"{file_name} is not PEM; expected a certificate and its private key"
                )
        blocks = [block for label, block in pem_blocks(data) if label == "CERTIFICATE"]
        if not blocks:
            raise ConfigurationError(f"{name} holds no certificate")
        key = _load_pem_key(key_name, key_data, _to_bytes(password))
        try:
            certificates = [x509.load_pem_x509_certificate(block) for block in blocks]
        except ValueError:
            raise ConfigurationError(f"{name}: a certificate is damaged") from None
        return cls(key, certificates, name)

    @classmethod
    def _from_pkcs12(cls, name: str, data: bytes, password: str | bytes | None) -> ApnsCertificate:
        if not is_pkcs12(data):
            raise ConfigurationError(
                f"{name} is not PKCS#12; expected a .p12 file with a certificate and its key"
            )
        given = _to_bytes(password)
        # OpenSSL's binding would panic on it, and print the passphrase.
        if given is not None and b"\0" in given:
            raise ConfigurationError(f"{name}: the passphrase has a NUL character in it; is it UTF-16?")
        # Without a passphrase a file may be protected by none or by the empty one (RFC 7292, appendix B).
        for passphrase in (None, b"") if given is None else (given,):
            try:
                key, leaf, others = pkcs12.load_key_and_certificates(data, passphrase)
                break
            except UnsupportedAlgorithm:
                raise ConfigurationError(
                    f"{name} is encrypted in a way that this OpenSSL does not support; export it again, "
                    "for example with AES-256"
                ) from None
            except ValueError:
                continue  # OpenSSL does not say whether the passphrase or the file is wrong
        else:
            problem = "needs a passphrase" if password is None else "does not open with the given passphrase"
            raise ConfigurationError(f"{name} {problem}, or is damaged")
        if key is None:
            raise ConfigurationError(f"{name} holds no private key; export the certificate together with it")
        certificates = [*([leaf] if leaf is not None else []), *others]
        if not certificates:
            raise ConfigurationError(f"{name} holds no certificate")
        return cls(key, certificates, name)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make `context` present this certificate.

        Python's `ssl` reads keys from files only. So the key is written to a temporary file that only its owner can read,
        encrypted with a random passphrase, and the file is deleted at once.

        Raises:
            ConfigurationError: OpenSSL rejects the certificate, for example because it is too weak.
        """
        passphrase = secrets.token_hex(32).encode()
        encryption = serialization.BestAvailableEncryption(passphrase)
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        pem += b"".join(
            certificate.public_bytes(serialization.Encoding.PEM) for certificate in self._certificates
        )
        try:
            descriptor, path = tempfile.mkstemp(prefix="pushcore-")  # mode 0600
            try:
                with open(descriptor, "wb") as file:
                    file.write(pem)
                context.load_cert_chain(path, password=passphrase)
            finally:
                os.unlink(path)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"the certificate {self.subject!r} cannot be used in TLS ({_words(error)})"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"the certificate {self.subject!r} needs an encrypted temporary file, which cannot be "
                f"written ({error.strerror or error}); TMPDIR names the directory"
            ) from None

    def __repr__(self) -> str:
        return f"<ApnsCertificate {self.subject!r} until {self.expires:%Y-%m-%d}>"


_shared: Final[weakref.WeakValueDictionary[tuple[object, ...], ssl.SSLContext]] = (
    weakref.WeakValueDictionary()
)
"""The contexts in use that present no certificate. Many clients have the same, and each takes a megabyte and 35 ms to make."""


def client_context(
    *, ca_file: PathOrContent | None = None, certificate: Certified | None = None, alpn: str = "h2"
) -> ssl.SSLContext:
    """A context for HTTP/2 as RFC 9113, section 9.2 requires: ALPN "h2", TLS 1.2 or later, no renegotiation.

    The certificate and the name of the server are verified with the system's certificate authorities, or with those in
    `ca_file` alone (a path, or PEM). `certificate` is presented if the server requests one. `alpn` is another protocol to ask for.
    Do not change the context: without a `certificate`, clients with the same authorities share it.

    Raises:
        ConfigurationError: `ca_file` cannot be read or contains no certificate, the system has no certificate authorities,
            OpenSSL rejects `certificate`, its temporary file cannot be written, or SSLKEYLOGFILE cannot be written.
    """
    name, authorities = ("", None) if ca_file is None else _read_authorities(ca_file)
    if certificate is not None:
        context = _new_context(name, authorities, alpn)
        certificate.load_into(context)
        return context
    same = (authorities or _system_authorities(), alpn, os.environ.get("SSLKEYLOGFILE"))
    context_in_use = _shared.get(same)
    if context_in_use is None:
        _shared[same] = context_in_use = _new_context(name, authorities, alpn)
    return context_in_use


def _system_authorities() -> tuple[object, ...]:
    """Where the system's authorities are, and when they were changed."""
    paths = ssl.get_default_verify_paths()
    return tuple(
        (path, os.stat(path).st_mtime_ns) for path in (paths.cafile, paths.capath) if path is not None
    )


def _new_context(name: str, authorities: str | bytes | None, alpn: str) -> ssl.SSLContext:
    """A context that trusts `authorities`, PEM from the file `name`, or the system's if they are None. Raises as `client_context`."""
    try:
        context = ssl.create_default_context(cadata=authorities)
    except ssl.SSLError:
        raise ConfigurationError(f"{name} holds a damaged certificate; {_AUTHORITIES}") from None
    except OSError as error:  # Python opens only this one file
        raise ConfigurationError(
            f"SSLKEYLOGFILE is {error.filename}, which cannot be written ({error.strerror})"
        ) from None
    if authorities is None and not _has_authorities(context):
        raise ConfigurationError(
            "this system has no CA certificates: install them (Debian's package ca-certificates), name them in "
            f"SSL_CERT_FILE{_now_named()}, or give ca_file"
        )
    context.hostname_checks_common_name = False  # RFC 9110, section 4.3.4: the common name is not used
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([alpn])
    return context


def name_tls_error(exc: BaseException) -> ConnectError:
    """The error of pushcore for an error that was raised while a connection was made.

    A rejected certificate of the server or the client is a `CertificateError`, a missing common protocol an `AlpnError`,
    everything else a `ConnectError`. Use it as `raise name_tls_error(exc) from exc`.
    """
    if isinstance(exc, ConnectError):
        return exc
    if isinstance(exc, ssl.SSLCertVerificationError):
        cause = (getattr(exc, "verify_message", None) or _words(exc)).removesuffix(".")
        clock = "; is the clock right?" if getattr(exc, "verify_code", 0) in _TIMES else ""
        return CertificateError(f"the server's certificate was not accepted: {cause}{clock}")
    if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectError("the server closed the connection during the TLS handshake")
    if isinstance(exc, ssl.SSLError):
        return _name_ssl_error(exc)
    if isinstance(exc, socket.gaierror):
        return ConnectError(f"the server's name could not be resolved: {exc.strerror or exc}")
    if isinstance(exc, ConnectionRefusedError):
        return ConnectError("the server refused the connection: nothing listens on that port")
    if isinstance(exc, TimeoutError):
        return ConnectError("the connection was not made in time: the server does not respond")
    if isinstance(exc, ConnectionResetError | BrokenPipeError | EOFError):
        return ConnectError("the server closed the connection before it was ready")
    if isinstance(exc, ConnectionAbortedError):  # how asyncio ends a handshake that takes too long
        return ConnectError(f"the connection was aborted: {exc.strerror or exc}")
    if isinstance(exc, OSError):
        # Several failed addresses are one OSError without errno; its text lists them.
        return ConnectError(f"the server could not be reached: {exc.strerror or exc}")
    return ConnectError(f"the connection could not be made: {type(exc).__name__}: {exc}")


def _name_ssl_error(exc: ssl.SSLError) -> ConnectError:
    words = _words(exc)
    if "no application protocol" in words:  # alert 120 (RFC 7301, section 3.2)
        return AlpnError('the server does not offer HTTP/2 (ALPN "h2")')
    if "alert" in words and any(word in words for word in ("certificate", "unknown ca", "access denied")):
        return CertificateError(f"the server did not accept the client certificate: {words}")
    if words in ("wrong version number", "http request", "record layer failure"):
        return _wrong_server(f"the server does not speak TLS on that port: {words}")
    if words in ("unsupported protocol", "tlsv1 alert protocol version", "version too low"):
        return _wrong_server(f"the server does not speak TLS 1.2 or later: {words}")
    if "system lib" in words and os.environ.get("SSLKEYLOGFILE"):
        return ConnectError("TLS with the server failed: SSLKEYLOGFILE cannot be written; is the disk full?")
    return ConnectError(f"TLS with the server failed: {words}")


def _wrong_server(text: str) -> ConnectError:
    """The error for a server that is none of the provider's: another address is needed, and a retry cannot help."""
    error = ConnectError(text)
    error.permanent = True
    return error


def _words(exc: ssl.SSLError) -> str:
    """The text of an OpenSSL error.

    Python names some errors (`reason`), and OpenSSL has a sentence for all: alert 120 has no name up to Python 3.12.
    """
    name = getattr(exc, "reason", None)  # errors that Python itself raises have no `reason`
    if name:
        return str(name).replace("_", " ").lower()
    match = _OPENSSL.fullmatch(str(exc))
    return match[1].lower() if match else str(exc)


def _now_named() -> str:
    """What SSL_CERT_FILE names instead of certificates."""
    path = os.environ.get("SSL_CERT_FILE")
    return f", which is {path} now" if path else ""


def _has_authorities(context: ssl.SSLContext) -> bool:
    """Whether there are certificate authorities: loaded already, or in OpenSSL's directory."""
    if context.cert_store_stats()["x509"]:  # one that signs itself need not be a CA to be trusted
        return True
    directory = ssl.get_default_verify_paths().capath
    if directory is None:
        return False
    try:
        return any(_HASHED.fullmatch(name) for name in os.listdir(directory))
    except OSError:
        return True  # OpenSSL looks up single certificates and needs no list of the directory


def _read(source: PathOrContent, argument: str, name: str | None) -> tuple[str, bytes]:
    return read_material(source, argument=argument, expected=_EXPECTED, name=name)


def _read_authorities(ca_file: PathOrContent) -> tuple[str, str | bytes]:
    """The name in errors, and the certificates: PEM, or one in DER."""
    name, content = read_material(ca_file, argument="ca_file", expected=_AUTHORITIES)
    if is_der(content):
        return name, content
    blocks = [
        block.decode("ascii", "replace") for label, block in pem_blocks(content) if label in _CERTIFICATES
    ]
    if not blocks:
        raise ConfigurationError(f"{name} holds no certificate; {_AUTHORITIES}")
    return name, "".join(blocks)


def _to_bytes(password: str | bytes | None) -> bytes | None:
    check_type("password", password, (str, bytes, type(None)), "a string or bytes")
    try:
        return password.encode() if isinstance(password, str) else password
    except UnicodeEncodeError:  # half of a surrogate pair
        problem = "password contains a character that UTF-8 does not have"
    raise ConfigurationError(problem)  # outside the handler: its exception contains the password


def _load_pem_key(name: str, content: bytes, password: bytes | None) -> Any:
    def wrong(predicate: str) -> ConfigurationError:
        if predicate.startswith("holds"):
            predicate += "; pass the file with the key as key_file"
        return ConfigurationError(f"{name} {predicate}")

    # For an encrypted key without a passphrase, OpenSSL would prompt on the terminal. So it never gets one.
    block, encrypted = find_private_key(content, wrong)
    if encrypted and not password:
        raise ConfigurationError(f"{name}: the private key is encrypted and needs a passphrase")
    try:
        return serialization.load_pem_private_key(block, password if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        problem = "does not open with the given passphrase, or is damaged" if encrypted else "is damaged"
        raise ConfigurationError(f"{name}: the private key {problem}") from None


def _public_bytes(key: Any) -> bytes:
    der: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
