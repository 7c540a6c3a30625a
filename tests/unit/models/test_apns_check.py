"""What in a payload for APNs does nothing under a push type, and times of Live Activities that are none."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.models.apns import PUSH_TYPES, PushType, push_type_of
from pushcore.models.apns_check import INVISIBLE, idle_parts, mistyped_parts, moments_problem

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
    assert moments_problem({"aps": {**UPDATE, name: float(NOW)}}).startswith(
        f"{name} is written with a decimal point"
    )
    assert moments_problem({"aps": None}) == moments_problem({}) == ""


MISTYPED: list[tuple[str, Any, str]] = [
    ("alert", 5, "alert must be a string or an object, not a number"),
    ("alert", ["T"], "alert must be a string or an object, not a list"),
    ("alert", {"title": 5}, "alert.title must be a string, not a number"),
    ("alert", {"title": "T", "loc-args": "x"}, "alert.loc-args must be a list of strings, not a string"),
    ("alert", {"body": True}, "alert.body must be a string, not true or false"),
    ("badge", "1", "badge must be a number, not a string"),
    ("badge", True, "badge must be a number, not true or false"),
    ("sound", True, "sound must be a string or an object, not true or false"),
    ("sound", {"name": "a.caf", "volume": "1"}, "sound.volume must be a number, not a string"),
    ("thread-id", 7, "thread-id must be a string, not a number"),
    ("category", ["a"], "category must be a string, not a list"),
    ("content-available", "1", "content-available must be the number 1, not '1'"),
    ("content-available", True, "content-available must be the number 1, not true"),
    ("content-available", 2, "content-available must be the number 1, not 2"),
    ("mutable-content", True, "mutable-content must be the number 1, not true"),
    ("mutable-content", "1", "mutable-content must be the number 1, not '1'"),
    ("input-push-token", True, "input-push-token must be the number 1, not true"),
    (
        "interruption-level",
        "timeSensitive",
        "interruption-level must be one of passive, active, time-sensitive,",
    ),
    ("interruption-level", 1, "interruption-level must be one of"),
    ("relevance-score", "0.5", "relevance-score must be a number, not a string"),
    ("relevance-score", 50, "relevance-score must be from 0 to 1"),
    ("content-state", "{}", "content-state must be an object, not a string"),
    ("attributes", [], "attributes must be an object, not a list"),
    ("target-content-id", 1, "target-content-id must be a string, not a number"),
    ("url-args", "a", "url-args must be a list of strings, not a string"),
]


@pytest.mark.parametrize(("name", "value", "words"), MISTYPED)
def test_values_of_a_type_that_apple_ignores(name: str, value: Any, words: str) -> None:
    (sentence,) = mistyped_parts({"aps": {name: value}})
    assert sentence.startswith(words)


@pytest.mark.parametrize(
    "aps",
    [
        {"alert": "T", "badge": 0, "sound": "default", "mutable-content": 1},
        {
            "alert": {"title": "T", "body": {"loc-key": "k"}, "loc-args": []},
            "sound": {"critical": 1, "volume": 0.5},
        },
        {"content-available": 1, "badge": 2.0},
        {"content-available": 0, "alert": None, "badge": None},
        {"relevance-score": 0.5, "interruption-level": "time-sensitive"},
        {"relevance-score": 75, "event": "update", "content-state": {}},
        {"content-changed": True, "unknown": [1]},
    ],
)
def test_values_of_the_right_types(aps: dict[str, Any]) -> None:
    assert mistyped_parts({"aps": aps}) == []
    assert mistyped_parts({}) == []
    assert mistyped_parts({"aps": "x"}) == ["aps must be an object, not a string"]


@pytest.mark.parametrize("key", ["content_available", "contentAvailable", "Content-Available"])
def test_a_key_in_another_spelling_has_no_effect(key: str) -> None:
    said = f"'{key}' is no key of aps and has no effect; expected content-available"
    assert mistyped_parts({"aps": {"alert": "x", key: 1}}) == [said]
