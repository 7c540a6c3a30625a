"""Notifications and the table of push types."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.models.apns import PUSH_TYPES, UNLIMITED, Notification
from pushcore.models.aps import Aps

# --- push types


def test_the_twelve_push_types_and_their_topics() -> None:
    assert {name: push_type.suffix for name, push_type in PUSH_TYPES.items()} == {
        "alert": "",
        "background": "",
        "location": ".location-query",
        "voip": ".voip",
        "complication": ".complication",
        "fileprovider": ".pushkit.fileprovider",
        "mdm": "",
        "liveactivity": ".push-type.liveactivity",
        "pushtotalk": ".voip-ptt",
        "widgets": ".push-type.widgets",
        "controls": ".push-type.controls",
        "accessory": ".push-type.accessory",
    }
    assert all(name == push_type.name for name, push_type in PUSH_TYPES.items())


def test_only_voip_may_be_larger_and_the_limit_of_accessory_is_unknown() -> None:
    limits = {name: push_type.limit for name, push_type in PUSH_TYPES.items() if push_type.limit != 4096}
    assert limits == {"voip": 5120, "accessory": UNLIMITED}


def test_priorities_of_each_push_type() -> None:
    unusual = {
        name: push_type.priorities
        for name, push_type in PUSH_TYPES.items()
        if push_type.priorities != (1, 5, 10)
    }
    assert unusual == {"background": (5,), "liveactivity": (5, 10)}
    defaults = {
        name: push_type.default_priority
        for name, push_type in PUSH_TYPES.items()
        if push_type.default_priority
    }
    assert defaults == {"background": 5}


def test_only_location_needs_a_token() -> None:
    assert [name for name, push_type in PUSH_TYPES.items() if push_type.token_auth_only] == ["location"]


def test_the_table_is_frozen() -> None:
    with pytest.raises(TypeError):
        PUSH_TYPES["new"] = PUSH_TYPES["alert"]  # type: ignore[index]  # what the types forbid
    with pytest.raises(AttributeError):
        PUSH_TYPES["alert"].limit = 1  # type: ignore[misc]  # what the types forbid


# --- Notification


def test_a_notification_stores_what_it_is_given_and_checks_nothing() -> None:
    payload = {"aps": {"alert": "Hi"}}
    push = Notification(
        "not hex",
        payload,
        topic="t",
        push_type="?",  # type: ignore[arg-type]
        priority=99,  # type: ignore[arg-type]
        expiration=-1,
        collapse_id="c",
    )
    assert push.payload is payload
    assert (push.token, push.topic, push.push_type, push.priority) == ("not hex", "t", "?", 99)
    assert (push.expiration, push.collapse_id, push.apns_id) == (-1, "c", None)
    assert not hasattr(push, "__dict__")


def test_notifications_are_equal_by_their_fields() -> None:
    assert Notification("ab", {"aps": {}}) == Notification("ab", {"aps": {}})
    assert Notification("ab", b"{}") != Notification("ab", b"{}", priority=5)
    assert Notification("ab", b"{}") != "ab"


def test_repr_shows_neither_the_whole_token_nor_the_payload() -> None:
    push = Notification("0123456789abcdef" * 4, {"aps": {"alert": "private"}}, priority=5, expiration=0)
    assert repr(push) == "<Notification 01234567… push_type='alert' priority=5 expiration=0>"
    assert repr(Notification("0123", b"{}")) == "<Notification 0123 push_type='alert'>"


def test_without_a_push_type_it_is_the_one_that_the_payload_is_for() -> None:
    update: dict[str, Any] = {"event": "update", "timestamp": 1_800_000_000, "content-state": {"a": 1}}
    for payload, push_type in (
        ({"aps": {"alert": "Hi"}}, "alert"),
        ({"aps": {"content-available": 1}}, "background"),
        ({"aps": update}, "liveactivity"),
        ({"aps": {**update, "alert": "Hi"}}, "liveactivity"),
        ({"mdm": "magic"}, "mdm"),
        (b'{"aps":{"content-available":1}}', "alert"),
        (Aps("Hi"), "alert"),
        (Aps(content_available=True), "background"),
        (Aps(event="end", timestamp=1_800_000_000), "liveactivity"),
    ):
        assert Notification("ab", payload).push_type == push_type, payload
        assert Notification("ab", payload, push_type="voip").push_type == "voip"
