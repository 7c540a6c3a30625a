"""Secrets given in the wrong place: a key where a path is expected must be recognised, and never be printed.

`describe_secret` says what a value is that is no path but the content itself. `redact` removes key material from a text that
is about to be printed; `split_address` and `shown_address` read and show a URL, in which a password may stand anywhere. Exceptions whose message may quote what the user gave are `RedactedError`s.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

REMOVED: Final = "[key material removed]"
"""Stands in a message for what `redact` has removed."""

PEM_MARK: Final = "-----BEGIN "
_SMALLEST_DER: Final = 32
"""Bytes of a key, certificate or PKCS#12 at least: shorter ones are words that happen to be base64."""
_WRAPPING: Final = re.compile(r"\s+|\\+[nrt]")
"""White space, and the line breaks that a shell or a JSON encoder has written as two characters."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_JSON: Final = re.compile(r'[{\[]\s*(?:\\+[nrt]\s*)*\\*["{]')
_ASSIGNMENT: Final = re.compile(r"(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*(?=[^=\s])")
"""A line of a shell's, a Dockerfile's or an .env file begins so."""
_INVISIBLE: Final = "\ufeff\u200b\u2060"
_HEXADECIMAL: Final = re.compile(
    r"\\*(?:0?x)?(?:2d2d2d2d2d|7b(?:0[9ad]|20)*22|308[1-4]|30[3-7][0-9a-f]0201"
    r"|4d494[5-9a-c]|4c53307|65[79][0-9a-f])[0-9a-f]{200,}",
    re.IGNORECASE,
)
"""Bytes of PEM, JSON or DER, or of base64 of them, in hexadecimal, as databases print them too; a device token is shorter."""
_SCHEME: Final = r"(?:(?!mailto)[A-Za-z][A-Za-z0-9+.-]*:/{1,2}|https?[:=])?"
_USER_INFO: Final = re.compile(
    # Between quotation marks it may have blanks, and behind slashes quotation marks.
    rf"('(?!mailto:){_SCHEME}/{{0,2}}[^\s/?#:@'\"]*:)(?!//)[^'\n]+(?=@)"
    rf"|(\"(?!mailto:){_SCHEME}/{{0,2}}[^\s/?#:@'\"]*:)(?!//)[^\"\n]+(?=@)"
    r"|((?:(?<!\S)/|:)/{1,2}[^\s/?#:@'\"]*:)\S+(?=@)"
    rf"|((?<![\w+./-])(?!mailto:){_SCHEME}/{{0,2}}[^\s/?#:@'\"]*:)(?!//)[^\s'\"]+(?=@)"
)
"""The password in a URL, with its scheme or without, as proxies are written; a path made of one has lost a slash."""
_VALUE_USER_INFO: Final = re.compile(rf"\A([^\w./]*(?!mailto:){_SCHEME}/{{0,2}}[^:@]*:).+(?=@)", re.DOTALL)
_NO_PORT: Final = re.compile(r"(://[^/@:\[\s]*:)(?!(?:PORT|[0-9]*)(?:[/?#,;\s'\")\]]|$)|\[)[^/\s'\"]+")
"""What stands in a URL where a port should."""
_QUERY: Final = re.compile(
    r"([?&#;](?:password|passwd|pwd|token|secret|signature|sig|credential|api[-_]?key|access[-_]?key|x-amz-[a-z-]+)=)[^&#\s'\"]+",
    re.IGNORECASE,
)
"""What a URL's query says of a secret."""
_CUT: Final = "[password removed]"
_QUOTING: Final = re.compile(r"""[\s"':,;=\\]+""")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_LABEL: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")

_PLAIN_URL: Final = re.compile(
    r"([a-z][a-z0-9+.-]{0,19}://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)(/?)(.*)", re.DOTALL
)
"""Scheme, host and port, a slash, and what is not shown."""
_URL_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,19}:)//")
_LONGEST_URL: Final = 60

