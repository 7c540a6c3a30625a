"""Pushes to APNs: `Notification`, `Broadcast` and the table of push types. `aps` has the typed payload.

Facts: "Sending notification requests to APNs" at developer.apple.com/documentation.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, get_args

from ..arguments import check, check_type, check_whole
from .aps import Aps
from .push_model import PushModel

LIMIT: Final = 4096
"""Bytes of a payload, unless the push type says otherwise."""
UNLIMITED: Final = 1 << 20
"""Bytes of a payload whose limit is not known."""
LARGE_LIMIT: Final = 5120
"""Bytes of a VoIP payload, and of a Live Activity's that is sent to a broadcast channel."""

ApnsPushType = Literal[
    "alert",
    "background",
    "location",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "widgets",
    "controls",
    "accessory",
]
"""What `apns-push-type` may be; `PUSH_TYPES` says what each asks of the other fields."""
ApnsPriority = Literal[1, 5, 10]
"""What `apns-priority` may be."""
ApnsEnvironment = Literal["production", "sandbox"]
"""One of Apple's two environments, which have tokens and servers of their own."""
ENVIRONMENTS: Final[tuple[str, ...]] = get_args(ApnsEnvironment)


@dataclass(frozen=True, slots=True)
class PushType:
    """One value of `apns-push-type`, with its rules for the other fields.

    Apple adds one about every year. For a push type that is not in `PUSH_TYPES` yet, set such an object, instead of a name, as
    the push type of a `Notification`.

    `suffix`: what follows the bundle id in `apns-topic`. `limit`: the largest payload to a device, in bytes.
    `priorities`: the allowed values of `apns-priority`. `token_auth_only`: true if a certificate cannot send it.
    """

    name: str
    suffix: str
    limit: int = LIMIT
    priorities: tuple[int, ...] = (1, 5, 10)
    token_auth_only: bool = False

    def __post_init__(self) -> None:
        for name in ("name", "suffix"):
            check_type(name, getattr(self, name), str, "a string", ValueError)
        check_whole("limit", self.limit, least=1, error=ValueError)
        whole = isinstance(self.priorities, tuple) and all(
            type(priority) is int for priority in self.priorities
        )
        check(whole and self.priorities != (), "priorities", "a tuple of ints", self.priorities, ValueError)
        check_type("token_auth_only", self.token_auth_only, bool, "true or false", ValueError)

    @property
    def default_priority(self) -> int | None:
        """The default priority; None for no header, which Apple reads as 10."""
        return None if 10 in self.priorities else self.priorities[-1]


PUSH_TYPES: Final[Mapping[str, PushType]] = MappingProxyType(
    {
        push_type.name: push_type
        for push_type in (
            PushType("alert", ""),
            PushType("background", "", priorities=(5,)),  # 10 is an error, says Apple
            PushType("location", ".location-query", token_auth_only=True),
            PushType("voip", ".voip", limit=LARGE_LIMIT),
            PushType("complication", ".complication"),
            PushType("fileprovider", ".pushkit.fileprovider"),
            PushType(
                "mdm", ""
            ),  # the topic is the UID of the MDM certificate's subject: the user gives it in full
            PushType("liveactivity", ".push-type.liveactivity", priorities=(5, 10)),
            PushType("pushtotalk", ".voip-ptt"),  # Apple gives the larger limit for VoIP only
            PushType("widgets", ".push-type.widgets"),
            PushType("controls", ".push-type.controls"),
            # Apple documents neither its size nor its priorities, so neither is checked.
            PushType("accessory", ".push-type.accessory", limit=UNLIMITED),
        )
    }
)
"""The twelve push types by name."""


def push_type_of(payload: Mapping[str, Any]) -> ApnsPushType:
    """The push type that suits a payload (a dict); "alert" if its keys do not say."""
    aps = payload.get("aps")
    if not isinstance(aps, Mapping):
        return "mdm" if "mdm" in payload else "alert"
    if aps.get("event") is not None:
        return "liveactivity"
    if "encryptedData" in aps:
        return "accessory"
    if aps.get("content-available") and not any(
        aps.get(key) is not None for key in ("alert", "badge", "sound")
    ):
        return "background"
    return "alert"


