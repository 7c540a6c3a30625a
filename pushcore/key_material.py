"""Keys and certificates as they come out of files, environments and editors.

A key is given as the path of a file or as its content: `read_material` tells them apart. The content may be `str` or `bytes`,
PEM, JSON or base64 of them, with a byte order mark, CRLF, quotation marks around it, blanks at the ends of lines, and line
breaks that a shell or a JSON encoder has written as the two characters `\\n`.

Other small files, such as settings and payloads, are read here, too: in bounded memory and bounded time, see `read_bounded`.
"""

from __future__ import annotations

import os
import re
import select
import stat
import textwrap
import time
from collections.abc import Callable
from typing import Final

from .errors import ConfigurationError
from .redaction import decode_base64, describe_address, describe_secret, is_der, shown_name, trimmed

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file with keys or certificates, at most: a system's CA certificates with their text are 1 MB."""
UNOPENED: Final = 0.5
"""Seconds to wait for a process that writes to a named pipe."""
UNFINISHED: Final = 60.0
"""Seconds that such a process may take: a command in `<(…)` may ask for a passphrase."""

PEM_MARK: Final = b"-----BEGIN "
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_PKCS12_VERSION: Final = b"\x02\x01\x03"  # INTEGER 3, first in the outer SEQUENCE (RFC 7292, section 4)
_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_LINE_BREAK: Final = re.compile(r"\\+[nr]|\\+|\r\n?")
_NOT_BASE64: Final = re.compile(r"[^!-~]|[\"']")
"""What editors and program texts leave between the digits of a PEM block: white space, invisible characters, quotes."""
_OTHERS: Final = {
    "CERTIFICATE": "a certificate",
    "TRUSTED CERTIFICATE": "a certificate",
    "CERTIFICATE REQUEST": "a certificate request",
    "NEW CERTIFICATE REQUEST": "a certificate request",
    "PUBLIC KEY": "a public key",
    "RSA PUBLIC KEY": "a public key",
    "EC PUBLIC KEY": "a public key",
}

Wrong = Callable[[str], ConfigurationError]
"""Makes the error of what is wrong with some key material: takes the predicate of the sentence, such as "is empty"."""


def read_material(
    source: object, *, argument: str, expected: str, name: str | None = None
) -> tuple[str, bytes]:
    """Reads what was given as the path of a file, or as the content itself.

    Args:
        source: a path, or the content as `str` or `bytes`.
        argument: the parameter's name, for errors.
        expected: what the content should be, for errors; begins with "expected".
        name: stands for the content in errors; None: the path, or `argument`.

    Returns:
        The name for errors, and the content in its plain form: see `plain`.

    Raises:
        ConfigurationError: it is neither, or the file cannot be read.
    """
    if isinstance(source, bytes | bytearray):
        return name or argument, plain(bytes(source))
    if isinstance(source, str):
        kind = describe_secret(source)
        if kind is not None:
            content = plain(encoded(source))
            if PEM_MARK in content or content[:1] == b"{" or is_der(content):
                return name or argument, content
            raise ConfigurationError(f"{name or argument} is {kind} and not a path; {expected}")
    elif not isinstance(source, os.PathLike):
        raise ConfigurationError(
            f"{name or argument} must be a path or the content itself, not {type(source).__name__}; {expected}"
        )
    path = os.fsdecode(source)
    kind = describe_address(path)
    if kind is not None:
        raise ConfigurationError(f"{name or argument} is {kind} and not a path; {expected}")
    if not path.strip():
        raise ConfigurationError(f"{name or argument} is empty; {expected}")
    try:
        data = read_bounded(path, MAX_FILE)
        if len(data) <= MAX_FILE:
            return name or path, plain(data)
        problem = f"it has more than {MAX_FILE} bytes"
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except ValueError:
        problem = "it contains a character that is not allowed in a path"
    # Not inside the handler: the context of the new error would repeat the path, which may be a secret after all.
    raise ConfigurationError(f"{name or shown_name(path)} cannot be read ({problem}); {expected}")


def read_bounded(path: str, limit: int, *, regular: bool = False) -> bytes:
    """The content of a file, or of a pipe such as `<(command)` and `/dev/stdin`.

    Args:
        path: of the file.
        limit: bytes.
        regular: whether it must be a regular file, because a library will open it again.

    Returns:
        The content; of a larger file the first `limit` bytes and one more.

    Raises:
        OSError: it cannot be read; `strerror` says why.
        ValueError: the path contains a character that is not allowed there.
    """
    # Opening a pipe without a writer would block, and reading one that is silent, too.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    data = bytearray()
    with open(os.open(path, flags), "rb", buffering=0) as file:
        mode = os.fstat(file.fileno()).st_mode
        if regular and not stat.S_ISREG(mode):
            raise OSError(0, "it is not a regular file")
        waited = False
        ends = time.monotonic() + UNFINISHED
        while len(data) <= limit:
            part = file.read(limit + 1 - len(data))
            if part:
                data += part
            elif part is None:
                if not _ready(file.fileno(), ends - time.monotonic()):
                    raise TimeoutError(0, f"its end did not come within {UNFINISHED:g} s")
            elif data or not stat.S_ISFIFO(mode) or _ready(file.fileno(), 0):
                break
            elif waited:
                raise TimeoutError(0, "it is a pipe that no process writes to")
            else:  # opened by nobody else yet
                _ready(file.fileno(), UNOPENED)
                waited = True
    return bytes(data)


