"""Authentication of one connection to APNs: a client certificate, or provider tokens and the rules for their updates."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from fakeservers.apns.asserted import CERTIFICATE, KEY, PROVIDER_TOKEN
from fakeservers.apns.provider_tokens import VerifiedToken
from fakeservers.apns.rules import Sender
from fakeservers.apns.state import ApnsState
from fakeservers.certs import certificate_environments, certificate_topics
from fakeservers.records import remember
from fakeservers.serving.h2peer import Nghttp2Connection
from fakeservers.serving.types import MAX_CONCURRENT_STREAMS

STREAMS = 1000
"""Concurrent streams of an authenticated client; Apple documents no number, this one was seen most."""

CLOCK_TOLERANCE = 60.0
"""Seconds that `iat` may be in the future; Apple publishes no number; this one is assumed."""


@dataclass(slots=True)
class _Use:
    """The tokens of one key on a connection."""

    token: VerifiedToken
    since: float
    sender: Sender


class Authentication:
    """Checks the certificate and the provider tokens of one connection.

    Made before the connection's SETTINGS are sent: a certificate gets all streams at once, a token with its first valid
    request.
    """

    def __init__(self, peer: Nghttp2Connection, state: ApnsState) -> None:
        self._peer = peer
        self._state = state
        self._refused = ""  # the reason against this connection's certificate
        self._uses: dict[str, _Use] = {}  # by key id, the connection's first key first
        self._wedged = False  # after an expired token
        self._unrelated: set[str] = set()  # key ids that an injected response has named
        self._team_topics: frozenset[str] | None = None  # set at the first push
        self.sender = Sender(frozenset())
        """The sender of the request, once `check` has returned no reason."""
        self.token: VerifiedToken | None = None
        """The provider token of the same request; None with a certificate."""
        der = peer.certificate
        if der is not None:
            self._accept_certificate(x509.load_der_x509_certificate(der))
            peer.settings[MAX_CONCURRENT_STREAMS] = STREAMS

    def _accept_certificate(self, certificate: x509.Certificate) -> None:
        """Authenticate the client by its certificate; TLS has verified that our CA issued it."""
        topics = certificate_topics(certificate)
        environment = self._state.registry.environment
        if not topics:
            self._refused = "BadCertificate"
        elif environment is not None and environment not in certificate_environments(certificate):
            self._refused = "BadCertificateEnvironment"
        self.sender = Sender(topics, by_certificate=True)

    def check(self, authorization: bytes | None, now: float) -> str:
        """Apple's reason against this request's sender, empty for none (P-TOK)."""
        if self.sender.by_certificate:
            return self._refused
        if self._wedged:
            return "ExpiredProviderToken"
        if authorization is None:
            return "MissingProviderToken"
        state = self._state
        try:
            token = state.tokens.read(authorization)
        except LookupError:
            return "MissingProviderToken"
        if token is None or token.issued - now > CLOCK_TOLERANCE:
            return "InvalidProviderToken"
        if now - token.issued > state.token_max_age:
            self.wedge()
            return "ExpiredProviderToken"
        asserted = self._asserted(token)
        if asserted:
            return asserted
        environment = state.registry.environment
        if environment is not None and token.key.environment not in (None, environment):
            return "BadEnvironmentKeyInToken"  # Apple's table says BadEnvironmentKeyIdInToken, APNs this
        first = next(iter(self._uses.values()), None)
        if first is not None and not token.key.may_follow(first.token.key):
            return "UnrelatedKeyIdInToken"
        use = self._uses.get(token.key.key_id)
        if use is None or use.token.text != token.text:
            if use is not None and now - use.since < state.token_min_refresh:
                return "TooManyProviderTokenUpdates"
            if first is None:
                self._team_topics = frozenset(state.registry.topics(token.key.team_id))
                if self._peer.settings.get(MAX_CONCURRENT_STREAMS) != STREAMS:
                    self._peer.update_settings({MAX_CONCURRENT_STREAMS: STREAMS})
            use = self._uses[token.key.key_id] = _Use(token, now, self._sender_of(token))
        self.sender, self.token = use.sender, use.token
        return ""

    def wedge(self) -> None:
        """Accept no more tokens: after an expired one APNs does not recover until the connection is closed."""
        if not self._wedged:
            self._wedged, self.token = True, None
            self._uses.clear()
            self._peer.update_settings({MAX_CONCURRENT_STREAMS: 1})

    def forget_token(self, authorization: bytes | None) -> None:
        """Forget that a request's token was accepted, so that the next one does not count as its update."""
        token = self._read(authorization)
        if token is not None:
            self._uses.pop(token.key.key_id, None)
        self.token = None

    def assert_reason(self, reason: str, authorization: bytes | None) -> None:
        """Let later responses agree with an injected one about this connection's sender."""
        asserted, token = self._state.asserted, self._read(authorization)
        if self.sender.by_certificate:
            if reason in CERTIFICATE:
                self._refused = reason
            return
        if reason in PROVIDER_TOKEN and token is not None:
            remember(asserted.tokens, token.text, reason)
        elif reason in KEY and token is not None:
            remember(asserted.keys, token.key.key_id, reason)
        elif reason == "UnrelatedKeyIdInToken" and token is not None:
            self._unrelated.add(token.key.key_id)
        if reason == "ExpiredProviderToken":
            self.wedge()
        elif reason in PROVIDER_TOKEN | KEY or reason == "MissingProviderToken":
            self.forget_token(authorization)

    def _asserted(self, token: VerifiedToken) -> str:
        """The reason that injected responses have given against this token; empty for none."""
        asserted = self._state.asserted
        reason = asserted.tokens.get(token.text) or asserted.keys.get(token.key.key_id, "")
        if reason == "ExpiredProviderToken":
            self.wedge()
        if not reason and token.key.key_id in self._unrelated:
            return "UnrelatedKeyIdInToken"
        return reason

    def _read(self, authorization: bytes | None) -> VerifiedToken | None:
        try:
            return self._state.tokens.read(authorization or b"")
        except LookupError:
            return None

    def _sender_of(self, token: VerifiedToken) -> Sender:
        topics = token.key.topics
        assert self._team_topics is not None
        return Sender(self._team_topics if topics is None else topics)
