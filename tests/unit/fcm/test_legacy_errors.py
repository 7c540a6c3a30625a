"""The legacy API's answers: one outcome for each device, in order, whatever the server says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.fcm.legacy_errors import REASONS, TABLE, LegacyOutcome, read_legacy
from pushcore.reasons import UNNAMED
from pushcore.results import Verdict

DOCUMENTED = {
    "MissingRegistration": "INVALID",
    "InvalidRegistration": "INVALID",
    "NotRegistered": "UNREGISTERED",
    "InvalidPackageName": "INVALID",
    "MismatchSenderId": "MISCONFIGURED",
    "InvalidParameters": "INVALID",
    "MessageTooBig": "INVALID",
    "InvalidDataKey": "INVALID",
    "InvalidTtl": "INVALID",
    "Unavailable": "UNAVAILABLE",
    "InternalServerError": "UNAVAILABLE",
    "DeviceMessageRateExceeded": "THROTTLED",
    "TopicsMessageRateExceeded": "THROTTLED",
    "InvalidApnsCredential": "MISCONFIGURED",
}
LATER = ("UNAVAILABLE", "THROTTLED")


def multicast(*results: Any) -> bytes:
    return orjson.dumps(
        {"multicast_id": 108, "success": 0, "failure": 0, "canonical_ids": 0, "results": results}
    )


def test_the_table_is_googles_list() -> None:
    assert {name: row.verdict.value for name, row in REASONS.items()} == DOCUMENTED


@pytest.mark.parametrize("reason", DOCUMENTED)
def test_every_error_of_a_token_and_of_a_topic(reason: str) -> None:
    wait = 7.0 if DOCUMENTED[reason] in LATER else None
    expected = LegacyOutcome(REASONS[reason], reason, retry_after=wait)
    assert read_legacy(200, multicast({"error": reason}), "7") == [expected]
    assert read_legacy(200, orjson.dumps({"error": reason}), "7") == [expected]


def test_results_in_order_with_canonical_ids() -> None:
    content = multicast(
        {"message_id": "1:08"},
        {"error": "NotRegistered"},
        {"message_id": "1:09", "registration_id": "new"},
        {"error": "SomethingNew"},
        "?",
        {},
    )
    outcomes = read_legacy(200, content, count=6)
    assert outcomes[0] == LegacyOutcome(UNNAMED[Verdict.ACCEPTED], id="1:08")
    assert outcomes[1] == LegacyOutcome(REASONS["NotRegistered"], "NotRegistered")
    assert outcomes[2] == LegacyOutcome(UNNAMED[Verdict.ACCEPTED], id="1:09", canonical="new")
    assert outcomes[3] == LegacyOutcome(UNNAMED[Verdict.INVALID], "SomethingNew")
    assert [outcome.verdict for outcome in outcomes[4:]] == [Verdict.UNKNOWN] * 2


def test_a_topic_that_was_accepted() -> None:
    assert read_legacy(200, b'{"message_id":10}') == [LegacyOutcome(UNNAMED[Verdict.ACCEPTED], id="10")]


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        ({"success": 2, "failure": 0}, LegacyOutcome(UNNAMED[Verdict.ACCEPTED])),
        (
            {"success": 1, "failure": 2, "failed_registration_ids": ["a", "b", 7]},
            LegacyOutcome(
                UNNAMED[Verdict.ACCEPTED],
                failed=("a", "b"),
                detail="2 of the group's 3 devices did not get it",
            ),
        ),
        (
            {"success": 0, "failure": 1, "failed_registration_ids": ["a"]},
            LegacyOutcome(
                UNNAMED[Verdict.UNAVAILABLE],
                failed=("a",),
                retry_after=5.0,
                detail="1 of the group's 1 devices did not get it",
            ),
        ),
    ],
)
def test_device_groups(content: Any, outcome: LegacyOutcome) -> None:
    assert read_legacy(200, orjson.dumps(content), "5") == [outcome]


@pytest.mark.parametrize(
    "content",
    [
        multicast(),
        multicast({"message_id": "1"}),
        b'{"success":"1"}',
        b'{"message_id":1}',
        b'{"message_id":true}',
    ],
)
def test_a_success_without_results_is_unknown_for_all(content: bytes) -> None:
    outcomes = read_legacy(200, content, count=3)
    assert [outcome.verdict for outcome in outcomes] == [Verdict.UNKNOWN] * 3
    assert all(outcome.detail for outcome in outcomes)


@pytest.mark.parametrize(
    ("status", "content", "verdict", "reason"),
    [
        (400, b"JSON_PARSING_ERROR: Unexpected token", "INVALID", None),
        (400, b'{"error":"InvalidParameters"}', "INVALID", "InvalidParameters"),
        (400, b'{"error":"NotRegistered"}', "INVALID", "NotRegistered"),
        (401, b"<HTML><TITLE>Error 401 (Unauthorized)!!1", "MISCONFIGURED", None),
        (401, b'{"error":{"code":401,"status":"UNAUTHENTICATED"}}', "MISCONFIGURED", None),
        (429, b"", "THROTTLED", None),
        (500, b"", "UNAVAILABLE", None),
        (503, b'{"error":"NotRegistered"}', "UNAVAILABLE", "NotRegistered"),
    ],
)
def test_a_failure_of_the_request_is_every_devices(
    status: int, content: bytes, verdict: str, reason: str | None
) -> None:
    outcomes = read_legacy(status, content, "12", count=2)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert (outcome.verdict.value, outcome.reason, outcome.retry_after) == (verdict, reason, 12.0)


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 413])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"<html>",
        b"no route",
        b'{"ok":true}',
        b'{"error":"not found"}',
        b'{"error":{"code":404}}',
        b"x" * (1 << 20 | 1),
    ],
    ids=lambda body: body[:20],
)
def test_a_response_of_another_server_is_every_devices(status: int, content: bytes) -> None:
    outcomes = read_legacy(status, content, None, count=2)
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert outcome.verdict is (Verdict.UNKNOWN if status < 300 else Verdict.MISCONFIGURED)
        assert outcome.reason == "UnexpectedResponse"
        assert "(a proxy, a wrong URL?)" in str(outcome.detail)


def test_a_failure_of_the_whole_request_can_name_a_single_token() -> None:
    (outcome,) = read_legacy(400, b'{"error":"NotRegistered"}')
    assert outcome.verdict is Verdict.UNREGISTERED


@given(
    st.integers(-1, 1000),
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["results", "error", "message_id", "success", "failure", "failed_registration_ids"]),
        st.none()
        | st.integers(-5, 5)
        | st.text(max_size=5)
        | st.lists(st.none() | st.text(max_size=5), max_size=3),
    ).map(orjson.dumps),
    st.none() | st.integers(1, 4),
)
def test_nothing_raises_and_every_device_has_an_outcome(
    status: int, content: bytes, count: int | None
) -> None:
    assert len(read_legacy(status, content, None, 0.0, count)) == (count or 1)


def test_a_date_to_wait_for_is_seconds_from_1970_when_the_time_is_not_given() -> None:
    (outcome,) = read_legacy(503, b"", "Thu, 01 Jan 1970 00:01:00 GMT")
    assert outcome.retry_after == 60


@pytest.mark.parametrize(
    "content",
    [
        {"success": "1", "failure": 0},
        {"success": 1, "message_id": "1:08"},
        {"failure": 0, "message_id": "1:08"},
        {"success": True, "failure": 0},
    ],
)
def test_a_group_without_both_numbers_is_unknown(content: Any) -> None:
    (outcome,) = read_legacy(200, orjson.dumps(content))
    assert outcome.verdict is Verdict.UNKNOWN
    assert outcome.id is None


def test_a_group_names_at_most_1000_tokens_that_failed() -> None:
    content: dict[str, Any] = {"success": 0, "failure": 1001}
    assert read_legacy(200, orjson.dumps(content))[0].failed == ()
    content["failed_registration_ids"] = ["token"] * 1001
    assert read_legacy(200, orjson.dumps(content))[0].failed == ("token",) * 1000


def test_the_text_of_a_failure_is_read_from_200_bytes() -> None:
    (outcome,) = read_legacy(400, b'Field "' + "\U0001f600".encode() * 60)
    assert str(outcome.detail).startswith('Field "' + "\U0001f600" * 48)
    assert len(str(outcome.detail)) <= 60
    assert read_legacy(400, b"Error=" + b"X" * 150)[0].detail == f"Error={'X' * 94}"


def test_the_statuses_and_waits_of_the_table() -> None:
    assert {name for name, row in REASONS.items() if row.status == 400} == {"InvalidParameters"}
    assert {row.status for row in REASONS.values()} == {200, 400}
    assert {name: row.wait for name, row in REASONS.items() if row.wait is not None} == {
        "Unavailable": 10,
        "InternalServerError": 10,
        "DeviceMessageRateExceeded": 60,
        "TopicsMessageRateExceeded": 60,
    }
    assert {name for name, row in REASONS.items() if row.suspect} == {
        "InvalidRegistration",
        "MismatchSenderId",
    }


def test_a_word_counts_with_any_status_of_its_hundred() -> None:
    assert TABLE.find(299, "InvalidRegistration") is REASONS["InvalidRegistration"]
    assert TABLE.find(400, "InvalidRegistration") is None
    assert TABLE.find(200, "NotRegistered") is REASONS["NotRegistered"]
    assert TABLE.find(299, "NotRegistered") is None  # it drops the token


def test_words_and_tokens_are_cut() -> None:
    (outcome,) = read_legacy(200, orjson.dumps({"message_id": "i" * 200, "registration_id": "t" * 5000}))
    assert outcome == LegacyOutcome(UNNAMED[Verdict.ACCEPTED], id="i" * 100, canonical="t" * 4096)
    assert read_legacy(200, multicast({"error": "e" * 200}))[0].reason == "e" * 100
    with pytest.raises(AttributeError):
        outcome.id = "x"  # type: ignore[misc]  # it is frozen


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_may_have_a_mebibyte(excess: int) -> None:
    content = b'{"message_id":"1"}'
    (outcome,) = read_legacy(200, content + b" " * (1_048_576 - len(content) + excess))
    assert outcome.verdict is (Verdict.UNKNOWN if excess else Verdict.ACCEPTED)