_SEPARATOR: Final = r"(?:\s|\\+[nrt])+"
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]*-{0,5}.*?-----END [A-Z0-9 ]+-----"  # whole
    r"|-----BEGIN [A-Z0-9 ]*-{0,5}[A-Za-z0-9+/=,:\s\\-]*"  # cut off at its end
    r"|(?<![A-Za-z0-9+/=\s\\])[A-Za-z0-9+/=\s\\]*-----END [A-Z0-9 ]+-----"  # cut off at its beginning
    r"|(?<![A-Z ])[A-Z ]*(?:KEY|CERTIFICATE)-----[A-Za-z0-9+/=,:\s\\-]*",
    re.DOTALL,
)
_MEMBER: Final = re.compile(
    r"""(\\*["'](?:private_key|client_secret|refresh_token|access_token|id_token|password)\\*["']\s*:\s*\\*["'])[^"']*"""
)
_RUN: Final = re.compile(
    r"[A-Za-z0-9+/_-]{20,}={0,2}"
    rf"(?:{_SEPARATOR}(?=[A-Za-z0-9+/_-]*[a-z0-9+/][A-Z0-9+/=])[A-Za-z0-9+/_-]{{8,}}={{0,2}})*"  # its further lines
)
_PREFIX: Final = re.compile(r"n?(?:MI[E-L]|MHcC|LS0t|e[yw][A-Za-z0-9])(?=.*[a-z])(?=.*[A-Z])")
"""How base64 of DER, of PEM and of JSON begins; the n is of a line break that stands before it as two characters."""

_PREFIXED: Final = re.compile(r"(?:pcg_|ya29\.|1//0|GOCSPX-)[\w./-]{16,}", re.ASCII)
"""Tokens of the gateway's callers, and Google's access tokens, refresh tokens and client secrets: some are too short to look random."""
_HASH: Final = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<=/)[0-9a-f]{32,64}(?![0-9a-z])",
    re.IGNORECASE,
)
"""A UUID, and a hash in a path: MD5, SHA-1 or SHA-256."""
_HEX_WORD: Final = re.compile(r"[0-9a-f-]{16,}", re.IGNORECASE)
"""Device tokens, UUIDs and ids of campaigns, which messages show."""
_LONGEST_COMPONENT: Final = 255
_MOST_DIGITS: Final = 40
_NUMBER: Final = re.compile(rf"(?<![0-9A-Za-z])[0-9]{{{_MOST_DIGITS},}}(?![0-9A-Za-z])")
_OCTET: Final = re.compile(r"(?<![^\W_])[0-9a-f]{2}(?![^\W_])", re.IGNORECASE)
_MOST_OCTETS: Final = 12
_SYMBOLS: Final = frozenset("!\"#$%&'()*+,:;<=>?@[\\]^`{|}")
_MOST_SYMBOLS: Final = 7
_WINDOW: Final = 24
_UNUSUAL: Final = 17
_SEPARATORS: Final = frozenset("/._-~,:;()'\" \t\n\r")
_WORD: Final = re.compile(r"[^\s'\"]+")
_COMMON: Final = (
    "er in on te re st ti at es li co le de en or se nt ar ec et an al ra tr ro ta ac ma ri io ce ed ca it to ge ic as me ea "
    "lo ng ne nd fi ns si pa pr ch ad pe ct la il is ve el ss di ol rs mp na ap ut ib da rt ba po un ts ou ll om ex am ck em "
    "nc he ab ke oc pl sc ig ee ag ot op im th bl od ha mi cl ni so ur sh ef ep id mo nf no tt us eb dd be sp cr su va fo gr "
    "ul oo tc xt rc ls os pi cc ty ai"
)
_COMMON_PAIRS: Final = frozenset(_COMMON.split())
"""Three of four pairs of letters in file names are among these 150."""


_DECODERS: Final[dict[str, Callable[[str], bytes]]] = {
    "base32": lambda text: base64.b32decode(text + "=" * (-len(text) % 8), casefold=True),
    "base85": base64.b85decode,
    "ascii85": lambda text: base64.a85decode(text.removeprefix("<~").removesuffix("~>")),
}
"""Besides base64, which is accepted: encodings in which key material is recognised and refused."""


