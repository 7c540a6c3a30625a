"""The typed parts of an FCM message: the values of `Message.notification`, `android`, `android_v2`, `webpush`, `apns`.

Each part has Google's fields of the same names; None leaves one out. A nested part may also be a dict in Google's JSON.
Nothing is checked at construction: a push with a wrong value ends with a `Result` INVALID. Do not change a dict or a list in
a part while a push with it may be in flight.

Durations are seconds as a number, a timedelta, or Google's text such as "3.5s".

Facts: "REST Resource: projects.messages" of the FCM HTTP v1 API (discovery revision 20260306) at
firebase.google.com/docs/reference/fcm.
"""

from __future__ import annotations

import math
from collections import UserString
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from .aps import Aps
from .times import lifetime_seconds, unix_seconds

Duration = str | int | float | timedelta
Json = Mapping[str, Any]

AndroidPriority = Literal["NORMAL", "HIGH", "normal", "high"]
NotificationPriority = Literal[
    "PRIORITY_UNSPECIFIED",
    "PRIORITY_MIN",
    "PRIORITY_LOW",
    "PRIORITY_DEFAULT",
    "PRIORITY_HIGH",
    "PRIORITY_MAX",
]
Visibility = Literal["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"]
NotificationProxy = Literal["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"]


@dataclass(frozen=True, slots=True)
class FcmNotification:
    """The notification for all platforms. `image`: the URL of an image, at most 1 MB on Android."""

    title: str | None = None
    body: str | None = None
    image: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        fields = {}
        if self.title is not None:
            fields["title"] = self.title
        if self.body is not None:
            fields["body"] = self.body
        if self.image is not None:
            fields["image"] = self.image
        return fields


@dataclass(frozen=True, slots=True)
class FcmOptions:
    """`analytics_label`: 1 to 50 letters, digits and "-_.~%", to group messages in Google's statistics."""

    analytics_label: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True)
class Color:
    """A colour; each number from 0 to 1."""

    red: float = 0.0
    green: float = 0.0
    blue: float = 0.0
    alpha: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LightSettings:
    """The blinking of the notification light, on devices that have one."""

    color: Color | Json | None = None
    light_on_duration: Duration | None = None
    light_off_duration: Duration | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidNotification:
    """The notification on Android; it overrides `Message.notification`.

    `color`: "#rrggbb". `event_time`: an aware datetime or RFC 3339 text. `notification_priority`: "PRIORITY_" and
    UNSPECIFIED, MIN, LOW, DEFAULT, HIGH or MAX. `visibility`: VISIBILITY_UNSPECIFIED, PRIVATE, PUBLIC or SECRET.
    `proxy`: PROXY_UNSPECIFIED, ALLOW, DENY or IF_PRIORITY_LOWERED.
    """

    title: str | None = None
    body: str | None = None
    icon: str | None = None
    color: str | None = None
    sound: str | None = None
    tag: str | None = None
    click_action: str | None = None
    body_loc_key: str | None = None
    body_loc_args: Sequence[str] | None = None
    title_loc_key: str | None = None
    title_loc_args: Sequence[str] | None = None
    channel_id: str | None = None
    ticker: str | None = None
    sticky: bool | None = None
    event_time: datetime | str | None = None
    local_only: bool | None = None
    notification_priority: NotificationPriority | None = None
    default_sound: bool | None = None
    default_vibrate_timings: bool | None = None
    default_light_settings: bool | None = None
    vibrate_timings: Sequence[Duration] | None = None
    visibility: Visibility | None = None
    notification_count: int | None = None
    light_settings: LightSettings | Json | None = None
    image: str | None = None
    proxy: NotificationProxy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidConfig:
    """Settings for Android. Set this or `AndroidConfigV2`, never both: Google rejects the two together.

    `priority`: "NORMAL" or "HIGH". `ttl`: up to 2 419 200 seconds (4 weeks, the default); 0 is a single attempt. `data`
    replaces `Message.data`. `collapse_key`: FCM stores messages with at most four of them per device.
    """

    collapse_key: str | None = None
    priority: AndroidPriority | None = None
    ttl: Duration | None = None
    restricted_package_name: str | None = None
    data: Mapping[str, str] | None = None
    notification: AndroidNotification | Json | None = None
    fcm_options: FcmOptions | Json | None = None
    direct_boot_ok: bool | None = None
    bandwidth_constrained_ok: bool | None = None
    restricted_satellite_ok: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidNotificationV2:
    """Like `AndroidNotification`, with the `id` of the notification on Android, and without `proxy`."""

    id: int | None = None
    title: str | None = None
    body: str | None = None
    icon: str | None = None
    color: str | None = None
    sound: str | None = None
    tag: str | None = None
    click_action: str | None = None
    body_loc_key: str | None = None
    body_loc_args: Sequence[str] | None = None
    title_loc_key: str | None = None
    title_loc_args: Sequence[str] | None = None
    channel_id: str | None = None
    ticker: str | None = None
    sticky: bool | None = None
    event_time: datetime | str | None = None
    local_only: bool | None = None
    notification_priority: NotificationPriority | None = None
    default_sound: bool | None = None
    default_vibrate_timings: bool | None = None
    default_light_settings: bool | None = None
    vibrate_timings: Sequence[Duration] | None = None
    visibility: Visibility | None = None
    notification_count: int | None = None
    light_settings: LightSettings | Json | None = None
    image: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteNotification:
    """The intent of an urgent message that the user must see; battery saving does not delay it."""

    mutable_content: bool | None = None
    use_as_v1_data_message: bool | None = None
    notification: AndroidNotificationV2 | Json | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class AndroidConfigV2:
    """Settings for Android, by intent: `remote_notification` (urgent, visible) or `background_sync` (data that can
    wait), not both. The intent replaces the priority. (firebase.google.com/docs/cloud-messaging/send/v2-api)
    """

    remote_notification: RemoteNotification | Json | None = None
    background_sync: bool | Json | None = None
    collapse_key: str | None = None
    ttl: Duration | None = None
    restricted_package_name: str | None = None
    data: Mapping[str, str] | None = None
    fcm_options: FcmOptions | Json | None = None
    direct_boot_ok: bool | None = None
    bandwidth_constrained_ok: bool | None = None
    restricted_satellite_ok: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        fields = to_dict(self)
        if isinstance(self.background_sync, bool):  # an empty message in Google's JSON, present or not
            del fields["background_sync"]
            if self.background_sync:
                fields["background_sync"] = {}
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class WebpushFcmOptions:
    """`link`: the https URL that a click opens."""

    link: str | None = None
    analytics_label: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebpushConfig:
    """Settings for Web Push: its `headers`, and `notification` in the form of the Notification API."""

    headers: Mapping[str, str] | None = None
    data: Mapping[str, str] | None = None
    notification: Json | None = None
    fcm_options: WebpushFcmOptions | Json | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsFcmOptions:
    """`image`: the URL of an image for the notification."""

    analytics_label: str | None = None
    image: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON."""
        return to_dict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsConfig:
    """Settings that FCM passes on to APNs: `headers` such as {"apns-priority": "10"}, and the `payload`, an `Aps` or a dict.

    `apns-expiration` may be an aware datetime; as text it is UNIX seconds.
    """

    headers: Mapping[str, str | datetime] | None = None
    payload: Aps | Json | None = None
    fcm_options: ApnsFcmOptions | Json | None = None
    live_activity_token: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Google's JSON, with the payload in Apple's."""
        fields = to_dict(self)
        for name, value in self.headers.items() if isinstance(self.headers, Mapping) else ():
            if isinstance(value, datetime) and value.utcoffset() is not None:
                fields["headers"][name] = str(unix_seconds(value))
        return fields


