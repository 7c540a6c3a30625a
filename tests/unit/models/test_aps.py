"""The typed payload of a push to APNs."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from pushcore.models.aps import Alert, Aps, Localized, Sound

ACTIVITY: dict[str, Any] = {"event": "update", "timestamp": 1_800_000_000, "content_state": {"score": 1}}
START: dict[str, Any] = {
    **ACTIVITY,
    "event": "start",
    "alert": Alert(title="Match"),
    "attributes_type": "MatchAttributes",
    "attributes": {"home": "A"},
}


def test_content_changed_is_a_true_and_no_number() -> None:
    assert Aps(content_changed=True).to_dict()["aps"]["content-changed"] is True
    assert Aps().to_dict() == {"aps": {}}


@pytest.mark.parametrize("name", ["timestamp", "stale_date", "dismissal_date"])
@pytest.mark.parametrize("value", [1_800_000_000_000, 1_800_000_000.5, 1_800_000_000.0, "1800000000"])
def test_times_that_are_no_unix_seconds(name: str, value: Any) -> None:
    fields = {"event": "end", "timestamp": 1_800_000_000, name: value}
    with pytest.raises(ValueError, match=f"{name} is .*: it takes UNIX seconds"):
        Aps(**fields)


def test_an_empty_payload() -> None:
    assert Aps().to_dict() == {"aps": {}}


def test_every_key_of_an_ordinary_payload() -> None:
    aps = Aps(
        Alert(
            title="t",
            subtitle="s",
            body="b",
            launch_image="l.png",
            title_loc_key="TK",
            title_loc_args=["1"],
            subtitle_loc_key="SK",
            subtitle_loc_args=("2",),
            loc_key="K",
            loc_args=["3"],
            action="View",
            action_loc_key="AK",
            summary_arg="x",
            summary_arg_count=2,
        ),
        badge=0,
        sound=Sound("alarm.caf", critical=True, volume=0.5),
        thread_id="th",
        category="c",
        content_available=True,
        mutable_content=True,
        target_content_id="w",
        interruption_level="time-sensitive",
        relevance_score=0,
        filter_criteria="f",
        url_args=("a", "b"),
        custom={"id": 7, "nested": {"k": [1]}},
    )
    assert aps.to_dict() == {
        "aps": {
            "alert": {
                "title": "t",
                "subtitle": "s",
                "body": "b",
                "launch-image": "l.png",
                "title-loc-key": "TK",
                "title-loc-args": ["1"],
                "subtitle-loc-key": "SK",
                "subtitle-loc-args": ["2"],
                "loc-key": "K",
                "loc-args": ["3"],
                "action": "View",
                "action-loc-key": "AK",
                "summary-arg": "x",
                "summary-arg-count": 2,
            },
            "badge": 0,
            "sound": {"name": "alarm.caf", "critical": 1, "volume": 0.5},
            "thread-id": "th",
            "category": "c",
            "content-available": 1,
            "mutable-content": 1,
            "target-content-id": "w",
            "interruption-level": "time-sensitive",
            "relevance-score": 0,
            "filter-criteria": "f",
            "url-args": ["a", "b"],
        },
        "id": 7,
        "nested": {"k": [1]},
    }


def test_every_key_of_a_live_activity() -> None:
    start = Aps(
        Alert(title=Localized("T", ["x"]), body=Localized("B"), sound="default"),
        **{key: value for key, value in START.items() if key != "alert"},
        stale_date=1_800_000_100,
        relevance_score=75.0,
        input_push_token=True,
        input_push_channel="Y2hhbm5lbA==",
    )
    assert start.to_dict() == {
        "aps": {
            "alert": {
                "title": {"loc-key": "T", "loc-args": ["x"]},
                "body": {"loc-key": "B"},
                "sound": "default",
            },
            "relevance-score": 75.0,
            "timestamp": 1_800_000_000,
            "event": "start",
            "content-state": {"score": 1},
            "stale-date": 1_800_000_100,
            "attributes-type": "MatchAttributes",
            "attributes": {"home": "A"},
            "input-push-token": 1,
            "input-push-channel": "Y2hhbm5lbA==",
        }
    }
    end = Aps(event="end", timestamp=1, dismissal_date=0)
    assert end.to_dict() == {"aps": {"timestamp": 1, "event": "end", "dismissal-date": 0}}


def test_a_payload_is_what_orjson_takes() -> None:
    payload = Aps("Hallo ☎", sound=Sound(), custom={"a": None}).to_dict()
    assert orjson.loads(orjson.dumps(payload)) == {
        "aps": {"alert": "Hallo ☎", "sound": {"name": "default"}},
        "a": None,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"badge": -1}, "badge"),
        ({"badge": True}, "badge"),
        ({"mutable_content": True}, "mutable_content needs an alert"),
        ({"interruption_level": "loud"}, "interruption_level must be one of passive, active"),
        ({"relevance_score": 1.01}, "outside Live Activities"),
        ({"relevance_score": -0.1}, "outside Live Activities"),
        ({"relevance_score": math.nan}, "finite"),
        ({**ACTIVITY, "relevance_score": math.inf}, "finite"),
        ({"custom": {"aps": {}}}, "custom"),
        ({**ACTIVITY, "event": "pause"}, "event must be one of start, update, end"),
        ({"timestamp": 1}, "timestamp is for Live Activities"),
        ({"content_state": {}}, "content_state is for Live Activities"),
        ({"stale_date": 1}, "stale_date is for Live Activities"),
        ({"input_push_token": True}, "input_push_token is for Live Activities"),
        ({**ACTIVITY, "timestamp": None}, "update needs timestamp"),
        ({**ACTIVITY, "content_state": None}, "update needs content_state"),
        ({**START, "alert": None}, "start needs alert"),
        ({**START, "attributes": None}, "start needs attributes"),
        ({**ACTIVITY, "attributes_type": "A"}, "attributes_type belongs to a Live Activity's start"),
        ({**ACTIVITY, "dismissal_date": 1}, "dismissal_date belongs to a Live Activity's end"),
        ({"event": "end"}, "end needs timestamp"),
    ],
)
def test_a_value_unknown_to_apple_is_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Aps(**arguments)


@pytest.mark.parametrize("volume", [-0.1, 1.1, math.nan])
def test_volume_is_from_0_to_1(volume: float) -> None:
    with pytest.raises(ValueError, match="volume"):
        Sound("a", volume=volume)


@pytest.mark.parametrize("name", ["title_loc", "subtitle_loc", "loc"])
def test_arguments_of_a_text_need_its_key(name: str) -> None:
    arguments: dict[str, Any] = {f"{name}_args": ["x"]}
    with pytest.raises(ValueError, match=f"^{name}_args needs {name}_key"):
        Alert(**arguments)


# --- types of the fields of a typed payload


@pytest.mark.parametrize(
    ("part", "field", "values", "expected"),
    [
        (Aps, "alert", [7, b"Hi", ["Hi"], True], "a string or an Alert"),
        (Aps, "sound", [7, b"default", True], "a string or a Sound"),
        (Aps, "badge", ["1", 1.0, True, -1, float("nan"), [1]], "a whole number of at least 0"),
        (Aps, "thread_id", [7, b"x"], "a string"),
        (Aps, "category", [7, b"x"], "a string"),
        (Aps, "target_content_id", [7], "a string"),
        (Aps, "filter_criteria", [{"a": 1}], "a string"),
        (Aps, "content_available", ["1", None, 2, 1.0], "true or false"),
        (Aps, "content_changed", ["true"], "true or false"),
        (Aps, "mutable_content", ["1"], "true or false"),
        (Aps, "interruption_level", [7, ["active"], "loud"], "one of passive, active"),
        (Aps, "relevance_score", ["1", True, float("nan"), float("inf"), [1]], "a finite number"),
        (Aps, "event", [7, ["end"], "updte"], "one of start, update, end"),
        (Aps, "custom", [None, [("a", 1)], "x"], "a dict"),
        (Aps, "content_state", ["x", [1]], "a dict"),
        (Aps, "attributes", ["x"], "a dict"),
        (Aps, "url_args", ["x", 7, [7]], "string"),
        (Alert, "title", [7, b"Hi"], "a string or a Localized"),
        (Alert, "subtitle", [7, b"Hi", Localized("k")], "a string"),
        (Alert, "loc_args", ["x", [1], 7], "string"),
        (Alert, "summary_arg_count", ["1", True], "a whole number"),
        (Alert, "launch_image", [b"x"], "a string"),
        (Sound, "name", [None, 7], "a string"),
        (Sound, "critical", [1, "yes", None], "true or false"),
        (Sound, "volume", ["1", True, float("nan")], "a finite number"),
        (Sound, "volume", [1.5, -1], "from 0 to 1"),
        (Localized, "args", ["x", [1]], "string"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(part: Any, field: str, values: list[Any], expected: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=rf"^(each of )?{field} must be .*{expected}.*, not "):
            part(**{**({"key": "k"} if part is Localized else {}), field: value})


def test_flags_as_apple_writes_them() -> None:
    payload = Aps("Hi", content_available=1, mutable_content=0)  # type: ignore[arg-type]
    assert payload.to_dict() == {"aps": {"alert": "Hi", "content-available": 1}}
    assert Aps(content_changed=1).to_dict() == {"aps": {"content-changed": True}}  # type: ignore[arg-type]


def test_times_as_datetimes() -> None:
    moment = datetime.fromtimestamp(1_790_000_000.75, UTC)
    payload = Aps(
        event="end", timestamp=moment, dismissal_date=moment, stale_date=moment + timedelta(hours=1)
    )
    assert payload.to_dict() == {
        "aps": {
            "event": "end",
            "timestamp": 1_790_000_000,
            "dismissal-date": 1_790_000_000,
            "stale-date": 1_790_003_600,
        }
    }
    for name in ("timestamp", "dismissal_date", "stale_date"):
        fields: dict[str, Any] = {"event": "end", "timestamp": moment, name: moment.replace(tzinfo=None)}
        with pytest.raises(ValueError, match=f"^{name} is a datetime without a time zone"):
            Aps(**fields)
