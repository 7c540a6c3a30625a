"""The strict profile: one `StrictApns` judges the requests of one connection by `apns_rules`."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import orjson
from cryptography import x509

from fakeservers import fates
from fakeservers.apns_rules import (
    PATH,
    Fields,
    Sender,
    check_device,
    check_options,
    check_payload,
    check_priority,
    check_route,
    check_topic,
    is_canonical_id,
    payload_limit,
)
from fakeservers.certs import certificate_environments, certificate_topics
from fakeservers.faults import chance
from fakeservers.h2server import MAX_CONCURRENT_STREAMS, Answer, Header, Literal, Peer, Request
from fakeservers.provider_tokens import ProviderToken, ProviderTokens
from fakeservers.world import World

STREAMS = 1000
"""Concurrent streams once a client is known; Apple names no number, this one was seen most."""

CLOCK_TOLERANCE = 60.0
"""Seconds that `iat` may lie ahead of us; Apple publishes none, this is ours."""

CACHED_SENDS = 256
"""Combinations of authorization, topic, push type and priority that one connection remembers as good."""

REFUSED_STREAM, INTERNAL_ERROR = 7, 2
DAY_MS = 86_400_000

_OK = (b":status", b"200")
_JSON = (b"content-type", b"application/json")
_STATUS = {reason: (b":status", str(status).encode()) for reason, status in fates.STATUSES.items()}
_BODY = {reason: orjson.dumps({"reason": reason}) for reason in fates.STATUSES}


class Received:
    """One request and what was answered."""

    __slots__ = ("_fields", "_path", "body", "connection", "reason", "status", "time")

    def __init__(
        self,
        path: bytes,
        fields: Fields,
        body: bytes,
        status: int,
        reason: str,
        connection: int,
        time: float,
    ) -> None:
        self._path = path
        self._fields = fields
        self.body = body
        self.status = status
        """0 when there was no answer; then `reason` names the fate."""
        self.reason = reason
        """Apple's reason or the name of a fate; empty for an ordinary 200."""
        self.connection = connection
        """1 for the first connection that was accepted, and so on."""
        self.time = time
        """By the fake's clock, seconds."""

    @property
    def token(self) -> str:
        """The device token as it stood in the path, or the whole path when it held none."""
        return self._path.removeprefix(PATH).decode("latin-1")

    @property
    def headers(self) -> dict[str, str]:
        """Headers and pseudo-headers; of one that came twice, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._fields.items()}

    def __repr__(self) -> str:
        return f"Received({self.token!r}, status={self.status}, reason={self.reason!r}, connection={self.connection})"


@dataclass(slots=True)
class Book:
    """What the connections of one fake share."""

    world: World
    tokens: ProviderTokens
    now: Callable[[], float]
    token_max_age: float
    token_min_refresh: float
    received: deque[Received]
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)
    seed: int | None = None
    """Of the `apns-id`s that are given; None for chance."""

    def id_prefix(self, number: int) -> bytes:
        """The first half of each `apns-id` on the so many-th connection; the other half tells streams apart."""
        if self.seed is None:
            return str(uuid4())[:24].encode()
        digits = f"{chance.salt(self.seed, 'apns-id', number):016x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[13:16]}-".encode()


class StrictApns:
    """Checks every rule of Apple's on one connection; a `Handler` for `H2Server`."""

    def __init__(self, peer: Peer, book: Book, delay: float) -> None:
        self._peer = peer
        self._book = book
        self._delay = delay
        self._id_prefix = book.id_prefix(peer.number)
        self._sender: Sender | None = None
        self._team_topics: frozenset[str] | None = None  # bound at the first push
        self._refused = ""  # why nobody may push by this connection's certificate
        self._first: ProviderToken | None = None
        self._token: ProviderToken | None = None
        self._token_since = 0.0
        # Header values that passed every check on them -> (good until, payload limit)
        self._good: dict[tuple[bytes | None, ...], tuple[float, int]] = {}
        self._last_stable: tuple[bytes | None, ...] = ()
        self._last_good: tuple[float, int] | None = None
        self._changes = book.world.changes
        self._last_stream: int | None = None  # after GOAWAY
        der = peer.certificate
        if der is not None:
            self._know(x509.load_der_x509_certificate(der))
            peer.settings[MAX_CONCURRENT_STREAMS] = STREAMS

    def __call__(self, requests: list[Request]) -> Sequence[Answer]:
        book, world = self._book, self._book.world
        received, connection = book.received, self._peer.id
        prefix = self._id_prefix  # with the stream id: never given twice
        keep = received.maxlen != 0
        now = book.now()
        if world.changes != self._changes:
            self._changes = world.changes
            self._forget_good()
        answers: list[Answer] = []
        accepted = 0
        for stream_id, headers, body in requests:
            if self._last_stream is not None and stream_id > self._last_stream:
                break  # behind our own GOAWAY
            fields = dict(headers)
            path = fields.get(b":path", b"")
            since: int | None = None
            reason = self._check(headers, fields, path, body, now)
            token = path[len(PATH) :]
            if not reason:
                reason, since = check_device(token, fields.get(b"apns-topic"), world)
            given = fields.get(b"apns-id")
            apns_id = given if given and is_canonical_id(given) else b"%s%012x" % (prefix, stream_id)
            if not reason:
                accepted += 1
                answers.append((stream_id, (_OK, Literal(b"apns-id", apns_id)), b""))
                if keep:
                    received.append(Received(path, fields, body, 200, "", connection, now))
                continue
            status = fates.STATUSES.get(reason)
            if status is not None:
                answers.append(_rejection(stream_id, reason, apns_id, since, now))
            else:
                answer: Answer = (stream_id, (_OK, Literal(b"apns-id", apns_id)), b"")
                status = self._meet(reason, answer, token, answers)
            book.counts[status, reason] += 1
            if keep:
                received.append(Received(path, fields, body, status, reason, connection, now))
        if accepted:
            book.counts[200, ""] += accepted
        return answers

    def _check(self, headers: Sequence[Header], fields: Fields, path: bytes, body: bytes, now: float) -> str:
        """Every rule but the device's, in order."""
        if len(fields) != len(headers):
            return "DuplicateHeaders"
        get = fields.get
        stable = (
            get(b"authorization"),
            get(b"apns-topic"),
            get(b"apns-push-type"),
            get(b"apns-priority"),
            get(b":method"),
        )
        # Most pushes are like the one before: comparing with that is cheaper than hashing a token of 200 bytes.
        good = self._last_good if stable == self._last_stable else self._good.get(stable)
        if good is None or now > good[0] or len(path) <= len(PATH) or not path.startswith(PATH):
            reason = (
                check_route(fields.get(b":method"), path)
                or self._check_sender(fields.get(b"authorization"), now)
                or self._check_stable(fields)
            )
            if reason:
                return reason
            good = self._remember(stable, fields)
        self._last_stable, self._last_good = stable, good
        return check_options(fields) or check_payload(body, good[1])

    def _check_stable(self, fields: Fields) -> str:
        assert self._sender is not None
        return check_topic(fields, self._sender) or check_priority(fields)

    def _remember(self, stable: tuple[bytes | None, ...], fields: Fields) -> tuple[float, int]:
        expires = self._token.issued + self._book.token_max_age if self._token else float("inf")
        if len(self._good) >= CACHED_SENDS:
            self._good.clear()
        good = self._good[stable] = (expires, payload_limit(fields))
        return good

    def _forget_good(self) -> None:
        self._good.clear()
        self._last_stable = ()

    def _know(self, certificate: x509.Certificate) -> None:
        """Take the client for what its certificate says; TLS has checked that it is our CA's."""
        topics = certificate_topics(certificate)
        environment = self._book.world.environment
        if not topics:
            self._refused = "BadCertificate"
        elif environment is not None and environment not in certificate_environments(certificate):
            self._refused = "BadCertificateEnvironment"
        self._sender = Sender(topics, by_certificate=True)

    def _check_sender(self, authorization: bytes | None, now: float) -> str:
        """Certificate or provider token (P-TOK). The first good token opens the other streams."""
        if self._sender is not None and self._sender.by_certificate:
            return self._refused
        if authorization is None:
            return "MissingProviderToken"
        book = self._book
        try:
            token = book.tokens.read(authorization)
        except LookupError:
            return "MissingProviderToken"
        if token is None or token.issued - now > CLOCK_TOLERANCE:
            return "InvalidProviderToken"
        if now - token.issued > book.token_max_age:
            return "ExpiredProviderToken"
        if book.world.environment is not None and token.key.environment not in (None, book.world.environment):
            return "BadEnvironmentKeyIdInToken"
        if self._first is not None and not token.key.may_follow(self._first.key):
            return "UnrelatedKeyIdInToken"
        if self._token is not None and token.text == self._token.text:
            return ""
        if self._token is not None and now - self._token_since < book.token_min_refresh:
            return "TooManyProviderTokenUpdates"
        if self._first is None:
            self._first = token
            self._peer.update_settings({MAX_CONCURRENT_STREAMS: STREAMS})
        self._token, self._token_since = token, now
        if self._team_topics is None:
            self._team_topics = frozenset(book.world.topics(token.key.team_id))
        self._sender = Sender(self._team_topics if token.key.topics is None else token.key.topics)
        self._forget_good()
        return ""

    def _meet(self, fate: str, answer: Answer, token: bytes, answers: list[Answer]) -> int:
        """Let a fate that is no answer of Apple's happen; the status that the client will see, 0 for none."""
        peer, stream_id = self._peer, answer[0]
        if fate == fates.GOAWAY:
            answers.append(answer)
            self._say_goodbye(stream_id)
            return 200
        if fate == fates.SLOW:
            peer.after(self._delay + fates.milliseconds_of(token) / 1000, [answer])
            return 200
        if fate == fates.STALL:
            peer.forget(stream_id)
        elif fate == fates.REFUSED_STREAM:
            peer.reset(stream_id, REFUSED_STREAM)
        elif fate == fates.INTERNAL_RESET:
            peer.reset(stream_id, INTERNAL_ERROR)
        elif fate == fates.GOAWAY_BEFORE:
            self._say_goodbye(max(stream_id - 2, 0))
        elif fate == fates.CUT:
            self._last_stream = 0
            peer.abort()
        return 0

    def _say_goodbye(self, last_stream: int) -> None:
        self._last_stream = last_stream
        self._peer.goaway(last_stream_id=last_stream, debug=_BODY["Shutdown"])


def _rejection(stream_id: int, reason: str, apns_id: bytes, since: int | None, now: float) -> Answer:
    body = _BODY[reason]
    if fates.STATUSES[reason] == 410:
        # A fated token has no history: Apple learnt of it a day ago.
        timestamp = int(now * 1000) - DAY_MS if since is None else since
        body = orjson.dumps({"reason": reason, "timestamp": timestamp})
    return stream_id, (_STATUS[reason], _JSON, Literal(b"apns-id", apns_id)), body
