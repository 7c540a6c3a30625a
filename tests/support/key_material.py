"""Key material of every kind, in every form that users pass, and whether a text repeats any of it."""

from __future__ import annotations

import base64
import datetime
import json
import textwrap
import traceback
from collections.abc import Callable
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import strategies as st

SLICE: Final = 20
"""Characters of a secret that a text must not repeat."""

EMAIL: Final = "pusher@my-project.iam.gserviceaccount.com"
_PEM: Final = serialization.Encoding.PEM
_PKCS8: Final = serialization.PrivateFormat.PKCS8
_OPENSSL: Final = serialization.PrivateFormat.TraditionalOpenSSL
_PLAIN: Final = serialization.NoEncryption()
_LOCKED: Final = serialization.BestAvailableEncryption(b"correct horse")


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    """A key of 2048 bits."""
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate() -> x509.Certificate:
    """A certificate of the key on P-256, valid today, and an authority."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Apple Push Services: com.example.app")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, ec_key().public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    authority = x509.BasicConstraints(ca=True, path_length=None)
    return builder.add_extension(authority, critical=True).sign(ec_key(), hashes.SHA256())


def account(**changes: object) -> dict[str, object]:
    """The members of a service account's key file."""
    return {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "abc123",
        "private_key": rsa_key().private_bytes(_PEM, _PKCS8, _PLAIN).decode(),
        "client_email": EMAIL,
        "token_uri": "https://127.0.0.1:1/token",
        **changes,
    }


@cache
def materials() -> dict[str, str]:
    """The text of a file of each kind."""
    certificate_pem = certificate().public_bytes(_PEM).decode()
    archive = pkcs12.serialize_key_and_certificates(b"push", ec_key(), certificate(), None, _LOCKED)
    user = {
        "type": "authorized_user",
        "client_id": "1-a.apps.googleusercontent.com",
        "client_secret": "GOCSPX-" + base64.urlsafe_b64encode(bytes(range(40, 61))).decode(),
        "refresh_token": "1//0g" + base64.urlsafe_b64encode(bytes(range(100, 170))).decode(),
    }
    return {
        "p8": ec_key().private_bytes(_PEM, _PKCS8, _PLAIN).decode(),
        "sec1": ec_key().private_bytes(_PEM, _OPENSSL, _PLAIN).decode(),
        "rsa": rsa_key().private_bytes(_PEM, _PKCS8, _PLAIN).decode(),
        "pkcs1": rsa_key().private_bytes(_PEM, _OPENSSL, _PLAIN).decode(),
        "encrypted": ec_key().private_bytes(_PEM, _PKCS8, _LOCKED).decode(),
        "encrypted as OpenSSL does": rsa_key().private_bytes(_PEM, _OPENSSL, _LOCKED).decode(),
        "certificate with key": certificate_pem + ec_key().private_bytes(_PEM, _PKCS8, _PLAIN).decode(),
        "PKCS#12": base64.b64encode(archive).decode(),
        "service account": json.dumps(account(), indent=2),
        "service account in one line": json.dumps(account()),
        "authorized user": json.dumps(user),
    }


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


FORMS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": lambda text: text,
    "stripped": str.strip,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "line breaks as two characters": lambda text: text.replace("\n", "\\n"),
    "line breaks as three characters": lambda text: text.replace("\n", "\\\\n"),
    "CRLF as four characters": lambda text: text.replace("\n", "\\r\\n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "in quotes": lambda text: f'"{text}"',
    "in single quotes": lambda text: f"'{text.strip()}'",
    "blanks at the ends": lambda text: f"  {text}  \n",
    "blanks at the ends of lines": lambda text: text.replace("\n", "  \n"),
    "indented": lambda text: textwrap.indent(text, "    "),
    "base64": _encoded,
    "base64 in lines": lambda text: "\n".join(textwrap.wrap(_encoded(text), 76)),
    "base64 in lines of CRLF": lambda text: "\r\n".join(textwrap.wrap(_encoded(text), 64)),
    "base64 with line breaks as two characters": lambda text: "\\n".join(textwrap.wrap(_encoded(text), 76)),
    "base64 without padding": lambda text: _encoded(text).rstrip("="),
    "base64 for URLs": lambda text: _encoded(text).replace("+", "-").replace("/", "_"),
    "base64 in quotes": lambda text: f'"{_encoded(text)}"',
    "a line of a shell": lambda text: f"export KEY='{text}';\n",
    "a line of an .env file": lambda text: f"KEY={text}",
    "base64 in a line of an .env file": lambda text: f'KEY="{_encoded(text)}"\n',
    "invisible characters around it": lambda text: f"\u200b{text}\u2060\n",
}
"""What editors, shells and environments make of a file's text, and what can still be loaded."""

BROKEN: Final[dict[str, Callable[[str], str]]] = {
    "line breaks as blanks": lambda text: text.replace("\n", " "),
    "in a JSON string": json.dumps,
    "base64 twice": lambda text: _encoded(_encoded(text)),
    "without its last line": lambda text: text.rstrip().rpartition("\n")[0] or text,
    "without its first line": lambda text: text.partition("\n")[2] or text,
    "the first half": lambda text: text[: len(text) // 2],
    "with a text before it": lambda text: f"key: {text}",
    "as bytes in Python": lambda text: repr(text.encode("utf-8", "surrogateescape")),
}
"""Forms of which some cannot be loaded."""


def secret_parts(text: str) -> list[str]:
    """What is secret of a key material in some form: long words, none of which stands in ordinary messages."""
    words = text.replace("\\r", "\n").replace("\\\\n", "\n").replace("\\n", "\n").replace('"', "\n").split()
    return [word for word in words if len(word) >= SLICE and word.strip("\\,") not in _PUBLIC]


_PUBLIC: Final = (EMAIL, "https://127.0.0.1:1/token", "1-a.apps.googleusercontent.com")


def leaks(text: str, output: str) -> str | None:
    """A slice of a key material that an output repeats, None for none."""
    for word in secret_parts(text):
        for start in range(len(word) - SLICE + 1):
            if word[start : start + SLICE] in output:
                return word[start : start + SLICE]
    return None


def told(error: BaseException) -> str:
    """All that an exception and those before it say, as a log with a traceback would have it, hidden ones too."""
    texts = []
    visited: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is not None and current not in visited:
            visited.append(current)
            texts += [str(current), repr(current), *traceback.format_exception_only(current)]
            queue += [current.__cause__, current.__context__]
    return "\n".join(texts)


def given_materials(*kinds: str) -> st.SearchStrategy[str]:
    """A key material of any of these kinds, or of all, in any form."""
    return st.builds(
        lambda kind, form: form(materials()[kind]),
        st.sampled_from(kinds or tuple(materials())),
        st.sampled_from([*FORMS.values(), *BROKEN.values()]),
    )
