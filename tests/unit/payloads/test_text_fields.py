"""Which fields take nothing but text, held against what the checks of messages refuse."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pushcore.models.expo_message import ExpoMessage
from pushcore.models.fcm import AndroidConfig, AndroidNotification, AndroidNotificationV2, camel
from pushcore.models.fcm_check import check_part
from pushcore.models.fcm_values import FieldError
from pushcore.payloads.json_template import Path
from pushcore.payloads.text_fields import in_apns, in_expo, in_fcm
from pushcore.payloads.values import ANY, TEXT, TEXT_OR_OBJECT


def takes_number(part: str, value: Any) -> bool:
    """Whether a check lets a value of another type than text pass."""
    try:
        check_part(part, value)
    except FieldError:
        return False
    return True


@pytest.mark.parametrize("spelled", [str, camel])
@pytest.mark.parametrize("field", AndroidNotification.__slots__)
def test_every_field_of_androids_notification(field: str, spelled: Any) -> None:
    name = spelled(field)
    accepts_other_types = any(
        takes_number("android", {"notification": {name: value}})
        for value in (5, True, {"light_on_duration": "1s"})
        # proto3 JSON takes an enum's number as well: as a text it has to be the name.
        if field not in ("notification_priority", "visibility", "proxy")
    )
    path: Path = ("android", "notification", name)
    if field == "light_settings":  # an object
        path += ("color", "red")
    assert in_fcm(path) == (ANY if accepts_other_types else TEXT)
    if field in AndroidNotificationV2.__slots__:
        assert in_fcm(("androidV2", "remoteNotification", *path[1:])) == in_fcm(path)


@pytest.mark.parametrize(
    "field", [field for field in AndroidConfig.__slots__ if field not in ("data", "notification")]
)
def test_every_field_of_androids_config(field: str) -> None:
    accepts_other_types = takes_number("android", {field: True})
    if field != "fcm_options":
        assert in_fcm(("android", field)) == (ANY if accepts_other_types else TEXT)
    assert in_fcm(("android", "data", field)) == TEXT


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("data", "id"), TEXT),
        (("data", "sticky"), TEXT),
        (("notification", "image"), TEXT),
        (("fcmOptions", "analyticsLabel"), TEXT),
        (("android", "notification", "body_loc_args", 0), TEXT),
        (("android", "fcm_options", "analytics_label"), TEXT),
        (("android_v2", "remote_notification", "notification", "id"), ANY),
        (("webpush", "headers", "TTL"), TEXT),
        (("webpush", "data", "n"), TEXT),
        (("webpush", "notification", "badge"), ANY),
        (("apns", "headers", "apns-priority"), TEXT),
        (("apns", "payload", "aps", "badge"), ANY),
        (("apns", "payload", "aps", "alert", "title"), TEXT_OR_OBJECT),
        (("apns", "payload", "order"), ANY),
        (("apns", "payload"), ANY),
        (("apns", "live_activity_token"), TEXT),
        (("data",), ANY),
    ],
)
def test_fields_of_fcm(path: Path, expected: str) -> None:
    assert in_fcm(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("aps", "alert"), TEXT_OR_OBJECT),
        (("aps", "alert", "body"), TEXT_OR_OBJECT),
        (("aps", "alert", "subtitle"), TEXT),
        (("aps", "alert", "loc-args", 2), TEXT),
        (("aps", "alert", "title", "loc-args", 0), TEXT),
        (("aps", "alert", "summary-arg-count"), ANY),
        (("aps", "sound"), TEXT_OR_OBJECT),
        (("aps", "sound", "name"), TEXT),
        (("aps", "sound", "volume"), ANY),
        (("aps", "badge"), ANY),
        (("aps", "category"), TEXT),
        (("aps", "timestamp"), ANY),
        (("aps", "content-state", "title"), ANY),
        (("aps", "attributes", "category"), ANY),
        (("order",), ANY),
        (("data", "alert"), ANY),
        (("aps",), ANY),
    ],
)
def test_fields_of_apns(path: Path, expected: str) -> None:
    assert in_apns(path) == expected


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(ExpoMessage)])
def test_every_field_of_expos_message(field: str) -> None:
    accepted = []
    values: tuple[Any, ...] = (1, 1_800_000_000, True, {}, [])
    for value in values:
        fields: dict[str, Any] = {field: value}
        try:
            ExpoMessage(**fields)
        except ValueError:
            continue
        accepted.append(value)
    if field == "sound":
        assert (in_expo((field,)), accepted) == (TEXT_OR_OBJECT, [{}])
    elif field != "to":
        assert in_expo((field,)) == (ANY if accepted else TEXT)
    assert in_expo(("data", field)) == ANY
