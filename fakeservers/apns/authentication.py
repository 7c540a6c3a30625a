"""Who speaks on one connection to APNs: a client certificate, or provider tokens and how they may follow one another."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from fakeservers.apns.provider_tokens import VerifiedToken
from fakeservers.apns.rules import Sender
from fakeservers.apns.state import ApnsState
from fakeservers.certs import certificate_environments, certificate_topics
from fakeservers.serving.h2peer import Nghttp2Connection
from fakeservers.serving.types import MAX_CONCURRENT_STREAMS

STREAMS = 1000
"""Concurrent streams once a client is known; Apple names no number, this one was seen most."""

CLOCK_TOLERANCE = 60.0
"""Seconds that `iat` may lie ahead of us; Apple publishes none, this is ours."""


@dataclass(slots=True)
class _Use:
    """What a connection has seen of one key."""

    token: VerifiedToken
    since: float
    sender: Sender


class Authentication:
    """Judges the certificate and the provider tokens of one connection.

    Made before the connection's SETTINGS leave: a certificate gets all its streams at once, a token with its first
    request that is in order.
    """

    def __init__(self, peer: Nghttp2Connection, state: ApnsState) -> None:
        self._peer = peer
        self._state = state
        self._refused = ""  # why nobody may push by this connection's certificate
        self._uses: dict[str, _Use] = {}  # by key id, the connection's first key in front
        self._team_topics: frozenset[str] | None = None  # bound at the first push
        self.sender = Sender(frozenset())
        """Whose request it is, once `check` has found nothing wrong."""
        self.token: VerifiedToken | None = None
        """The one of the same request; None with a certificate."""
        der = peer.certificate
        if der is not None:
            self._know(x509.load_der_x509_certificate(der))
            peer.settings[MAX_CONCURRENT_STREAMS] = STREAMS

    def _know(self, certificate: x509.Certificate) -> None:
        """Take the client for what its certificate says; TLS has checked that it is our CA's."""
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
            return "ExpiredProviderToken"
        environment = state.registry.environment
        if environment is not None and token.key.environment not in (None, environment):
            return "BadEnvironmentKeyIdInToken"
        first = next(iter(self._uses.values()), None)
        if first is not None and not token.key.may_follow(first.token.key):
            return "UnrelatedKeyIdInToken"
        use = self._uses.get(token.key.key_id)
        if use is None or use.token.text != token.text:
            if use is not None and now - use.since < state.token_min_refresh:
                return "TooManyProviderTokenUpdates"
            if first is None:
                self._team_topics = frozenset(state.registry.topics(token.key.team_id))
                self._peer.update_settings({MAX_CONCURRENT_STREAMS: STREAMS})
            use = self._uses[token.key.key_id] = _Use(token, now, self._sender_of(token))
        self.sender, self.token = use.sender, use.token
        return ""

    def _sender_of(self, token: VerifiedToken) -> Sender:
        topics = token.key.topics
        assert self._team_topics is not None
        return Sender(self._team_topics if topics is None else topics)