class RedactedError(Exception):
    """An exception whose message may quote what the user gave: key material is removed from it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(
            *(redact(argument) if isinstance(argument, str) else argument for argument in arguments)
        )


def describe_secret(value: str) -> str | None:
    """What a value is that was given where a path is expected, and is the content itself.

    Args:
        value: of an option, a variable of the environment, a key of a settings file, or an argument.

    Returns:
        Words for a message, such as "a private key in PEM" or "JSON in base64"; None for what may be a path.
    """
    text = trimmed(value)
    kind = _kind_of(text)
    if kind is not None:
        return kind
    decoded = decode_base64(text)
    if decoded is not None:
        inner = _kind_of(trimmed(decoded.decode("utf-8", "replace")))
        return f"{inner or 'a key or a certificate'} in base64"
    compact = _WRAPPING.sub("", text)
    if _HEXADECIMAL.fullmatch(compact):
        return "a key or a certificate in hexadecimal"
    for (name, decode), content in itertools.product(_DECODERS.items(), (compact, text)):
        with contextlib.suppress(ValueError):
            data = decode(content)
            if is_der(data) or _kind_of(trimmed(data.decode("utf-8", "replace"))) is not None:
                return f"a key or a certificate in {name}"
    if _MEMBER.search(text) or any(decode_base64(word) is not None for word in _QUOTING.split(text)):
        return "a text with a key in it"
    if _CONTROL.search(text):
        return "binary data"
    if len([line for line in text.splitlines() if line.strip()]) > 1:
        return "a text of several lines"
    return None


def describe_address(value: str) -> str | None:
    """The same for an address with a password in the place of a path: `user:password@host`, or one with a blank in it.

    Other URLs may be the path of an object, with the name and password of its storage. A file of such a name can be given
    as `./user:password@host`.
    """
    match = _VALUE_USER_INFO.match(value)
    if match is None or ("/" in match[1] and not any(map(str.isspace, value))):
        return None
    return "an address with a password"


def trimmed(text: str) -> str:
    """A text without a byte order mark, white space, a variable's name in front, and one pair of quotation marks around it."""
    text = text.strip().strip(_INVISIBLE).strip()
    assignment = _ASSIGNMENT.match(text)
    if assignment is not None:
        text = text[assignment.end() :].rstrip("; \t")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def decode_base64(text: str) -> bytes | None:
    """What is in a base64 text, wrapped or not, if that is PEM, JSON or DER; None for anything else."""
    compact = _WRAPPING.sub("", text)
    if not _BASE64.fullmatch(compact) or compact.isupper():  # a long name in capitals
        return None
    compact = compact.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        return None
    inner = trimmed(data.decode("utf-8", "replace"))
    recognised = is_der(data) or _kind_of(inner) is not None or decode_base64(inner) is not None
    return data if recognised else None


def _kind_of(text: str) -> str | None:
    if _JSON.match(text):
        return "JSON"
    if PEM_MARK in text or "PRIVATE KEY-----" in text:
        if "PRIVATE KEY-----" in text:
            return "a private key in PEM"
        label = _LABEL.search(text)
        return f"a {label[1].lower()} in PEM" if label is not None else "PEM"
    return None


def is_der(data: bytes) -> bool:
    """Whether it is a DER SEQUENCE (X.690, section 8.1.3), as keys, certificates and PKCS#12 are, whole or cut off."""
    return (
        len(data) >= _SMALLEST_DER
        and data[0] == 0x30
        and (0x80 <= data[1] <= 0x84 or data[1] == len(data) - 2)
    )


def redact(text: str) -> str:
    """The text without key material: PEM blocks, the secrets in a credentials file, passwords in URLs, and long base64.

    Ordinary words, paths, UUIDs and device tokens in hexadecimal stay; registration tokens of FCM go.
    """
    if "-----" in text:
        text = _PEM.sub(REMOVED, text)
    text = _MEMBER.sub(rf"\1{REMOVED}", text)
    if "@" in text:
        text = _USER_INFO.sub(lambda match: f"{match[match.lastindex or 0]}{_CUT}", text)
    if "://" in text:
        text = _NO_PORT.sub(rf"\1{_CUT}", text)
        text = _QUERY.sub(rf"\1{_CUT}", text)
    text = _PREFIXED.sub(REMOVED, text)
    return _without_random(_NUMBER.sub(REMOVED, _RUN.sub(_without_base64, text)))


def redact_value(value: str) -> str:
    """The same for a value alone, which may be a URL that cannot be read, with anything in its password."""
    value = _VALUE_USER_INFO.sub(rf"\1{_CUT}", value, count=1)
    if _CUT not in value:
        value = _NO_PORT.sub(rf"\1{_CUT}", value)
    return redact(value)