class Notification(PushModel):
    """One push to one device.

    Nothing is checked here, because there may be millions. If a push is wrong, its `Result` says so.

    Args:
        token: the device token, hexadecimal, of any length.
        payload: the root object as a dict, as JSON in bytes, or an `Aps`. Bytes that are no JSON are INVALID if they are the first of a burst,
            as the only push of `client.send` is, or shared by its pushes; of other bytes only the first and the last character are checked.
        topic: replaces the client's topic; write it in full, with its suffix.
        push_type: a key of `PUSH_TYPES`, or a `PushType` that is not in it yet. None for the one that follows from
            the payload, see `push_type_of`, otherwise "alert"; it is "alert" for bytes, which are not read here.
        priority: 1, 5 or 10; None for the push type's default.
        expiration: the time until which APNs may store it, in UNIX seconds or as an aware datetime; 0 for a single
            attempt; a timedelta counts from the moment when the client takes the push; None leaves it to APNs.
        collapse_id: at most 64 bytes.
        apns_id: a `uuid.UUID`, or its text in lower case; with None APNs makes one.
        environment: "production" or "sandbox", if you know which one the token belongs to. With None the push goes
            to the first client of an engine, see `PushEngine`.
    """

    __slots__ = (
        "apns_id",
        "collapse_id",
        "environment",
        "expiration",
        "payload",
        "priority",
        "push_type",
        "token",
        "topic",
    )

    identifiers: ClassVar[tuple[str, ...]] = ("token", "apns_id")

    def __init__(
        self,
        token: str,
        payload: dict[str, Any] | bytes | Aps,
        *,
        topic: str | None = None,
        push_type: ApnsPushType | PushType | None = None,
        priority: ApnsPriority | None = None,
        expiration: int | datetime | timedelta | None = None,
        collapse_id: str | None = None,
        apns_id: str | uuid.UUID | None = None,
        environment: ApnsEnvironment | None = None,
    ) -> None:
        if push_type is None:
            push_type = "alert"
            # Spelt out, for most payloads are an alert and a call would cost more than all the rest here.
            if type(payload) is dict:
                aps = payload.get("aps")
                if type(aps) is not dict or "alert" not in aps or "event" in aps:
                    push_type = push_type_of(payload)
            elif isinstance(payload, Aps):
                push_type = push_type_of(payload.to_dict())
        self.token = token
        self.payload = payload
        self.topic = topic
        self.push_type = push_type
        self.priority = priority
        self.expiration = expiration
        self.collapse_id = collapse_id
        self.apns_id = apns_id
        self.environment = environment

    def __repr__(self) -> str:
        token = str(self.token)
        words = [token if len(token) <= 8 else token[:8] + "…", f"push_type={self.push_type!r}"]
        for name in ("topic", "priority", "expiration", "collapse_id", "apns_id", "environment"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"{name}={value!r}")
        return f"<Notification {' '.join(words)}>"


@dataclass(frozen=True, slots=True)
class Broadcast(PushModel):
    """One push to all devices that follow a channel: an update or the end of a Live Activity.

    `channel_id`: as APNs gave it. `payload`: as in `Notification`, at most 5120 bytes. `topic`: the bundle id of the app;
    None for the client's. `expiration`: as in `Notification`, for a channel that stores its newest message; 0 is a single
    attempt, and the only value for other channels. `priority`: 10 is at once, 5 and 1 save the device's power.
    `request_id`: as `Notification.apns_id`.

    Source: "Sending broadcast push notification requests to APNs". Nothing is checked here, as in `Notification`.
    """

    identifiers: ClassVar[tuple[str, ...]] = ("channel_id", "request_id")

    channel_id: str
    payload: dict[str, Any] | bytes | Aps
    _: KW_ONLY
    topic: str | None = None
    expiration: int | datetime | timedelta = 0
    priority: ApnsPriority = 10
    request_id: str | uuid.UUID | None = None
