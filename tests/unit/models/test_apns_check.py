"""What in a payload for APNs does nothing under a push type, and times of Live Activities that are none."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.models.apns import PUSH_TYPES, PushType, push_type_of
from pushcore.models.apns_check import INVISIBLE, idle_parts, moments_problem

NOW = 1_790_000_000
UPDATE: dict[str, Any] = {"event": "update", "timestamp": NOW, "content-state": {"score": 1}}
START: dict[str, Any] = {
    **UPDATE,
    "event": "start",
    "attributes-type": "Match",
    "attributes": {"home": "A"},
    "alert": "Kick-off",
}


@pytest.mark.parametrize(
    ("payload", "push_type"),
    [
        ({"aps": {"alert": "Hi"}}, "alert"),
        ({"aps": {"badge": 0}}, "alert"),
        ({"aps": {"sound": "default", "content-available": 1}}, "alert"),
        ({"aps": {}}, "alert"),
        ({}, "alert"),
        ({"aps": 5}, "alert"),
        ({"caller": "Ada"}, "alert"),
        ({"mdm": "magic"}, "mdm"),
        ({"aps": {"content-available": 1}, "id": 7}, "background"),
        ({"aps": {"content-available": True}}, "background"),
        ({"aps": {"content-available": 0}}, "alert"),
        ({"aps": UPDATE}, "liveactivity"),
        ({"aps": {**UPDATE, "alert": "Goal"}}, "liveactivity"),
        ({"aps": {"event": "updte"}}, "liveactivity"),
        ({"aps": {"encryptedData": "x", "keyID": "k"}}, "accessory"),
        ({"aps": {"content-changed": True}}, "alert"),  # of widgets or of controls
    ],
)
def test_the_push_type_that_a_payload_is_for(payload: dict[str, Any], push_type: str) -> None:
    assert push_type_of(payload) == push_type


@pytest.mark.parametrize(
    ("aps", "push_type"),
    [
        ({"alert": "Hi", "mutable-content": 1}, "alert"),
        ({"badge": 0}, "alert"),
        ({"alert": "Hi", "content-available": 1}, "alert"),
        ({"content-available": 1}, "background"),
        (UPDATE, "liveactivity"),
        ({**UPDATE, "alert": "Goal"}, "liveactivity"),
        (START, "liveactivity"),
        ({"event": "end", "timestamp": NOW}, "liveactivity"),
        ({"content-changed": True}, "widgets"),
        ({"content-changed": True}, "controls"),
        ({}, "voip"),
        ({}, "location"),
        ({"encryptedData": "x"}, "accessory"),
    ],
)
def test_effective_parts_are_not_reported(aps: dict[str, Any], push_type: str) -> None:
    assert idle_parts({"aps": aps}, push_type) == []


@pytest.mark.parametrize(
    ("aps", "push_type", "words"),
    [
        (UPDATE, "alert", "its event belongs to a Live Activity and has no effect with push type alert"),
        ({**UPDATE, "alert": "Hi"}, "alert", "its event belongs to a Live Activity"),
        ({"content-available": 1}, "alert", "content-available alone has no effect with push type alert"),
        (
            {"content-available": 1, "alert": "Hi"},
            "background",
            "a background push shows nothing, but it has alert",
        ),
        ({"alert": "Hi", "badge": 1, "content-available": 1}, "background", "it has alert and badge"),
        ({}, "background", "a background push has no effect without content-available"),
        ({"content-available": 0}, "background", "has no effect without content-available"),
        ({**UPDATE, "event": "updte"}, "liveactivity", "its event 'updte' is none of start, update, end"),
        ({"alert": "Hi"}, "liveactivity", "has no effect without an event"),
        ({"event": "update", "timestamp": NOW}, "liveactivity", "update has no effect without content-state"),
        ({"event": "end"}, "liveactivity", "end has no effect without timestamp"),
        ({**START, "alert": ""}, "liveactivity", "start has no effect without alert"),
        ({"content-changed": 1}, "widgets", 'widgets have no effect without "content-changed": true'),
        ({}, "controls", "controls have no effect without"),
        (
            {"content-changed": True, "alert": "Hi"},
            "alert",
            "content-changed has no effect with push type alert",
        ),
        ({"mutable-content": 1, "badge": 1}, "alert", "mutable-content has no effect without an alert"),
        ({}, "alert", INVISIBLE),
        ({"alert": ""}, "alert", INVISIBLE),
        ({"alert": {}, "category": "c"}, "alert", INVISIBLE),
        ({"alert": {"title": "", "body": None}}, "alert", INVISIBLE),
        ({"alert": {"launch-image": "x", "message": "Hi"}}, "alert", INVISIBLE),
    ],
)
def test_payloads_without_effect(aps: dict[str, Any], push_type: str, words: str) -> None:
    (problem,) = idle_parts({"aps": aps}, push_type)
    assert words in problem


def test_payloads_without_aps_and_push_types_that_we_do_not_know() -> None:
    assert idle_parts({"title": "T"}, "alert") == [INVISIBLE]
    assert idle_parts({"mdm": "magic"}, "mdm") == []
    for unknown in ("future", PushType("future", ".push-type.future"), None, 7):
        assert idle_parts({"aps": {"event": "begin"}}, unknown) == []
    for known in PUSH_TYPES:
        assert isinstance(idle_parts({"aps": {"alert": "Hi"}}, known), list)


@pytest.mark.parametrize("name", ["timestamp", "stale-date", "dismissal-date"])
def test_times(name: str) -> None:
    assert moments_problem({"aps": {**UPDATE, name: NOW}}) == ""
    assert moments_problem({"aps": {**UPDATE, name: NOW * 1000}}).startswith(f"{name} is in milliseconds")
    assert moments_problem({"aps": {**UPDATE, name: float(NOW)}}).startswith(f"{name} is not whole")
    assert moments_problem({"aps": None}) == moments_problem({}) == ""
