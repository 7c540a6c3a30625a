"""Expo's messages against the payload listing of Expo's page for Android, in FCM v1 and legacy."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.models import warned
from pushcore.models.expo import (
    NO_IMAGE,
    fcm_data,
    to_legacy,
    to_message,
    to_push,
)
from tests.support.expo_listing import EXPERIENCE, FCM, FULL, OWN, sent, take

# The page's listing for Android: where each field's value is found, in the legacy form and in FCM v1.
ANDROID = {
    "token": (FCM, "to", "message.token"),
    "collapse_key": ("collapse", "collapse_key", "message.android.collapse_key"),
    "priority": ("high", "priority", "message.android.priority"),
    "data.experienceId": (EXPERIENCE, "data.experienceId", "message.data.experienceId"),
    "data.title": ("Title", "data.title", "message.data.title"),
    "data.message": ("Body", "data.message", "message.data.message"),
    "data.channelId": ("channel", "data.channelId", "message.data.channelId"),
    "data.categoryId": ("category", "data.categoryId", "message.data.categoryId"),
    "data.icon": ("icon", "data.icon", "message.data.icon"),
    "data.link": ("https://example.com", "data.link", "message.data.link"),
    "data.body": (OWN, "data.body", "message.data.body"),
}
# What expo-notifications reads besides, which this message has.
ALSO_READ = {"subtitle": "Subtitle", "badge": "3"}


def test_the_android_listing_in_the_legacy_form() -> None:
    message = sent(to_legacy(FULL, FCM, experience_id=EXPERIENCE))
    for value, path, _ in ANDROID.values():
        assert take(message, path) == value
    assert message == {"data": ALSO_READ}


def test_the_android_listing_in_v1() -> None:
    message = sent(to_message(FULL, FCM, android="data", experience_id=EXPERIENCE))
    for name, (value, _, path) in ANDROID.items():
        actual = take(message, path)
        if name == "priority":
            assert actual == "HIGH"
        elif name == "data.body":
            assert isinstance(actual, str)
            assert orjson.loads(actual) == value
        else:
            assert actual == value
    assert message == {"message": {"data": ALSO_READ}}


def test_a_data_message_has_no_notification_at_all() -> None:
    push = to_message(FULL, FCM, android="data")
    assert push.notification is None
    assert set(sent(push)["message"]) == {"token", "data", "android"}
    assert all(isinstance(value, str) for value in sent(push)["message"]["data"].values())
    assert "notification" not in sent(to_legacy(FULL, FCM))


def test_by_default_android_gets_a_notification_with_the_data_of_the_listing() -> None:
    message = {
        **FULL,
        "sound": "bell.wav",
        "tag": "t",
        "color": "#00ff7f",
        "vibrate": [0, 250],
        "autoDismiss": False,
        "richContent": {"image": "https://e.com/i.png"},
    }
    fcm_message = sent(to_message(message, FCM))["message"]
    assert fcm_message["notification"] == {"title": "Title", "body": "Body", "image": "https://e.com/i.png"}
    assert fcm_message["android"] == {
        "collapse_key": "collapse",
        "priority": "HIGH",
        "notification": {
            "icon": "icon",
            "color": "#00ff7f",
            "sound": "bell.wav",
            "tag": "t",
            "channel_id": "channel",
            "sticky": True,
            "vibrate_timings": ["0s", "0.25s"],
            "notification_count": 3,
        },
    }
    assert (
        fcm_message["data"]
        == sent(to_message(message, FCM, android="data"))["message"]["data"]
        == fcm_data(message)
    )


@pytest.mark.parametrize(
    ("fields", "android"),
    [
        ({"sound": "default"}, {"notification": {"sound": "default"}}),
        ({"sound": {"name": "bell.wav", "critical": True}}, {"notification": {"sound": "bell.wav"}}),
        ({"vibrate": True}, {"notification": {"default_vibrate_timings": True}}),
        ({"vibrate": False, "badge": 0, "autoDismiss": True, "sticky": True}, None),
        ({"tag": "t", "ttl": 60}, {"ttl": "60s", "notification": {"tag": "t"}}),
        ({"subtitle": "S", "link": "https://e.com", "categoryId": "c"}, None),
    ],
)
def test_fields_beside_the_texts_become_androids(
    fields: dict[str, Any], android: dict[str, Any] | None
) -> None:
    message = sent(to_message({"body": "B", **fields}, FCM))["message"]
    assert (message["notification"], message.get("android")) == ({"body": "B"}, android)


def test_a_message_with_neither_title_nor_body_is_data_alone() -> None:
    for fields in ({"data": {"a": 1}}, {"_contentAvailable": True}, {"channelId": "c"}, {"subtitle": "S"}):
        assert set(sent(to_message(fields, FCM))["message"]) <= {"token", "data"}


def test_the_legacy_api_can_have_a_notification_as_well() -> None:
    message = sent(to_legacy({**FULL, "tag": "t"}, FCM, android="notification"))
    assert message["notification"] == {
        "title": "Title",
        "body": "Body",
        "sound": "default",
        "icon": "icon",
        "tag": "t",
        "android_channel_id": "channel",
    }
    assert message["data"] == fcm_data({**FULL, "tag": "t"}, legacy=True)
    assert to_push(FULL, FCM, legacy=True, android="notification") == to_legacy(
        FULL, FCM, android="notification"
    )
    assert to_push(FULL, FCM, android="data") == to_message(FULL, FCM, android="data")


def test_another_form_than_the_two() -> None:
    wrong: Any = "both"
    for make in (to_message, to_legacy, to_push):
        with pytest.raises(ValueError, match="android must be one of notification, data, not 'both'"):
            make(FULL, FCM, android=wrong)


def test_an_image_that_android_does_not_show_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    message = {"title": "T", "richContent": {"image": "https://e.com/i.png"}}
    warned.forget()
    to_message(message, FCM)
    assert caplog.messages == []
    for _ in range(3):
        to_message(message, FCM, android="data")
        to_legacy(message, FCM)
    assert caplog.messages == [NO_IMAGE]


@pytest.mark.parametrize(
    ("times", "name"),
    [({"ttl": 2_419_201}, "ttl"), ({"expiration": 1_790_000_000 + 2_419_201}, "expiration")],
)
def test_a_lifetime_of_more_than_fcms_four_weeks_is_a_warning(
    times: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        push = to_message({"title": "T", **times}, FCM, now=1_790_000_000)
        assert sent(push)["message"]["android"]["ttl"] == "2419200s"
    (text,) = caplog.messages
    assert text.startswith(f"the {name} of a message is more than four weeks from now")
