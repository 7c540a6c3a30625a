"""Google's token endpoint: a signed assertion goes in, an access token comes out (RFC 7523; reference/fcm.md, 1.1).

The assertion is really verified, and the access tokens expire by the fake's clock.
"""

from __future__ import annotations

import hmac
import math
import random
import secrets
from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from fakeservers.fcm.service_account import FakeServiceAccount
from fakeservers.responses.fcm import Reply, html_page, json_reply

PATH = b"/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MESSAGING_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
PLATFORM_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
FCM_SCOPES = frozenset({MESSAGING_SCOPE, PLATFORM_SCOPE})
"""Scopes, each of which suffices to send."""

GOOGLES_URI = "https://oauth2.googleapis.com/token"
"""An `aud` that is accepted besides the fake's own: google-auth writes it whatever the `token_uri` of the file is."""

LIFETIME = 3599
"""Default lifetime in seconds: 3599 and 3600 were both seen in `expires_in`."""
MAX_ASSERTION_LIFETIME = 3600
CLOCK_TOLERANCE = 300.0
"""Seconds that a client's clock may differ; Google publishes none; this one is assumed."""
MAX_REQUEST = 16_384
"""Bytes of a token request; an assertion has about 700. An assumed limit."""
MAX_TOKENS = 10_000
"""Access tokens that are remembered; the oldest are dropped first, and are unknown then."""

INVALID_SIGNATURE = "Invalid JWT Signature."
WRONG_AUDIENCE = "Invalid JWT: Failed audience check."
WRONG_TIMES = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
NO_ACCOUNT = "Invalid grant: account not found"
INVALID_SCOPE = "Invalid OAuth scope or ID token audience provided."
BAD_REQUEST = "Bad Request"

_PREFIX = "ya29.c."
_MAC, _NONCE = 32, 16
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SCOPE_PREFIX = "https://www.googleapis.com/auth/"
_OTHER_SCOPES = frozenset({"openid", "email", "profile"})
_DESCRIPTIONS = {"invalid_grant": NO_ACCOUNT, "invalid_scope": INVALID_SCOPE, "invalid_request": BAD_REQUEST}


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token that was issued."""

    scopes: frozenset[str]
    expires: float
    """Time by the fake's clock, seconds."""