def _ready(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the writer has gone, within this time."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))


def checked_path(path: str | bytes | os.PathLike[str], argument: str) -> str:
    """The path as text, unless it is the content of a key, a certificate or a credentials file, given by mistake.

    Raises:
        ConfigurationError: it is, or it is of a wrong type; the message names `argument` and does not repeat the value.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"{argument} must be a path, not {type(path).__name__}")
    text = os.fsdecode(path)
    kind = describe_secret(text) or describe_address(text)
    if kind is not None:
        raise ConfigurationError(f"{argument} is {kind} and not a path")
    if not text:
        raise ConfigurationError(f"{argument} is empty")
    valid = True
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a surrogate pair
        valid = False
    if not valid:  # not inside the handler: the context would hold the text, which may be a secret after all
        raise ConfigurationError(f"{argument} contains a character that is not allowed in a path")
    return text


def encoded(text: str) -> bytes:
    """The bytes of a text that may be key material. It never raises: the error of `str.encode` holds the whole text."""
    try:
        return text.encode("utf-8", "surrogateescape")  # as the environment decodes other bytes
    except UnicodeEncodeError:  # half of a surrogate pair
        return text.encode("utf-8", "surrogatepass")


def plain(data: bytes) -> bytes:
    """Key material without what an editor, a shell or an environment has put around it.

    Returns:
        Text in UTF-8 without byte order mark, outer white space and quotation marks; DER and PKCS#12 as they are. Base64 of
        any of these is decoded.
    """
    if is_der(data):
        return data
    utf_16 = data[:2] in _UTF_16
    text = trimmed(data.decode("utf-16", "replace") if utf_16 else data.decode("utf-8", "surrogateescape"))
    decoded = decode_base64(text)
    if decoded is not None:
        return plain(decoded)
    return text.encode("utf-8", "surrogateescape" if not utf_16 else "replace")


def password_in(content: bytes) -> bytes:
    """The password in the content of a file that holds nothing else: in UTF-8, without the line end that an editor adds.

    UTF-16 with a byte order mark, as PowerShell writes it, is converted.
    """
    if content[:2] in _UTF_16:
        content = content.decode("utf-16", "replace").encode()
    return content.removeprefix(b"\xef\xbb\xbf").removesuffix(b"\n").removesuffix(b"\r")


def pem_blocks(content: bytes) -> list[tuple[str, bytes]]:
    """The PEM blocks of a text: label, and the block with the line breaks that RFC 7468 asks for.

    A block whose line breaks have become blanks, or the characters `\\n`, is read all the same.
    """
    blocks = []
    for label, body in _BLOCK.findall(content.decode("utf-8", "replace")):
        lines = [line.strip() for line in _LINE_BREAK.sub("\n", body).splitlines()]
        if ":" not in body:  # a header, of an encrypted key in OpenSSL's own format, has lines that matter
            lines = textwrap.wrap(_NOT_BASE64.sub("", "".join(lines)), 64)
        elif not lines[0]:
            del lines[0]
        text = "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))
        blocks.append((label, text.encode()))
    return blocks


def find_private_key(content: bytes, wrong: Wrong) -> tuple[bytes, bool]:
    """The PEM block of the private key in a text, and whether it is encrypted.

    Raises:
        ConfigurationError: there is none; it says what there is.
    """
    if not content.strip():
        raise wrong("is empty")
    if describe_secret(content.decode("utf-8", "replace")) == "JSON":
        raise wrong("is JSON and not PEM")
    if PEM_MARK not in content:
        raise wrong("is PKCS#12 and not PEM" if is_pkcs12(content) else "is not PEM")
    blocks = pem_blocks(content)
    for label, block in blocks:
        if label == "OPENSSH PRIVATE KEY":
            raise wrong("holds a key in OpenSSH's own format")
        if label.endswith("PRIVATE KEY"):
            return block, b"ENCRYPTED" in block
    if not blocks:
        raise wrong("is damaged: a PEM block has no end")
    kinds = dict.fromkeys(_OTHERS.get(label, f"something else ({label})") for label, _ in blocks)
    raise wrong(f"holds {' and '.join(kinds)} and no private key")


def key_algorithm(key: object) -> str:
    """The algorithm of a key object of `cryptography`, by its class: "RSA", "EllipticCurve", "Ed25519"; never the key."""
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey").lstrip("_")


def is_pkcs12(content: bytes) -> bool:
    """Whether it begins as a PKCS#12 file does."""
    return content[:1] == b"\x30" and _PKCS12_VERSION in content[:9]
