"""Apple's rules for `POST /3/device/<token>`, in the order in which this fake applies them.

The rules are Apple's (the pages are named as in reference/apns.md); Apple does not document
which of two broken ones is reported, so this order is a choice of the fake, and docs/reference/fakeservers.md shows it. Each function returns
Apple's reason, or an empty string when its rule holds.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from dataclasses import dataclass

import orjson

from fakeservers.apns.fates import fate_of
from fakeservers.apns.registry import ApnsRegistry
from fakeservers.responses.apns import is_canonical_id

SUFFIXES = {
    b"alert": "",
    b"background": "",
    b"location": ".location-query",
    b"voip": ".voip",
    b"complication": ".complication",
    b"fileprovider": ".pushkit.fileprovider",
    b"mdm": "",
    b"liveactivity": ".push-type.liveactivity",
    b"pushtotalk": ".voip-ptt",
    b"widgets": ".push-type.widgets",
    b"controls": ".push-type.controls",
    b"accessory": ".push-type.accessory",
}
"""Suffix of the bundle id in `apns-topic`, by push type (P-SEND)."""

LISTED = frozenset({".voip", ".complication"})
"""Suffixes of topics that a certificate must list completely, in its extension .6.3.6 (P-SEND)."""

MAX_PAYLOAD = 4096
MAX_VOIP_PAYLOAD = 5120
UNDOCUMENTED = 8192
"""Bytes for `accessory`, whose limit and priorities Apple does not document: the most that a fake stores of a body."""
MAX_COLLAPSE_ID = 64
MAX_EXPIRATION_DIGITS = 12
"""Digits of UNIX seconds that are accepted: 12 reach the year 33658."""

PATH = b"/3/device/"

_TOPIC = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*")

Fields = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Sender:
    """The authenticated sender of a connection."""

    topics: frozenset[str]
    """Bundle ids at the time of the connection's first push: later additions need a new connection (P-TOK)."""
    by_certificate: bool = False


def check_route(method: bytes | None, path: bytes) -> str:
    """Check method and path."""
    if not path.startswith(PATH):
        return "MissingDeviceToken" if path == PATH[:-1] else "BadPath"
    if method != b"POST":
        return "MethodNotAllowed"
    return "MissingDeviceToken" if path == PATH else ""


def check_topic(fields: Fields, sender: Sender) -> str:
    """Check `apns-push-type` and `apns-topic`, each alone, together, and against the sender's topics."""
    push_type = fields.get(b"apns-push-type")
    if push_type is not None and push_type not in SUFFIXES:
        return "InvalidPushType"
    if push_type == b"location" and sender.by_certificate:
        return "Forbidden"  # "token-based authentication only"
    topic = fields.get(b"apns-topic")
    if topic is None:
        # Only a certificate with a single topic needs no header.
        return "" if sender.by_certificate and len(sender.topics) == 1 else "MissingTopic"
    if _TOPIC.fullmatch(topic) is None:
        return "BadTopic"
    name = topic.decode()
    if name in sender.topics and (sender.by_certificate or not push_type):
        return ""  # a certificate lists complete topics, suffix included
    suffixes = set(SUFFIXES.values() if push_type is None else (SUFFIXES[push_type],))
    if sender.by_certificate:
        suffixes -= LISTED
    if any(name.endswith(suffix) and name.removesuffix(suffix) in sender.topics for suffix in suffixes):
        return ""
    return "TopicDisallowed"


def check_priority(fields: Fields) -> str:
    """Check `apns-priority`; the default is 10, which a background push must not have."""
    if fields.get(b"apns-push-type") == b"accessory":
        return ""
    priority = fields.get(b"apns-priority", b"10")
    if priority not in (b"10", b"5", b"1"):
        return "BadPriority"
    if priority != b"5" and fields.get(b"apns-push-type") == b"background":
        return "BadPriority"
    return ""


def payload_limit(fields: Fields) -> int:
    """Bytes that the payload of this push may have."""
    if fields.get(b"apns-push-type") == b"accessory":
        return UNDOCUMENTED
    topic = fields.get(b"apns-topic", b"")
    voip = fields.get(b"apns-push-type", b"voip" if topic.endswith(b".voip") else b"") == b"voip"
    return MAX_VOIP_PAYLOAD if voip else MAX_PAYLOAD


def check_options(fields: Fields) -> str:
    """Check `apns-expiration`, `apns-id`, `apns-collapse-id`."""
    expiration = fields.get(b"apns-expiration")
    if expiration is not None and not (expiration.isdigit() and len(expiration) <= MAX_EXPIRATION_DIGITS):
        return "BadExpirationDate"
    identifier = fields.get(b"apns-id")
    if identifier is not None and is_canonical_id(identifier) is None:
        return "BadMessageId"
    collapse_id = fields.get(b"apns-collapse-id")
    if collapse_id is not None and not 0 < len(collapse_id) <= MAX_COLLAPSE_ID:
        return "BadCollapseId"
    return ""


def check_payload(body: bytes, limit: int) -> str:
    """Check the size, and that it is a JSON object: Apple has no reason for one that is not, PayloadEmpty is our choice."""
    if not body:
        return "PayloadEmpty"
    if len(body) > limit:
        return "PayloadTooLarge"
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "PayloadEmpty"
    return "" if type(payload) is dict else "PayloadEmpty"


def check_device(token: bytes, topic: bytes | None, registry: ApnsRegistry) -> tuple[str, int | None]:
    """The fate of a device token (a reason, or one of `fates`), and its `timestamp` in milliseconds if it has one."""
    try:
        unhexlify(token)
    except ValueError:
        return "BadDeviceToken", None
    token = token.lower()
    device = registry.device(token)
    if device is not None:
        if device.topic is not None and topic is not None and not _belongs(topic.decode(), device.topic):
            return "DeviceTokenNotForTopic", None
        return device.fate, device.since
    fate = fate_of(token)
    if not fate and registry.known_only:
        return "BadDeviceToken", None
    return fate, None


def _belongs(topic: str, bundle_id: str) -> bool:
    return any(topic == bundle_id + suffix for suffix in SUFFIXES.values())
