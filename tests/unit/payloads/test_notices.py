"""What is said of a payload before it is sent: when nothing in it can be seen, and what Android will not show."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.models.expo import NO_IMAGE
from pushcore.payloads.notices import apns_notices, expo_notices, fcm_notices


@pytest.mark.parametrize(
    ("message", "ios", "android"),
    [
        ({"title": "T"}, True, True),
        ({"body": "{{text}}"}, True, True),
        ({"subtitle": "S"}, True, False),
        ({"badge": 0}, True, False),
        ({"sound": "default"}, True, False),
        ({"data": {"title": "mine"}}, False, False),
        ({"title": "", "body": None}, False, False),
        ({"channelId": "c", "icon": "i"}, False, False),
        ({}, False, False),
        ({"contentAvailable": True, "data": {"a": 1}}, True, True),
        ({"_contentAvailable": True}, True, True),
        ({"_contentAvailable": False}, False, False),
    ],
)
def test_a_message_of_expos_in_which_nothing_is_visible(
    message: dict[str, Any], ios: bool, android: bool
) -> None:
    for platform, fine, where in (("apns", ios, "iOS"), ("fcm", android, "Android")):
        notices = expo_notices("p.json", message, platform, "notification")
        assert [notice.split(";")[0] for notice in notices] == (
            [] if fine else [f"p.json: no part of it is visible on {where}"]
        )


def test_an_image_that_android_will_not_show() -> None:
    message = {"title": "T", "richContent": {"image": "{{url}}"}}
    assert expo_notices("p", message, "fcm", "data") == [f"p: {NO_IMAGE}"]
    assert expo_notices("p", message, "fcm", "notification") == []
    assert expo_notices("p", message, "apns", "data") == []
    assert expo_notices("p", {"title": "T", "richContent": {}}, "fcm", "data") == []


@pytest.mark.parametrize(
    ("ttl", "warned"), [(60, False), (2_419_200, False), (3_600_000, True), ("{{ttl:int}}", False)]
)
def test_a_ttl_in_milliseconds(ttl: Any, warned: bool) -> None:
    for platform in ("apns", "fcm"):
        notices = expo_notices("p", {"title": "T", "ttl": ttl}, platform, "notification")
        assert (
            notices
            == ["p: the ttl is longer than four weeks; it is in seconds, not in milliseconds"] * warned
        )


@pytest.mark.parametrize(
    "message",
    [
        {"notification": {"title": "T"}},
        {"notification": {"body": "{{text}}"}},
        {"android": {"notification": {"titleLocKey": "k"}}},
        {"android_v2": {"remote_notification": {"notification": {"body": "B"}}}},
        {"androidV2": {"remoteNotification": {"notification": {"body": "B"}}}},
        {"androidV2": {"backgroundSync": {}}},
        {"webpush": {"notification": {"title": "T"}}},
        {"apns": {"payload": {"aps": {"alert": "Hi"}}}},
        {"apns": {"payload": {"aps": {"badge": 0}}}},
        {"apns": {"payload": {"aps": {"content-available": 1}}}},
        {"data": {"title": "T"}},
        {"android": {"data": {"message": "B"}}},
    ],
)
def test_a_message_of_fcm_that_is_visible_or_silent_on_purpose(message: dict[str, Any]) -> None:
    assert fcm_notices("p", message) == []


@pytest.mark.parametrize(
    "message",
    [
        {"notification": {}},
        {"notification": {"title": "", "image": "u"}},
        {"android": {"notification": {"channel_id": "c"}, "priority": "high"}},
        {"apns": {"payload": {"aps": {"alert": {}}}}},
        {"webpush": {"headers": {"TTL": "5"}}},
        {},
    ],
)
def test_a_message_of_fcm_in_which_nothing_is_visible(message: dict[str, Any]) -> None:
    (notice,) = fcm_notices("p.json", message)
    assert notice.startswith("p.json: no part of it is visible; expected a")
    (notice,) = fcm_notices("p.json", {**message, "data": {"a": "b"}})
    assert notice.startswith("p.json: no part of it is visible but data, which the app must show itself")


@pytest.mark.parametrize(
    ("apns", "words"),
    [
        ({"headers": {"apns-priority": "10"}}, "apns has headers and no payload.aps"),
        (
            {
                "headers": {"apns-push-type": "background"},
                "payload": {"aps": {"alert": "Hi", "content-available": 1}},
            },
            "apns.payload: a background push shows nothing, but it has alert",
        ),
        (
            {"headers": {"APNS-Priority": "10"}, "payload": {"aps": {"content-available": 1}}},
            "apns is a silent push with apns-priority 10",
        ),
        (
            {"headers": {"apns-push-type": "alert"}, "payload": {"aps": {"event": "end", "timestamp": 1}}},
            "apns.payload: its event belongs to a Live Activity",
        ),
    ],
)
def test_an_apns_part_that_google_rejects(apns: dict[str, Any], words: str) -> None:
    (notice,) = fcm_notices("p.json", {"notification": {"title": "T"}, "apns": apns})
    assert notice.startswith(f"p.json: {words}")


@pytest.mark.parametrize(
    "apns",
    [
        {"headers": {"apns-priority": "5"}, "payload": {"aps": {"content-available": 1}}},
        {"headers": {"apns-push-type": "alert"}, "payload": {"aps": {"category": "c"}}},
        {"payload": {"aps": {"alert": "Hi"}}},
        {"payload": {"order": 1}},
        {"live_activity_token": "x", "payload": {"aps": {"event": "end", "timestamp": 1}}},
    ],
)
def test_a_valid_apns_part(apns: dict[str, Any]) -> None:
    assert fcm_notices("p.json", {"notification": {"title": "T"}, "apns": apns}) == []


def test_values_of_a_wrong_type_and_none_with_placeholders() -> None:
    aps = {
        "alert": "T",
        "badge": "1",
        "thread-id": 5,
        "relevance-score": "{{score:float}}",
        "sound": "{{sound}}",
    }
    problems = ["badge must be a number, not a string", "thread-id must be a string, not a number"]
    assert apns_notices("p", {"aps": aps}, "alert") == [f"p: {problem}" for problem in problems]
    for headers in ({}, {"apns-push-type": "alert"}):
        message = {"notification": {"title": "T"}, "apns": {"headers": headers, "payload": {"aps": aps}}}
        assert fcm_notices("p", message) == [f"p: apns.payload: {problem}" for problem in problems]


def test_a_live_activity_through_fcm_is_visible() -> None:
    aps = {"event": "update", "timestamp": 1_800_000_000, "content-state": {"a": 1}}
    apns = {
        "live_activity_token": "ab",
        "headers": {"apns-push-type": "liveactivity"},
        "payload": {"aps": aps},
    }
    assert fcm_notices("p", {"apns": apns}) == []
