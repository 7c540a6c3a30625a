"""The fields of the request of `messages:send`: all that Google documents, with their types.

Sources: discovery document of fcm v1, revision 20260306, and the reference of AndroidConfigV2 (reference/fcm.md, 1.2).
"""

from __future__ import annotations

from typing import Final

from fakeservers.fcm.fields import (
    FCM,
    Parser,
    boolean,
    duration,
    enum,
    int32,
    list_of,
    message_type,
    number,
    string,
    strings,
    struct,
    timestamp,
)

TARGETS: Final = ("fid", "token", "topic", "condition")
"""Fields of a message, one of which names the recipient."""

_FLAGS = dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), boolean)
_LABELLED = message_type("FcmOptions", {"analytics_label": string})
_NOTIFICATION = message_type("Notification", dict.fromkeys(("title", "body", "image"), string))
_COLOR_TYPE = message_type("Color", dict.fromkeys(("red", "green", "blue", "alpha"), number))
_LIGHT = message_type(
    "LightSettings", {"color": _COLOR_TYPE, "light_on_duration": duration, "light_off_duration": duration}
)

_ANDROID_TEXTS = (
    *("title", "body", "icon", "color", "sound", "tag", "click_action", "channel_id", "ticker", "image"),
    *("body_loc_key", "title_loc_key"),
)
_ANDROID_FLAGS = (
    "sticky",
    "local_only",
    "default_sound",
    "default_vibrate_timings",
    "default_light_settings",
)
_PRIORITIES = ("UNSPECIFIED", "MIN", "LOW", "DEFAULT", "HIGH", "MAX")
_ANDROID_NOTIFICATION: dict[str, Parser] = {
    **dict.fromkeys(_ANDROID_TEXTS, string),
    **dict.fromkeys(_ANDROID_FLAGS, boolean),
    "body_loc_args": list_of(string),
    "title_loc_args": list_of(string),
    "event_time": timestamp,
    "notification_priority": enum(
        f"{FCM}AndroidNotification.NotificationPriority",
        *(f"PRIORITY_{priority}" for priority in _PRIORITIES),
    ),
    "vibrate_timings": list_of(duration),
    "visibility": enum(
        f"{FCM}AndroidNotification.Visibility", "VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"
    ),
    "notification_count": int32,
    "light_settings": _LIGHT,
}
_PROXY = enum(f"{FCM}AndroidNotification.Proxy", "PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED")
_ANDROID_COMMON: dict[str, Parser] = {
    "collapse_key": string,
    "ttl": duration,
    "restricted_package_name": string,
    "data": strings,
    "fcm_options": message_type("AndroidFcmOptions", {"analytics_label": string}),
    **_FLAGS,
}
_ANDROID = message_type(
    "AndroidConfig",
    {
        **_ANDROID_COMMON,
        "priority": enum(f"{FCM}AndroidMessagePriority", "NORMAL", "HIGH"),
        "notification": message_type("AndroidNotification", {**_ANDROID_NOTIFICATION, "proxy": _PROXY}),
    },
)
_REMOTE_NOTIFICATION = message_type(
    "RemoteNotification",
    {
        "mutable_content": boolean,
        "use_as_v1_data_message": boolean,
        "notification": message_type("AndroidNotificationV2", {**_ANDROID_NOTIFICATION, "id": int32}),
    },
)
_ANDROID_V2 = message_type(
    "AndroidConfigV2",
    {
        **_ANDROID_COMMON,
        "remote_notification": _REMOTE_NOTIFICATION,
        "background_sync": message_type("BackgroundSync", {}),
    },
    ("intent", ("remote_notification", "background_sync")),  # the union's name is not documented
)
_WEBPUSH = message_type(
    "WebpushConfig",
    {
        "headers": strings,
        "data": strings,
        "notification": struct,
        "fcm_options": message_type("WebpushFcmOptions", {"link": string, "analytics_label": string}),
    },
)
_APNS = message_type(
    "ApnsConfig",
    {
        "headers": strings,
        "payload": struct,
        "fcm_options": message_type("ApnsFcmOptions", {"analytics_label": string, "image": string}),
        "live_activity_token": string,
    },
)
_MESSAGE = message_type(
    "Message",
    {
        "name": string,
        "data": strings,
        "notification": _NOTIFICATION,
        "android": _ANDROID,
        "android_v2": _ANDROID_V2,
        "webpush": _WEBPUSH,
        "apns": _APNS,
        "fcm_options": _LABELLED,
        **dict.fromkeys(TARGETS, string),
    },
    ("target", TARGETS),
)
SEND_REQUEST = message_type("SendMessageRequest", {"message": _MESSAGE, "validate_only": boolean})
