"""The strict profile: one `StrictApns` checks the requests of one connection by `rules`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import orjson

from fakeservers.apns import fates
from fakeservers.apns.asserted import PROVIDER_TOKEN
from fakeservers.apns.authentication import Authentication
from fakeservers.apns.channel_api import BROADCASTS, BroadcastApi
from fakeservers.apns.provider_tokens import VerifiedToken
from fakeservers.apns.rules import (
    PATH,
    Fields,
    check_device,
    check_options,
    check_payload,
    check_priority,
    check_route,
    check_topic,
    payload_limit,
)
from fakeservers.apns.state import ApnsRecord as ApnsRecord
from fakeservers.apns.state import ApnsState
from fakeservers.faults.inject import path_of
from fakeservers.records import Outcome
from fakeservers.responses.apns import STATUSES, is_canonical_id
from fakeservers.serving.h2peer import Literal, Nghttp2Connection
from fakeservers.serving.types import INTERNAL_ERROR, REFUSED_STREAM, Answer, Header, Request

CACHED_SENDS = 256
"""Combinations of authorization, topic, push type and priority that one connection remembers as valid."""

DAY_MS = 86_400_000

_literal = partial(tuple.__new__, Literal)
"""`Literal`, but without a frame of Python for each response."""

_OK = (b":status", b"200")
_JSON = (b"content-type", b"application/json")
_STATUS = {reason: (b":status", str(status).encode()) for reason, status in STATUSES.items()}
_BODY = {reason: orjson.dumps({"reason": reason}) for reason in STATUSES}


class StrictApns:
    """Checks every rule of Apple's on one connection; a `Handler` for `H2Server`."""

    def __init__(self, peer: Nghttp2Connection, state: ApnsState, delay: float) -> None:
        self._peer = peer
        self._state = state
        self._delay = delay
        self._id_prefix = state.id_prefix(peer.number)
        sandbox = state.registry.environment == "sandbox"
        self._unique_prefix = state.id_prefix(peer.number, "apns-unique-id") if sandbox else b""
        self.authentication = Authentication(peer, state)
        self._broadcasts = BroadcastApi(peer, state, self.authentication)
        self._token: VerifiedToken | None = None
        # Header values that passed every check -> (valid until, payload limit)
        self._good: dict[tuple[bytes | None, ...], tuple[float, int]] = {}
        self._last_stable: tuple[bytes | None, ...] = ()
        self._last_good: tuple[float, int] | None = None
        self._good_body: bytes | None = None  # most often one payload goes to many devices
        self._changes = state.registry.changes
        self._last_stream: int | None = None  # after GOAWAY
        self._cut = False

    def __call__(self, requests: list[Request]) -> Sequence[Answer]:
        state, registry = self._state, self._state.registry
        prefix = self._id_prefix  # with the stream id: never given twice
        pushes, devices = state.pushes, state.asserted.devices
        now = state.now()
        if registry.changes != self._changes:
            self._changes = registry.changes
            self._forget_verified()
        answers: list[Answer] = []
        outcomes: dict[int, Outcome] = {}
        for number, (stream_id, headers, body) in enumerate(requests):
            if self._last_stream is not None and stream_id > self._last_stream:
                late = [
                    request for request in requests[number:] if not path_of(request).startswith(BROADCASTS)
                ]
                pushes.leave(len(late), told=not self._cut)
                requests = requests[:number]  # after our own GOAWAY, or after a cut
                break
            fields = dict(headers)
            get = fields.get
            path = get(b":path", b"")
            since: int | None = None
            reason = self._check(headers, fields, path, body, now)
            token = path[len(PATH) :]
            if not reason:
                asserted = devices.get(token.lower()) if devices else None
                reason, since = asserted or check_device(token, get(b"apns-topic"), registry)
                if reason and (reason in PROVIDER_TOKEN or reason == "MissingProviderToken"):
                    self._allow_new_token(fields)
            given = get(b"apns-id")
            apns_id = given if given and is_canonical_id(given) else b"%s%012X" % (prefix, stream_id)
            if not reason:
                answers.append((stream_id, self._ok(apns_id, stream_id), b""))
                continue
            if path.startswith(BROADCASTS):
                answers.append(self._broadcasts.answer(stream_id, fields, body))
                self._follow_token()
                outcomes[stream_id] = None  # recorded there
                continue
            status = STATUSES.get(reason)
            if status is not None:
                answers.append(_rejection(stream_id, reason, apns_id, since, now))
            else:
                answer: Answer = (stream_id, self._ok(apns_id, stream_id), b"")
                status = self._apply_fate(reason, answer, token, answers)
            state.counts[status, reason] += 1
            pushes.count(status, unprocessed=reason in fates.UNPROCESSED)
            outcomes[stream_id] = status, reason
        if len(requests) > len(outcomes):
            state.counts[200, ""] += len(requests) - len(outcomes)
            pushes.accept(len(requests) - len(outcomes))
        if state.received.maxlen != 0:
            state.received.add(requests, outcomes, self._peer.id, now)
        return answers

    def _ok(self, apns_id: bytes, stream_id: int) -> Sequence[Header]:
        if not self._unique_prefix:
            return _OK, _literal((b"apns-id", apns_id))
        unique_id = b"%s%012X" % (self._unique_prefix, stream_id)
        return _OK, Literal(b"apns-id", apns_id), Literal(b"apns-unique-id", unique_id)

    def _check(self, headers: Sequence[Header], fields: Fields, path: bytes, body: bytes, now: float) -> str:
        """Check all rules but the device's, in order."""
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
                or self.authentication.check(fields.get(b"authorization"), now)
                or self._check_stable(fields)
            )
            self._follow_token()
            if reason:
                return reason
            good = self._remember(stable, fields)
        self._last_stable, self._last_good = stable, good
        reason = check_options(fields)
        if not reason and (body != self._good_body or len(body) > good[1]):
            reason = check_payload(body, good[1])
            if not reason:
                self._good_body = body
        return reason

    def _check_stable(self, fields: Fields) -> str:
        return (
            self._state.asserted.topics.get(fields.get(b"apns-topic", b""), "")
            or check_topic(fields, self.authentication.sender)
            or check_priority(fields)
        )

    def _remember(self, stable: tuple[bytes | None, ...], fields: Fields) -> tuple[float, int]:
        expires = self._token.issued + self._state.token_max_age if self._token else float("inf")
        if len(self._good) >= CACHED_SENDS:
            self._good.clear()
        good = self._good[stable] = (expires, payload_limit(fields))
        return good

    def _follow_token(self) -> None:
        if self.authentication.token is not self._token:
            self._token = self.authentication.token
            self._forget_verified()

    def _allow_new_token(self, fields: Fields) -> None:
        """After the reason of a fated token: it concerns that push alone, but the sender may react with a new provider token."""
        self.authentication.forget_token(fields.get(b"authorization"))
        self._follow_token()

    def assert_reason(self, reason: str, fields: Fields) -> None:
        """Let later responses on this connection agree with an injected one."""
        self.authentication.assert_reason(reason, fields.get(b"authorization"))
        self._follow_token()

    def _forget_verified(self) -> None:
        self._good.clear()
        self._last_stable = ()

    def _apply_fate(self, fate: str, answer: Answer, token: bytes, answers: list[Answer]) -> int:
        """Apply a fate that is not a reason of Apple's. Returns the status that the client gets, 0 for none."""
        peer, stream_id = self._peer, answer[0]
        if fate == fates.GOAWAY:
            answers.append(answer)
            self._send_goaway(stream_id)
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
            self._send_goaway(max(stream_id - 2, 0))
        elif fate == fates.CUT:
            self._last_stream, self._cut = 0, True
            peer.abort()
        return 0

    def _send_goaway(self, last_stream: int) -> None:
        self._last_stream = last_stream
        self._peer.goaway(last_stream_id=last_stream, debug=_BODY["Shutdown"])


def _rejection(stream_id: int, reason: str, apns_id: bytes, since: int | None, now: float) -> Answer:
    body = _BODY[reason]
    if STATUSES[reason] == 410:
        # A fated token has no history: it became invalid a day ago.
        timestamp = int(now * 1000) - DAY_MS if since is None else since
        body = orjson.dumps({"reason": reason, "timestamp": timestamp})
    return stream_id, (_STATUS[reason], _JSON, Literal(b"apns-id", apns_id)), body