PARTS: Final = (
    FcmNotification,
    FcmOptions,
    Color,
    LightSettings,
    AndroidNotification,
    AndroidConfig,
    AndroidNotificationV2,
    RemoteNotification,
    AndroidConfigV2,
    WebpushFcmOptions,
    WebpushConfig,
    ApnsFcmOptions,
    ApnsConfig,
)
_TYPED: Final = (*PARTS, Aps)
_DURATIONS: Final = frozenset({"ttl", "vibrate_timings", "light_on_duration", "light_off_duration"})


def to_dict(part: Any) -> dict[str, Any]:
    """The fields of `part` that are set, in Google's JSON."""
    fields = {}
    for name in part.__slots__:
        value = getattr(part, name)
        if value is not None:
            fields[name] = plain(value, duration=name in _DURATIONS)
    return fields


_NO_LISTS: Final = (bytes, bytearray, memoryview, UserString)
"""Sequences that are not meant as a list. The items of the last one are of its own class, without an end."""


def plain(value: Any, *, duration: bool = False) -> Any:
    """`value` as JSON values: parts become dicts, datetimes text, durations "…s"."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, _TYPED):
        return value.to_dict()
    if isinstance(value, int | float):
        return seconds(value) if duration and (isinstance(value, int) or math.isfinite(value)) else value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return seconds(lifetime_seconds(value))
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, _NO_LISTS):
        return [plain(item, duration=duration) for item in value]
    return value


def seconds(value: int | float) -> str:
    """A duration in Google's JSON: 3600 is "3600s", 0.25 is "0.25s"."""
    if isinstance(value, int):
        return f"{value}s"
    return f"{value:.9f}".rstrip("0").rstrip(".") + "s"


def lasting(part: Any) -> bool:
    """Whether nothing in `part` can change, so that its JSON can be kept for the next push."""
    if isinstance(part, PARTS):
        return all(lasting(getattr(part, name)) for name in part.__slots__)
    if isinstance(part, tuple):
        return all(map(lasting, part))
    return part is None or isinstance(part, str | int | float | datetime | timedelta)


def to_json(value: Any) -> Any:
    """For orjson, which knows neither parts nor mappings that are no dict. Raises `TypeError` for what is neither."""
    if isinstance(value, _TYPED):
        return value.to_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, timedelta):
        return seconds(lifetime_seconds(value))
    raise TypeError(f"{type(value).__name__} is not a value of JSON")
