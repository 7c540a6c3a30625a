"""A `Broadcast` becomes a request to a channel, or the `Result` that says why it cannot.

Source: "Sending broadcast push notification requests to APNs".
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from ..arguments import kind, shown
from ..http2.exchange import header_of
from ..http2.headers import Field, HeaderTemplate
from ..models.apns import LARGE_LIMIT, PUSH_TYPES, Broadcast
from ..models.aps import Aps
from ..results import Result, Verdict
from .request import ApnsRequestBuilder
from .values import TOPIC, InvalidPush, body_of, check_moments, expiration_of, rejection, uuid_of

PRIORITIES: Final = (1, 5, 10)
_CHANNEL_ID: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,512}", re.ASCII)  # base64 of any length, as Apple says
_FIELDS: Final[tuple[tuple[str, Any, str, str | None], ...]] = (
    ("channel_id", str, "a string", "BadChannelId"),
    ("payload", (dict, bytes, Aps), "a dict, JSON in bytes, or an Aps", None),
    ("topic", (str, type(None)), "a string", "BadTopic"),
    (
        "expiration",
        (int, datetime, timedelta),
        "UNIX seconds, a datetime or a timedelta",
        "BadExpirationDate",
    ),
    ("priority", int, "1, 5 or 10", "BadPriority"),
    ("request_id", (str, uuid.UUID, type(None)), "a string or a uuid.UUID", "BadMessageId"),
)
_SUFFIX: Final = PUSH_TYPES["liveactivity"].suffix


@dataclass(frozen=True, slots=True)
class BroadcastRequest:
    """A request without its template."""

    path: bytes
    body: bytes
    own_fields: tuple[Field, ...]


def template_for(authority: str) -> HeaderTemplate:
    """The common part of all broadcasts to one server."""
    return HeaderTemplate(
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b"apns-push-type", b"liveactivity"),
        ]
    )


def bundle_id_of(topic: str | None, requests: ApnsRequestBuilder) -> str:
    """The app of a broadcast or channel: `topic`, or the client's, without the suffix of Live Activities.

    Raises `InvalidPush` when there is none, it is no bundle id, or the client's key is for other topics.
    """
    if topic is None:
        topic = requests.topic
    if topic is None:
        raise InvalidPush(
            "MissingTopic", "neither the call nor the client has a topic", Verdict.MISCONFIGURED
        )
    if not isinstance(topic, str):
        raise InvalidPush("BadTopic", f"the topic must be a string, not {kind(topic)}")
    if not TOPIC.fullmatch(topic):
        raise InvalidPush("BadTopic", "the topic is not a bundle id")
    if not requests.takes(topic):
        raise InvalidPush(
            "TopicDisallowed", f"the key is not valid for the topic {topic}", Verdict.MISCONFIGURED
        )
    return topic.removesuffix(_SUFFIX)


def channel_field(channel_id: str) -> Field:
    """The header that names a channel. Raises `InvalidPush` when it is no channel id."""
    if not isinstance(channel_id, str):
        raise InvalidPush("BadChannelId", f"the channel id must be a string, not {kind(channel_id)}")
    if not _CHANNEL_ID.fullmatch(channel_id):
        raise InvalidPush("BadChannelId", "the channel id is not base64")
    return b"apns-channel-id", channel_id.encode()


def build(push: Broadcast, requests: ApnsRequestBuilder) -> BroadcastRequest | Result:
    """The request, or the INVALID (or MISCONFIGURED) result of a broadcast that cannot be sent."""
    try:
        return _build(push, requests)
    except Exception as error:
        return rejection(push, error, _FIELDS)


def _build(push: Broadcast, requests: ApnsRequestBuilder) -> BroadcastRequest:
    bundle_id = bundle_id_of(push.topic, requests)
    own_fields = [channel_field(push.channel_id)]
    expiration = expiration_of(push.expiration, requests.now)
    if type(push.priority) is not int or push.priority not in PRIORITIES:
        raise InvalidPush("BadPriority", f"the priority must be 1, 5 or 10, not {shown(push.priority)}")
    own_fields += [(b"apns-expiration", expiration), (b"apns-priority", b"%d" % push.priority)]
    if push.request_id is not None:
        own_fields.append((b"apns-request-id", uuid_of(push.request_id, "request_id")))
    body = body_of(push.payload)
    if len(body) > LARGE_LIMIT:
        raise InvalidPush("PayloadTooLarge", f"the payload has {len(body)} bytes, {LARGE_LIMIT} are allowed")
    if _event_of(body) == "start":
        raise InvalidPush(None, "a broadcast updates or ends a Live Activity; it cannot start one")
    check_moments(body)
    return BroadcastRequest(b"/4/broadcasts/apps/" + bundle_id.encode(), body, tuple(own_fields))


def _event_of(body: bytes) -> object:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidPush("BadRequestPayload", f"the payload is not JSON: {error}") from None
    aps = payload.get("aps")
    return aps.get("event") if isinstance(aps, dict) else None


def find_id(push: Broadcast, header_block: Any, name: str) -> str | None:
    """For `Result`: the request's own id, or that of the response."""
    if name == "id":
        return str(push.request_id) if push.request_id else header_of(header_block, b"apns-request-id")
    return header_of(header_block, b"apns-unique-id")
