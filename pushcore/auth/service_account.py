"""Google's service accounts: the key file, the assertion that is signed with it, and the access token that Google returns.

The exchange is that of RFC 7523 ("Using OAuth 2.0 for Server to Server Applications"). This module makes the request's
body and reads the response; the caller sends it (`Post`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ..arguments import check, check_type, json_kind, kind
from ..errors import AccessTokenError, ConfigurationError, TransportError
from ..key_material import Wrong, encoded, find_private_key, key_algorithm, plain, read_material
from ..reasons import UNEXPECTED, describe_unexpected, printable_word
from ..redaction import describe_secret, redact, redact_value, split_address
from .access_token import AccessToken
from .jws import compact, rs256

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
"""The only scope that sending and topics need ("projects.messages.send", Authorization scopes)."""
LIFE: Final = 3600
"""Seconds for which an assertion is valid: the maximum that Google accepts."""
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_RESPONSE: Final = 65_536
"""Bytes of a response that are read, at most; Google's have about one thousand."""

OTHER_TYPES: Final = (
    "authorized_user",
    "external_account",
    "external_account_authorized_user",
    "impersonated_service_account",
    "gdch_service_account",
)
"""Types of Google's credentials files that need google-auth."""
_SMALLEST_KEY: Final = 2048  # bits, RFC 7518, section 3.3
_NO_JSON: Final = object()
_EXPECTED: Final = (
    'expected the JSON key of a service account, "type": "service_account", from the Google Cloud console'
)
_ERROR_CODE: Final = re.compile(r"[a-z][a-z_]*|[A-Z][A-Z_]*", re.ASCII)
"""The form of OAuth's error codes, and of google.rpc.Code's names."""
_ERROR_STATUS: Final = frozenset({400, 401, 403, 429, *range(500, 600)})
"""The statuses that come with an error code."""
# Every other 4xx is permanent.
_TEMPORARY_STATUS: Final = frozenset({408, 409, 421, 425, 429})
_TEMPORARY_ERRORS: Final = frozenset(
    {"temporarily_unavailable", "server_error", "slow_down", "internal_failure"}
)
_ESCAPE: Final = re.compile(r'\\+([nru"])')
_UNESCAPED: Final = {"n": "\n", "r": "\r", "u": "\\u", '"': '"'}
_EMAIL: Final = re.compile(r"[!-~]+@[!-~]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A response of the token endpoint.

    `retry_after`: the seconds of its `Retry-After`, None without. `clock_advice`: set if its clock and this machine's differ,
    see `clock`.
    """

    status: int
    body: bytes = field(repr=False)  # it may contain a token
    retry_after: float | None = None
    clock_advice: str | None = None


Post = Callable[[bytes], Awaitable[TokenResponse]]
"""Posts a form to the account's `token_uri`; raises a `TransportError` when there is no response."""


class ServiceAccount:
    """A service account with one of its keys.

    Args:
        key: the private key, RSA; `from_file` and `from_info` read one.
        client_email: the name of the account.
        token_uri: the URL of the token endpoint.
        key_id: the id of the key, None if it is unknown.
        project_id: the project of the account, None if it is unknown.
    """

    __slots__ = ("_sign", "client_email", "key_id", "project_id", "token_uri")

    def __init__(
        self,
        key: rsa.RSAPrivateKey,
        *,
        client_email: str,
        token_uri: str,
        key_id: str | None = None,
        project_id: str | None = None,
    ) -> None:
        """Check the arguments.

        Raises:
            ConfigurationError: an argument has a wrong type, or the key has less than 2048 bits.
        """
        check_type("key", key, rsa.RSAPrivateKey, "an RSA key; from_file and from_info read one")
        check_type("client_email", client_email, str, "a string")
        check_type("token_uri", token_uri, str, "a string")
        check(_is_https(token_uri), "token_uri", "an https address", token_uri)
        check(_EMAIL.fullmatch(client_email) is not None, "client_email", "an email address", client_email)
        check_type("key_id", key_id, (str, type(None)), "a string or None")
        check_type("project_id", project_id, (str, type(None)), "a string or None")
        _check_key(key, lambda predicate: ConfigurationError(f"key {predicate}; {_EXPECTED}"))
        self.client_email = client_email
        self.token_uri = token_uri
        self.key_id = key_id
        self.project_id = project_id
        self._sign = rs256(key)

    @classmethod
    def from_file(cls, path: str | bytes | os.PathLike[str], *, name: str | None = None) -> ServiceAccount:
        """The account in a JSON key file.

        Args:
            path: of the file; or its content, JSON or base64 of it, for example from an environment variable.
            name: the name of the account in errors; None: the path, or "the service account".

        Returns:
            The account.

        Raises:
            ConfigurationError: the file cannot be read, has another type, lacks a field, or its key cannot be used. The
                message never contains the key.
        """
        name, info = read_info(path, name=name)
        return cls.from_info(info, name=name)

    @classmethod
    def from_info(
        cls, info: Mapping[str, Any] | str | bytes, *, name: str = "the service account"
    ) -> ServiceAccount:
        """The account in the content of a key file.

        Args:
            info: the content, as JSON or parsed.
            name: the name of the account in errors.

        Returns:
            The account.

        Raises:
            ConfigurationError: the content has another type, lacks a field, or its key cannot be used.
        """

        def wrong(predicate: str) -> ConfigurationError:
            return ConfigurationError(f"{name} {predicate}; {_EXPECTED}")

        content = info
        if isinstance(content, str | bytes):
            content = _parse(
                plain(content.encode("utf-8", "replace") if isinstance(content, str) else content)
            )
            if content is _NO_JSON:
                raise wrong("is not JSON")
            if not isinstance(content, Mapping):
                raise wrong(f"is not a JSON object but {json_kind(content)}")
        if not isinstance(content, Mapping):
            raise wrong(f"is not a mapping or JSON but {kind(content)}")
        if content.get("type") != "service_account":
            raise wrong(_kind_of(content))
        fields: dict[str, str] = {}
        for key in ("client_email", "private_key", "token_uri", "private_key_id", "project_id"):
            if key not in content and key in ("client_email", "private_key", "token_uri"):
                raise wrong(f'has no "{key}"')
            value = content.get(key)
            if value is None and key in ("private_key_id", "project_id"):
                continue
            # The value is not shown: it may be the key, given here by mistake.
            if not isinstance(value, str) or not value.strip():
                raise wrong(f'has a "{key}" that is empty or not a string')
            fields[key] = value.strip()
            if key != "private_key" and _CONTROL.search(fields[key]):
                raise wrong(f'has a "{key}" with control characters in it')
        if not _EMAIL.fullmatch(fields["client_email"]):
            raise wrong('has a "client_email" that is not an email address')
        uri = fields["token_uri"]
        if not _is_https(uri):
            raise wrong(f'has a "token_uri" that must be an https address, not {redact_value(uri)[:80]!r}')
        return cls(
            _load_key(
                fields["private_key"], lambda predicate: wrong(f'has a "private_key" that {predicate}')
            ),
            client_email=fields["client_email"],
            token_uri=uri,
            key_id=fields.get("private_key_id"),
            project_id=fields.get("project_id"),
        )

    def assertion(self, now: float, scope: str = SCOPE) -> bytes:
        """The JWT that identifies the account, signed at `now` and valid for an hour.

        Args:
            now: UNIX seconds.
            scope: of the access token to request with it.

        Returns:
            The JWT: a secret for an hour.
        """
        header = {"alg": "RS256", "typ": "JWT"}
        if self.key_id is not None:
            header["kid"] = self.key_id
        iat = math.floor(now)
        claims = {
            "iss": self.client_email,
            "scope": scope,
            "aud": self.token_uri,
            "iat": iat,
            "exp": iat + LIFE,
        }
        return compact(header, claims, self._sign)

    def form(self, now: float, scope: str = SCOPE) -> bytes:
        """The body of the request for an access token: "application/x-www-form-urlencoded".

        Args:
            now: UNIX seconds.
            scope: of the access token.

        Returns:
            The body: a secret for an hour.
        """
        return urlencode({"grant_type": GRANT, "assertion": self.assertion(now, scope)}).encode()

    async def issue(self, post: Post, now: float, scope: str = SCOPE) -> AccessToken:
        """Request an access token.

        Args:
            post: sends the request.
            now: UNIX seconds.
            scope: of the access token.

        Returns:
            The access token.

        Raises:
            AccessTokenError: there is no token; `permanent` if a retry cannot help.
        """
        try:
            response = await post(self.form(now, scope))
        except TransportError as error:
            raise AccessTokenError(f"the token endpoint cannot be reached: {error}") from error
        return read_token(response)

    def __repr__(self) -> str:
        return f"<ServiceAccount {self.client_email}>"


def read_info(
    source: str | bytes | os.PathLike[str], *, name: str | None = None
) -> tuple[str, Mapping[str, Any]]:
    """The name of a credentials file of Google in errors, and its members; of any type.

    Args:
        source: the path of the file, or its content.
        name: the name of the file in errors; None: the path, or "the service account".

    Raises:
        ConfigurationError: it cannot be read, or is not a JSON object.
    """
    name, content = read_material(source, argument="the service account", expected=_EXPECTED, name=name)

    def wrong(predicate: str) -> ConfigurationError:
        return ConfigurationError(f"{name} {predicate}; {_EXPECTED}")

    if not content:
        raise wrong("is empty")
    info = _parse(content)
    if info is _NO_JSON:
        kind = describe_secret(content.decode("utf-8", "replace"))
        raise wrong(
            f"is {kind} and not JSON" if kind not in (None, "JSON") else f"is not JSON{_where(content)}"
        )
    if not isinstance(info, Mapping):
        raise wrong(f"is not a JSON object but {json_kind(info)}")
    return name, info


def _parse(content: bytes) -> Any:
    """The value of a JSON text; `_NO_JSON` if it is not JSON. Line breaks in its strings, and escaped escapes, are accepted."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return _NO_JSON
    # A shell or a template may have escaped the line breaks between the members, or the whole text a second time.
    unescaped = _ESCAPE.sub(lambda match: _UNESCAPED[match[1]], text)
    for attempt in (text, unescaped):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(attempt, strict=False)
    return _NO_JSON


def _where(content: bytes) -> str:
    """The position at which a text is not JSON, in parentheses, with the parser's message, which contains nothing of the text."""
    try:
        json.loads(content.decode(), strict=False)
    except json.JSONDecodeError as error:
        return f" ({error.msg}: line {error.lineno} column {error.colno})"
    except (UnicodeDecodeError, RecursionError):
        pass
    return ""


def read_token(response: TokenResponse) -> AccessToken:
    """The token in a response of the token endpoint.

    Raises:
        AccessTokenError: the request was rejected, or the response is not that of a token endpoint.
    """
    members: Any = None
    if len(response.body) <= MAX_RESPONSE:
        with contextlib.suppress(orjson.JSONDecodeError):
            members = orjson.loads(response.body)
    members = members if isinstance(members, dict) else {}
    status = response.status
    if status == 200 and "access_token" in members:
        return AccessToken(members["access_token"], members.get("expires_in"))
    # RFC 6749, section 5.2; some of Google's own errors are objects with `status` and `message`. Other servers' errors are
    # sentences, and have other statuses.
    error = members.get("error")
    if isinstance(error, dict):
        reason, text = printable_word(error.get("status"), 60), printable_word(error.get("message"), 200)
    else:
        reason, text = printable_word(error, 60), printable_word(members.get("error_description"), 200)
    if reason is None or not _ERROR_CODE.fullmatch(reason) or status not in _ERROR_STATUS:
        reason = text = None
    permanent = 400 <= status < 500 and status not in _TEMPORARY_STATUS and reason not in _TEMPORARY_ERRORS
    message = f"the token endpoint responded {status}, " + ": ".join(part for part in (reason, text) if part)
    if not reason and not text:
        message = describe_unexpected("the token endpoint", status, response.body)
        if permanent or status < 400:
            reason = UNEXPECTED.name
    # Google uses one code for an assertion that is not valid now and for an unknown key.
    advice = f"; {response.clock_advice}" if reason == "invalid_grant" and response.clock_advice else ""
    raise AccessTokenError(
        f"{message}{advice}",
        permanent=permanent,
        reason=reason,
        retry_after=response.retry_after,
    )


def _kind_of(info: Mapping[str, Any]) -> str:
    kind = info.get("type")
    if kind in OTHER_TYPES:
        return f'holds credentials of the type "{kind}", which google-auth reads: pass its credentials object instead'
    if isinstance(kind, str):
        return f"is of the type {_CONTROL.sub(' ', redact(kind))[:40]!r}"
    if "project_info" in info:
        return "is the app's google-services.json"
    if "installed" in info or "web" in info:
        return "is the secret of an OAuth client"
    return 'has no "type"'


def _is_https(uri: str) -> bool:
    parts = split_address(uri)
    return (
        parts is not None
        and parts.scheme == "https"
        and bool(parts.hostname)
        and parts.username is None
        and not parts.fragment
        and uri.isascii()
        and " " not in uri
    )


def _load_key(pem: str, wrong: Wrong) -> rsa.RSAPrivateKey:
    block, encrypted = find_private_key(plain(encoded(pem)), wrong)
    if encrypted:
        raise wrong("is encrypted")
    try:
        key = serialization.load_pem_private_key(block, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The text of OpenSSL does not help a user.
        raise wrong("is damaged") from None
    return _check_key(key, wrong)


def _check_key(key: object, wrong: Wrong) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey):
        raise wrong(f"is not RSA but {key_algorithm(key)}")
    if key.key_size < _SMALLEST_KEY:
        raise wrong(f"has {key.key_size} bits, RS256 needs at least {_SMALLEST_KEY}")
    return key
