"""`ApnsRows`: what the pushes of one campaign have in common, and what a row may change."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadRow
from pushcore.payloads.apns_rows import OVERRIDES, ApnsRow, ApnsRows, Make, RowDefaults, id_prefix
from pushcore.payloads.payload import ApnsPayload, ExpoPayload

CONSTANT = ApnsPayload({"aps": {"alert": "Hi"}}, "payload.json")


def bound(columns: list[str] | None, rows: ApnsRows | None = None) -> Make:
    """What makes the pushes of an audience with these columns, None for NDJSON."""
    index = None if columns is None else columns.index
    audience = SimpleNamespace(columns=columns, index=index)
    return (rows or ApnsRows(CONSTANT, RowDefaults())).bind(cast(Audience, audience))


def options_of(push: ApnsRow) -> tuple[Any, ...]:
    return push.topic, push.push_type, push.priority, push.expiration, push.collapse_id


def test_without_options_and_columns_a_push_is_an_alert_and_says_nothing_else() -> None:
    push = bound(["token", "name"])(7, "aa", ["aa", "Ada"])
    assert (push.row, push.token, push.registered_at) == (7, "aa", None)
    assert options_of(push) == (None, "alert", None, None, None)
    assert push.payload == b'{"aps":{"alert":"Hi"}}'


def test_a_payload_without_placeholders_is_the_same_object_in_every_push() -> None:
    make = bound(["token"])
    assert make(1, "aa", ["aa"]).payload is make(2, "bb", ["bb"]).payload


def test_a_payload_with_placeholders_is_made_for_each_row() -> None:
    rows = ApnsRows(ApnsPayload({"aps": {"alert": "Hi {{name}}"}}, "p"), RowDefaults())
    make = bound(["token", "name"], rows)
    assert make(1, "aa", ["aa", "Ada"]).payload == b'{"aps":{"alert":"Hi Ada"}}'
    assert make(2, "bb", ["bb", "Bob"]).payload == b'{"aps":{"alert":"Hi Bob"}}'


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_value_leaves_the_option_as_it_is(empty: object) -> None:
    rows = ApnsRows(CONSTANT, RowDefaults("voip", 10, 0, "id"))
    expected = (None, "voip", 10, 0, "id")
    assert (
        options_of(bound(["token", *OVERRIDES], rows)(1, "aa", ["aa", *[empty] * len(OVERRIDES)])) == expected
    )
    assert options_of(bound(None, rows)(1, "aa", dict.fromkeys(OVERRIDES, empty))) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("priority", "5", 5),
        ("priority", 5, 5),
        ("expiration", 0, 0),
        ("expiration", " 9 ", 9),
        ("collapse_id", "score", "score"),
        ("apns_id", "mine", "mine"),
        ("environment", "sandbox", "sandbox"),
    ],
)
def test_a_value_takes_the_place_of_the_option(name: str, value: object, expected: object) -> None:
    assert getattr(bound(["token", name])(1, "aa", ["aa", value]), name) == expected
    assert getattr(bound(None)(1, "aa", {name: value}), name) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("priority", "high", "priority: 'high' is not a whole number"),
        ("priority", 5.0, "priority: '5.0' is not a whole number"),
        ("expiration", True, "expiration: 'true' is not a whole number"),
        ("expiration", [1], "is not a whole number"),
        ("topic", 5, "topic: '5' is not text"),
        ("environment", "prod", "environment: 'prod' is not production or sandbox"),
        ("collapse_id", {"a": 1}, "is not text"),
    ],
)
def test_a_value_of_the_wrong_type_makes_the_row_bad(name: str, value: object, words: str) -> None:
    with pytest.raises(BadRow, match=words):
        bound(["token", name])(1, "aa", ["aa", value])
    with pytest.raises(BadRow, match=words):
        bound(None)(1, "aa", {name: value})


def test_equal_topics_and_push_types_of_rows_become_one_object() -> None:
    """The client recognises the last ones by identity."""
    make = bound(["token", "topic", "push_type"])
    pushes = [make(row, "aa", ["aa", "".join(["com.", "x"]), "".join(["vo", "ip"])]) for row in (1, 2)]
    assert pushes[0].topic == "com.x"
    assert pushes[0].topic is pushes[1].topic
    assert pushes[0].push_type is pushes[1].push_type


def test_the_memory_for_topics_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushcore.payloads.apns_rows._MAX_KNOWN", 3)
    rows = ApnsRows(CONSTANT, RowDefaults())
    make = bound(["token", "topic"], rows)
    for row in range(1, 100):
        assert make(row, "aa", ["aa", f"com.{row}"]).topic == f"com.{row}"
        assert len(rows._known) <= 3


@pytest.mark.parametrize("more", [[], ["priority"]])
def test_the_time_of_registration_stays_as_the_row_has_it(more: list[str]) -> None:
    make = bound(["token", *more, "registered_at"])
    assert make(1, "aa", ["aa", *["5" for _ in more], 1_700_000_000]).registered_at == 1_700_000_000
    assert bound(None)(1, "aa", {"registered_at": "then"}).registered_at == "then"


@pytest.mark.parametrize("message", [{"title": "Hi"}, {"title": "Hi {{name}}"}, {"title": "Hi", "ttl": 60}])
def test_options_and_columns_override_expos_message(message: dict[str, Any]) -> None:
    content = {**message, "priority": "high", "_contentAvailable": False}
    rows = ApnsRows(ExpoPayload(content, "p"), RowDefaults(collapse_id="mine"))
    make = bound(["token", "name", "priority"], rows)
    assert (make(1, "aa", ["aa", "x", ""]).priority, make(2, "aa", ["aa", "x", "5"]).priority) == (10, 5)
    assert make(1, "aa", ["aa", "x", ""]).collapse_id == "mine"


def test_an_apns_id_is_the_prefix_and_the_row() -> None:
    prefix = "01234567-89ab-8cde-8f01-"
    rows = ApnsRows(CONSTANT, RowDefaults(), prefix)
    assert bound(["token"], rows)(0x1234, "aa", ["aa"]).apns_id == f"{prefix}000000001234"
    message = ApnsRows(ExpoPayload({"title": "{{name}}"}, "p"), RowDefaults(), prefix)
    assert bound(["token", "name"], message)(1, "aa", ["aa", "x"]).apns_id == f"{prefix}000000000001"


def test_a_random_prefix_makes_uuids_of_version_4() -> None:
    prefixes = {id_prefix() for _ in range(50)}
    assert len(prefixes) == 50
    for prefix in prefixes:
        apns_id = uuid.UUID(f"{prefix}{1:012x}")
        assert str(apns_id) == f"{prefix}{1:012x}"
        assert (apns_id.version, apns_id.variant) == (4, uuid.RFC_4122)