def _without_base64(match: re.Match[str]) -> str:
    return REMOVED if _PREFIX.match(match[0]) or _HEXADECIMAL.match(match[0]) else match[0]


def shown_name(path: str) -> str:
    """A path for a message, unless it may be a secret given by mistake: then no more than its length.

    No component of a path has more than 255 bytes, and of names without words only hashes and UUIDs are common.
    """
    name = _HASH.sub("", path)
    digits = sum(map(str.isdigit, name))
    hidden = (
        any(len(part.encode("utf-8", "replace")) > _LONGEST_COMPONENT for part in path.split("/"))
        or (digits > _MOST_DIGITS and 2 * digits > len(name))
        or len(_OCTET.findall(name)) > _MOST_OCTETS
        or len(_SYMBOLS.intersection(path)) > _MOST_SYMBOLS
        or _PREFIXED.search(path)
        or _random_stretches(name)
    )
    return f"[name of {len(path)} characters, not shown]" if hidden else path


def _random_stretches(text: str) -> list[tuple[int, int]]:
    """Where a text looks random: 17 of 24 neighbouring pairs of characters are unusual in names and sentences.

    Pairs of digits, of equal characters and with a separator do not count. In base32, base64, base85 and hexadecimal five of six pairs are
    unusual; 99 of 100 file names have fewer than 16 unusual pairs among any 24.
    """
    pairs: list[tuple[int, bool]] = []
    for at, (one, two) in enumerate(itertools.pairwise(text)):
        if one == two or one in _SEPARATORS or two in _SEPARATORS or (one.isdigit() and two.isdigit()):
            continue
        if not (one.isalpha() and two.isalpha()):
            if one.isalnum() or two.isalnum():
                pairs.append((at, True))
        elif one.isascii() and two.isascii() and not (one.islower() and two.isupper()):
            pairs.append((at, (one + two).lower() not in _COMMON_PAIRS))
    stretches: list[tuple[int, int]] = []
    unusual = sum(odd for _, odd in pairs[: _WINDOW - 1])
    for oldest, (_, odd) in enumerate(pairs[_WINDOW - 1 :]):
        unusual += odd
        if unusual >= _UNUSUAL:
            places = [at for at, is_odd in pairs[oldest : oldest + _WINDOW] if is_odd]
            if stretches and places[0] <= stretches[-1][1]:
                places[0] = stretches.pop()[0]
            stretches.append((places[0], places[-1] + 2))
        unusual -= pairs[oldest][1]
    return stretches


def _without_random(text: str) -> str:
    """The text without the words that look random."""
    masked = _HEX_WORD.sub(lambda match: " " * len(match[0]), text)
    stretches = _random_stretches(masked)
    if not stretches:
        return text
    parts: list[str] = []
    done = 0
    for word in _WORD.finditer(text):
        if any(first < word.end() and word.start() < last for first, last in stretches):
            between = text[done : word.start()]
            if not parts or between.strip():
                parts += [between, REMOVED]
            done = word.end()
    return "".join((*parts, text[done:]))


def split_address(url: object) -> SplitResult | None:
    """The parts of a URL; None where it is no string, its host cannot be read or is no name, or its port is not 1 to 65535.

    No exception is left behind: those of `urlsplit` quote what stands where a port should, which may be a password.
    """
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as the resolver does: labels of 1 to 63 characters
        valid = parts.port != 0
    except ValueError:
        return None
    return parts if valid else None


def shown_address(value: object) -> str:
    """A wrong address for a message: scheme, host and port where they are plain, and nothing else that was given."""
    if not isinstance(value, str):
        return "None" if value is None else type(value).__name__
    plain = _PLAIN_URL.fullmatch(value)
    if plain is not None and split_address(value) is not None and "@" not in value:
        text = plain[1] + (f"{plain[2]}…" if plain[3] else plain[2])
        return repr(text) if len(text) <= _LONGEST_URL else repr(text[:_LONGEST_URL] + "…")
    scheme = _URL_SCHEME.match(value)
    if scheme is not None:
        return f"'{scheme[1]}//…'"
    return "a text without a known scheme" if value else "an empty text"