class OAuthServer:
    """Issues and verifies access tokens. Its public attributes may be set while it serves.

    Args:
        account: the account whose assertions are accepted.
        token_uri: the required `aud`, besides `GOOGLES_URI`; may be set later.
        now: the clock, UNIX seconds.
        lifetime: seconds for which an access token is valid, and its `expires_in`.
    """

    def __init__(
        self,
        account: FakeServiceAccount,
        token_uri: str = "",
        *,
        now: Callable[[], float],
        lifetime: int = LIFETIME,
    ) -> None:
        self.account = account
        self.token_uri = token_uri
        self.lifetime = lifetime
        self.says: int | None = None
        """`expires_in`, instead of the lifetime."""
        self.delay = 0.0
        """Seconds by which responses are delayed; infinite for never."""
        self.down = False
        """Respond with 503 to everything."""
        self.error = ""
        """Respond with 400 and this OAuth error (`invalid_grant`, …) to everything."""
        self.requests = 0
        """Number of token requests."""
        self.counts: Counter[tuple[int, str]] = Counter()
        """Answers by (status, error), `(200, "")` for the good ones."""
        self.changes = 0
        """Incremented when what `check` has said of a token may change before its `valid_until`."""
        self.valid_until = 0.0
        """Time by the fake's clock at which the token expires that `check` has accepted last."""
        self._now = now
        self._tokens: dict[str, IssuedToken] = {}
        self._last_header: bytes | None = None
        self._last_text = ""  # the access token in it, empty for none
        self._random: Callable[[], str] = partial(secrets.token_urlsafe, 150)
        self._secret = b""
        self._expired_until = self._forgotten_until = -math.inf

    def share(self, secret: bytes) -> None:
        """Sign tokens with this secret, so that endpoints in other processes with it accept them."""
        self._secret = secret

    def repeat(self, seed: int) -> None:
        """Issue a sequence of access tokens that depends on the seed alone."""
        chance = random.Random(seed)
        self._random = lambda: urlsafe_b64encode(chance.randbytes(150)).decode()

    def __call__(self, body: bytes) -> Reply:
        """The answer to `POST /token`."""
        self.requests += 1
        if self.down:
            text = "The service you requested is not available at this time.<p>Service error -27."
            reply = html_page(503, "Service Unavailable", text, "Unavailable")
        else:
            error, description, scopes = self._check_request(body)
            reply = self._refusal(error, description) if error else self._grant(scopes)
        self.counts[reply.status, reply.reason] += 1
        if self.delay:
            reply = Reply(reply.status, reply.headers, reply.body, reply.reason, self.delay)
        return reply

    def issue(self, *, scope: str = MESSAGING_SCOPE, lifetime: float | None = None) -> str:
        """Issue an access token, valid for `lifetime` seconds (by default the endpoint's); not counted as a request."""
        now = self._now()
        expires = now + (self.lifetime if lifetime is None else lifetime)
        signed = self._signed(orjson.dumps([scope, expires, now])) if self._secret else ""
        token = _PREFIX + (signed or self._random())  # of the same length as those of service accounts
        while len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[token] = IssuedToken(frozenset(scope.split()), expires)
        self.changes += 1  # an older one may have left
        return token

    def _signed(self, content: bytes) -> str:
        content = secrets.token_bytes(_NONCE) + content
        mac = hmac.digest(self._secret, content, "sha256")
        return urlsafe_b64encode(mac + content).decode().rstrip("=")

    def _from_another_process(self, text: str) -> IssuedToken | None:
        """Verify a token that another process has issued."""
        try:
            signed = _base64(text.removeprefix(_PREFIX).encode("ascii"))
        except ValueError:
            return None
        if not hmac.compare_digest(signed[:_MAC], hmac.digest(self._secret, signed[_MAC:], "sha256")):
            return None
        scope, expires, issued = orjson.loads(signed[_MAC + _NONCE :])
        if issued <= self._forgotten_until:
            return None
        return IssuedToken(frozenset(scope.split()), -math.inf if issued <= self._expired_until else expires)

    def expire_all(self) -> None:
        """Expire every issued access token, whatever its `expires_in`."""
        self._expired_until = self._now()
        past = self._expired_until - 1
        self.changes += 1
        self._tokens = {text: IssuedToken(token.scopes, past) for text, token in self._tokens.items()}

    def expire(self, authorization: bytes | None) -> None:
        """Expire the access token of this header, if it was issued here."""
        if self.check(authorization) in ("", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"):
            self._tokens[self._last_text] = IssuedToken(frozenset(), self._now() - 1)
            self.changes += 1

    def forget_all(self) -> None:
        """Make every issued access token unknown."""
        self._forgotten_until = self._now()
        self._tokens.clear()
        self.changes += 1

    def check(self, authorization: bytes | None) -> str:
        """Why the `authorization` header is not valid for sending, as a reason of `ErrorInfo`; empty when it is."""
        if authorization != self._last_header:  # most requests have the same header as the last one
            kind, _, text = (authorization or b"").partition(b" ")
            self._last_text = text.strip().decode("latin-1") if kind.lower() == b"bearer" else ""
            self._last_header = authorization
        given = self._last_text
        if not given:
            return "CREDENTIALS_MISSING"
        token = self._tokens.get(given)
        if token is None and self._secret:
            token = self._from_another_process(given)
        if token is None:
            return "ACCESS_TOKEN_TYPE_UNSUPPORTED"
        if token.expires <= self._now():
            return "ACCESS_TOKEN_EXPIRED"
        self.valid_until = token.expires
        return "" if token.scopes & FCM_SCOPES else "ACCESS_TOKEN_SCOPE_INSUFFICIENT"

    def _check_request(self, body: bytes) -> tuple[str, str, str]:
        """OAuth error and description, both empty for a valid request, and the requested scopes."""
        if self.error:
            return self.error, _DESCRIPTIONS.get(self.error, BAD_REQUEST), ""
        if len(body) > MAX_REQUEST:
            return "invalid_request", BAD_REQUEST, ""
        form = parse_qs(body.decode("utf-8", "replace"))
        grant_type = form.get("grant_type", [""])[-1]
        if grant_type != GRANT_TYPE:
            if not grant_type:
                return "invalid_request", BAD_REQUEST, ""
            return "unsupported_grant_type", f"Invalid grant_type: {grant_type:.100}", ""
        try:
            signed, header, claims, signature = _parts(form.get("assertion", [""])[-1])
        except (ValueError, TypeError):
            return "invalid_request", BAD_REQUEST, ""
        error, description = self._check_assertion(signed, header, claims, signature)
        return error, description, str(claims.get("scope", ""))

    def _check_assertion(
        self, signed: bytes, header: dict[str, Any], claims: dict[str, Any], signature: bytes
    ) -> tuple[str, str]:
        account = self.account
        if claims.get("iss") != account.client_email:
            return "invalid_grant", NO_ACCOUNT
        if header.get("alg") != "RS256" or header.get("kid", account.key_id) != account.key_id:
            return "invalid_grant", INVALID_SIGNATURE
        try:
            account.key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return "invalid_grant", INVALID_SIGNATURE
        if claims.get("aud") not in (self.token_uri, GOOGLES_URI):
            return "invalid_grant", WRONG_AUDIENCE
        if not self._are_valid_times(claims.get("iat"), claims.get("exp")):
            return "invalid_grant", WRONG_TIMES
        scope = claims.get("scope")
        if not isinstance(scope, str) or not scope.split() or not all(map(_is_scope, scope.split())):
            return "invalid_scope", INVALID_SCOPE
        return "", ""

    def _are_valid_times(self, issued: Any, expires: Any) -> bool:
        for moment in (issued, expires):
            if isinstance(moment, bool) or not isinstance(moment, int | float) or not math.isfinite(moment):
                return False
        now = self._now()
        return bool(
            0 < expires - issued <= MAX_ASSERTION_LIFETIME
            and issued - now <= CLOCK_TOLERANCE
            and now - expires < CLOCK_TOLERANCE
        )

    def _grant(self, scopes: str) -> Reply:
        token = self.issue(scope=scopes)
        expires_in = self.lifetime if self.says is None else self.says
        return json_reply(200, {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"})

    def _refusal(self, error: str, description: str) -> Reply:
        reply = json_reply(400, {"error": error, "error_description": description}, error)
        # From it a sender can tell that its clock is wrong.
        date = (b"date", formatdate(self._now(), usegmt=True).encode())
        return Reply(reply.status, (*reply.headers, date), reply.body, reply.reason)


def _is_scope(text: str) -> bool:
    return text in _OTHER_SCOPES or (text.startswith(_SCOPE_PREFIX) and text != _SCOPE_PREFIX)


def _parts(assertion: str) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes]:
    """The signed bytes, header, claims and signature of a JWT; a ValueError or TypeError when it is none."""
    head, claims, signature = assertion.encode("ascii").split(b".")
    return head + b"." + claims, _json(head), _json(claims), _base64(signature)


def _base64(part: bytes) -> bytes:
    """Decode base64 of either alphabet, padded or not: google-auth pads, and Google accepts that."""
    plain = part.rstrip(b"=").translate(_STANDARD)
    return b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


def _json(part: bytes) -> dict[str, Any]:
    value = orjson.loads(_base64(part))
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value
