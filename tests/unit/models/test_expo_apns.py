"""Expo's messages against the payload listing of Expo's page for iOS, and the quick way to the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.models.expo import (
    to_notification,
)
from pushcore.models.expo_apns import quick_notification
from tests.support.expo_listing import APNS, EXPERIENCE, FULL, IOS, take


def test_the_ios_listing() -> None:
    push = to_notification(FULL, APNS, experience_id=EXPERIENCE)
    assert isinstance(push.payload, dict)
    for path, value in IOS.items():
        assert take(push.payload, path) == value
    assert push.payload == {}
    assert (push.token, push.push_type, push.priority, push.collapse_id) == (APNS, "alert", 10, "collapse")


def test_a_silent_message_is_a_background_push() -> None:
    push = to_notification({"_contentAvailable": True, "data": {"a": 1}, "priority": "high"}, APNS)
    assert (push.push_type, push.priority) == ("background", None)
    assert push.payload == {"aps": {"content-available": 1}, "body": {"a": 1}}
    assert to_notification({"_contentAvailable": True, "title": "T"}, APNS).push_type == "alert"


COMMON: dict[str, st.SearchStrategy[Any]] = {
    "title": st.text() | st.none(),
    "body": st.text(),
    "data": st.dictionaries(st.text(), st.text() | st.integers(0, 9) | st.none()) | st.just([]),
    "sound": st.just("default") | st.just({"name": "x"}) | st.just(5),
    "badge": st.integers(-1, 9) | st.booleans() | st.none(),
    "priority": st.sampled_from(["default", "normal", "high", "urgent", None, []]),
    "channelId": st.text() | st.integers(0, 1),
}
RARE: dict[str, st.SearchStrategy[Any]] = {
    "ttl": st.just(60),
    "subtitle": st.text(),
    "contentAvailable": st.booleans(),
    "future": st.none(),
}


@given(st.fixed_dictionaries({}, optional=COMMON) | st.fixed_dictionaries({}, optional=COMMON | RARE))
@example(
    {
        "title": "T",
        "body": "B",
        "data": {"a": 1},
        "sound": "x",
        "badge": 0,
        "priority": "high",
        "channelId": "c",
    }
)
def test_the_quick_way_makes_the_same_or_nothing(source: dict[str, Any]) -> None:
    quick = quick_notification(source, "aa", "topic")
    common = (
        COMMON.keys() >= source.keys()
        and None not in source.values()
        and type(source.get("sound")) is not dict
    )
    try:
        usual = to_notification(source, "aa", topic="topic", now=1_800_000_000)
    except ValueError:
        assert quick is None
    else:
        assert quick == (usual if common else None)


@pytest.mark.parametrize("source", [None, 5, "text", [], ()])
def test_the_quick_way_takes_objects_alone(source: object) -> None:
    assert quick_notification(source, "aa", None) is None
