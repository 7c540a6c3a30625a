"""The typed parts of a message: their shape, their JSON, and which of them can never change."""

from __future__ import annotations

from collections import UserDict
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from pushcore.models import fcm_parts
from pushcore.models.aps import Aps
from pushcore.models.fcm_parts import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    AndroidNotificationV2,
    ApnsConfig,
    Color,
    LightSettings,
    lasting,
    plain,
    seconds,
    to_json,
)


def test_every_part_is_frozen_slotted_and_empty_by_itself() -> None:
    for part in fcm_parts.PARTS:
        value: Any = part()
        assert not hasattr(value, "__dict__")
        with pytest.raises(AttributeError):
            setattr(value, value.__slots__[0], "x")
        if part is not fcm_parts.Color:
            assert value.to_dict() == {}


def test_notifications_differ_in_id_and_proxy_alone() -> None:
    first, second = set(AndroidNotification.__slots__), set(AndroidNotificationV2.__slots__)
    assert first - second == {"proxy"}
    assert second - first == {"id"}
    assert set(AndroidConfig.__slots__) - set(AndroidConfigV2.__slots__) == {"priority", "notification"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (3600, "3600s"), (0.5, "0.5s"), (1.0, "1s"), (0.1 + 0.2, "0.3s"), (1e-9, "0.000000001s")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_only_what_cannot_change_is_kept() -> None:
    assert lasting(AndroidConfig(ttl=1, notification=AndroidNotification(body_loc_args=("a",))))
    assert not lasting(AndroidConfig(data={"a": "b"}))
    assert not lasting(AndroidConfig(notification=AndroidNotification(body_loc_args=["a"])))
    assert not lasting({})


def test_numbers_are_durations_only_where_google_wants_durations() -> None:
    light = LightSettings(color=Color(1.0, 0.5), light_on_duration=3, light_off_duration="1.5s")
    assert light.to_dict() == {
        "color": {"red": 1.0, "green": 0.5, "blue": 0.0, "alpha": 1.0},
        "light_on_duration": "3s",
        "light_off_duration": "1.5s",
    }
    assert AndroidNotification(vibrate_timings=[0, 0.5], notification_count=3).to_dict() == {
        "vibrate_timings": ["0s", "0.5s"],
        "notification_count": 3,
    }


def test_nested_values_become_plain_json() -> None:
    when = datetime(2026, 1, 15, 1, 30, tzinfo=UTC)
    value = UserDict({"a": (1, [when]), "b": {"c": Color()}, "d": True, "e": b"raw"})
    assert plain(value) == {
        "a": [1, ["2026-01-15T01:30:00+00:00"]],
        "b": {"c": Color().to_dict()},
        "d": True,
        "e": b"raw",
    }


def test_orjson_is_told_of_parts_and_mappings_and_of_nothing_else() -> None:
    parts = {"apns": ApnsConfig(payload=Aps("Hi")), "data": UserDict({"k": "v"})}
    assert orjson.loads(orjson.dumps(parts, to_json, orjson.OPT_PASSTHROUGH_DATACLASS)) == {
        "apns": {"payload": {"aps": {"alert": "Hi"}}},
        "data": {"k": "v"},
    }
    with pytest.raises(TypeError, match="set is not a value of JSON"):
        to_json({1})
