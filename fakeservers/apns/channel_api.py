"""APNs' broadcasts: `/1/apps/…` manages channels, on a port of its own, and `/4/broadcasts/apps/…` sends to them.

The rules are Apple's (P-CHAN, P-BSEND, P-CERR in reference/apns.md); which of two broken ones is reported is our choice,
as in `rules`; docs/reference/fakeservers.md shows the order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from fakeservers.apns.authentication import Authentication
from fakeservers.apns.channels import POLICIES, is_channel_id
from fakeservers.apns.rules import MAX_EXPIRATION_DIGITS, SUFFIXES, Fields, Sender
from fakeservers.apns.state import ApnsState
from fakeservers.faults import chance
from fakeservers.responses.apns import is_canonical_id
from fakeservers.serving.h2peer import Literal, Nghttp2Connection
from fakeservers.serving.types import Answer, Header, Request

STATUSES = {
    "BadChannelId": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadRequestParams": 400,
    "BadRequestPayload": 400,
    "CannotCreateChannelConfig": 400,
    "ChannelNotRegistered": 400,
    "FeatureNotEnabled": 400,
    "InvalidPushType": 400,
    "MissingChannelId": 400,
    "MissingChannelQueueSize": 400,
    "MissingPushType": 400,
    "PayloadEmpty": 400,
    "TopicDisallowed": 400,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "BadEnvironmentKeyInToken": 403,
    "ExpiredProviderToken": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "TopicMismatch": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
}
"""The reasons of this API, from Apple's table for channels and broadcasts. MissingChannelQueueSize is in no table:
it was seen for a storage policy that is absent or unknown. The two of scoped keys are from the table for devices."""

BROADCASTS = b"/4/broadcasts/apps/"
MAX_PAYLOAD = 5120

_ROUTE = re.compile(rb"/1/apps/([A-Za-z0-9._-]{1,255})/(all-)?channels")
_BUNDLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,255}")
_PARAMETERS = {"message-storage-policy", "push-type"}
_SUFFIXES = tuple(filter(None, SUFFIXES.values()))


class ChannelApi:
    """Answers the requests of one connection to the management port; a `Handler` for `H2Server`."""

    def __init__(self, peer: Nghttp2Connection, state: ApnsState) -> None:
        self._peer = peer
        self._state = state
        self.authentication = Authentication(peer, state)

    def assert_reason(self, reason: str, fields: Fields) -> None:
        """Let later responses on this connection agree with an injected one."""
        self.authentication.assert_reason(reason, fields.get(b"authorization"))

    def __call__(self, requests: list[Request]) -> Sequence[Answer]:
        return [self._answer(stream_id, dict(headers), body) for stream_id, headers, body in requests]

    def _answer(self, stream_id: int, fields: Fields, body: bytes) -> Answer:
        path, method = fields.get(b":path", b""), fields.get(b":method")
        route = _ROUTE.fullmatch(path)
        reason = "BadPath" if route is None else ""
        if route is not None:
            lists = route[2] is not None
            if method not in ((b"GET",) if lists else (b"POST", b"GET", b"DELETE")):
                reason = "MethodNotAllowed"
            bundle_id = route[1].decode()
            reason = reason or _check_sender(self.authentication, self._state, fields, bundle_id)
            if not reason and lists:
                return self._list(stream_id, fields, body, bundle_id)
            if not reason and method == b"POST":
                reason = check_creation(body)
                if not reason:
                    return self._create(stream_id, fields, body, bundle_id)
            elif not reason:
                reason = _check_channel(self._state, fields, bundle_id)
                if not reason:
                    return self._read_or_delete(stream_id, fields, body, bundle_id)
        return _reply(self._peer, self._state, stream_id, fields, body, STATUSES[reason], reason)

    def _list(self, stream_id: int, fields: Fields, body: bytes, bundle_id: str) -> Answer:
        content = orjson.dumps({"channels": list(self._state.registry.channels.of(bundle_id))})
        return _reply(self._peer, self._state, stream_id, fields, body, 200, content=content)

    def _create(self, stream_id: int, fields: Fields, body: bytes, bundle_id: str) -> Answer:
        state, number = self._state, self._peer.number
        random = None
        if state.seed is not None:
            halves = (chance.salt(state.seed, "channel", number, stream_id, half) for half in (1, 2))
            random = b"".join(half.to_bytes(8, "big") for half in halves)
        try:
            made = state.registry.channels.create(
                bundle_id, orjson.loads(body)["message-storage-policy"], random
            )
        except OverflowError:
            reason = "CannotCreateChannelConfig"
            return _reply(self._peer, state, stream_id, fields, body, STATUSES[reason], reason)
        channel = (Literal(b"apns-channel-id", made.encode()),)
        return _reply(self._peer, state, stream_id, fields, body, 201, more=channel)

    def _read_or_delete(self, stream_id: int, fields: Fields, body: bytes, bundle_id: str) -> Answer:
        channels, channel_id = self._state.registry.channels, fields[b"apns-channel-id"].decode()
        if fields[b":method"] == b"DELETE":
            channels.remove(bundle_id, channel_id)
            return _reply(self._peer, self._state, stream_id, fields, body, 204)
        channel = {
            "message-storage-policy": channels.policy(bundle_id, channel_id),
            "push-type": "LiveActivity",
        }
        return _reply(self._peer, self._state, stream_id, fields, body, 200, content=orjson.dumps(channel))


class BroadcastApi:
    """Answers the broadcasts among the requests of one connection to the ordinary port."""

    def __init__(self, peer: Nghttp2Connection, state: ApnsState, authentication: Authentication) -> None:
        self._peer = peer
        self._state = state
        self._authentication = authentication

    def answer(self, stream_id: int, fields: Fields, body: bytes) -> Answer:
        """The answer to a request whose path begins with `BROADCASTS`."""
        reason = self._check(fields, body)
        return _reply(
            self._peer, self._state, stream_id, fields, body, STATUSES[reason] if reason else 200, reason
        )

    def _check(self, fields: Fields, body: bytes) -> str:
        name = fields[b":path"][len(BROADCASTS) :]
        if _BUNDLE_ID.fullmatch(name) is None:
            return "BadPath"
        if fields.get(b":method") != b"POST":
            return "MethodNotAllowed"
        state, bundle_id = self._state, name.decode()
        reason = _check_sender(self._authentication, state, fields, bundle_id)
        reason = reason or _check_channel(state, fields, bundle_id)
        if reason:
            return reason
        policy = state.registry.channels.policy(bundle_id, fields[b"apns-channel-id"].decode())
        return check_broadcast(fields, body, stores=policy == 1)


def check_bundle_id(bundle_id: str, sender: Sender) -> str:
    """Check that the app in the path is the sender's; a suffix of a push type is not allowed."""
    if bundle_id.endswith(_SUFFIXES):
        plain = next(bundle_id.removesuffix(suffix) for suffix in _SUFFIXES if bundle_id.endswith(suffix))
        if plain in sender.topics:
            return "TopicDisallowed"
    return "" if bundle_id in sender.topics else "TopicMismatch"


def check_creation(body: bytes) -> str:
    """Check the body of a request for a new channel."""
    if not body:
        return "PayloadEmpty"
    if len(body) > MAX_PAYLOAD:
        return "PayloadTooLarge"
    parameters = _object(body)
    if parameters is None:
        return "BadRequestPayload"
    if not parameters.keys() <= _PARAMETERS:
        return "BadRequestParams"
    if "push-type" not in parameters:
        return "MissingPushType"
    if parameters["push-type"] != "LiveActivity":
        return "InvalidPushType"
    policy = parameters.get("message-storage-policy")
    return "" if type(policy) is int and policy in POLICIES else "MissingChannelQueueSize"


def check_broadcast(fields: Fields, body: bytes, *, stores: bool) -> str:
    """Check a broadcast. `stores`: whether the channel stores its newest message."""
    push_type = fields.get(b"apns-push-type")
    if push_type is None:
        return "MissingPushType"
    if push_type != b"liveactivity":
        return "InvalidPushType"
    expiration = fields.get(b"apns-expiration", b"")
    if not expiration.isdigit() or len(expiration) > MAX_EXPIRATION_DIGITS:
        return "BadExpirationDate"
    if int(expiration) and not stores:
        return "BadExpirationDate"
    if fields.get(b"apns-priority") not in (b"10", b"5", b"1"):
        return "BadPriority"
    if not body:
        return "PayloadEmpty"
    if len(body) > MAX_PAYLOAD:
        return "PayloadTooLarge"
    return "BadRequestPayload" if _object(body) is None else ""


def _check_sender(authentication: Authentication, state: ApnsState, fields: Fields, bundle_id: str) -> str:
    """Check the sender, the app, and the request's own id."""
    reason = authentication.check(fields.get(b"authorization"), state.now())
    if reason:
        return reason
    reason = check_bundle_id(bundle_id, authentication.sender)
    if reason:
        return reason
    if bundle_id in state.registry.channels.disabled:
        return "FeatureNotEnabled"
    given = fields.get(b"apns-request-id")
    return "BadMessageId" if given is not None and is_canonical_id(given) is None else ""


def _check_channel(state: ApnsState, fields: Fields, bundle_id: str) -> str:
    header = fields.get(b"apns-channel-id")
    if header is None:
        return "MissingChannelId"
    channel_id = header.decode("latin-1")
    if not is_channel_id(channel_id):
        return "BadChannelId"
    return "" if state.registry.channels.policy(bundle_id, channel_id) is not None else "ChannelNotRegistered"


def _reply(
    peer: Nghttp2Connection,
    state: ApnsState,
    stream_id: int,
    fields: Fields,
    body: bytes,
    status: int,
    reason: str = "",
    *,
    content: bytes = b"",
    more: Sequence[Header] = (),
) -> Answer:
    """Make and record the response. It repeats the request's id, or has a new one."""
    state.note(fields.get(b":path", b""), fields, body, status, reason, peer.id)
    given = fields.get(b"apns-request-id")
    if not given or not is_canonical_id(given):
        given = b"%s%012X" % (state.id_prefix(peer.number, "apns-request-id"), stream_id)
    if reason:
        content = orjson.dumps({"reason": reason})
    kind: Sequence[Header] = ((b"content-type", b"application/json"),) if content else ()
    headers = ((b":status", b"%d" % status), *kind, *more, Literal(b"apns-request-id", given))
    return stream_id, headers, content


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
