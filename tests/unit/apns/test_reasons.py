"""The table of reasons against Apple's list, and the reading of error bodies against garbage."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.apns.reasons import CHANNEL_REASONS, REASONS, read_error, verdict_for
from pushcore.results import Verdict

DOCUMENTED = {
    400: {
        "BadCollapseId": "INVALID",
        "BadDeviceToken": "INVALID",
        "BadExpirationDate": "INVALID",
        "BadMessageId": "INVALID",
        "BadPriority": "INVALID",
        "BadTopic": "MISCONFIGURED",
        "DeviceTokenNotForTopic": "INVALID",
        "DuplicateHeaders": "INVALID",
        "IdleTimeout": "UNAVAILABLE",
        "InvalidPushType": "INVALID",
        "MissingDeviceToken": "INVALID",
        "MissingTopic": "MISCONFIGURED",
        "PayloadEmpty": "INVALID",
        "TopicDisallowed": "MISCONFIGURED",
    },
    403: {
        "BadCertificate": "MISCONFIGURED",
        "BadCertificateEnvironment": "MISCONFIGURED",
        "ExpiredProviderToken": "MISCONFIGURED",
        "Forbidden": "MISCONFIGURED",
        "InvalidProviderToken": "MISCONFIGURED",
        "MissingProviderToken": "MISCONFIGURED",
        "UnrelatedKeyIdInToken": "MISCONFIGURED",
        "BadEnvironmentKeyIdInToken": "MISCONFIGURED",
        "BadEnvironmentKeyInToken": "MISCONFIGURED",  # what APNs sends
    },
    404: {"BadPath": "INVALID"},
    405: {"MethodNotAllowed": "INVALID"},
    410: {"ExpiredToken": "UNREGISTERED", "Unregistered": "UNREGISTERED"},
    413: {"PayloadTooLarge": "INVALID"},
    429: {"TooManyProviderTokenUpdates": "THROTTLED", "TooManyRequests": "THROTTLED"},
    500: {"InternalServerError": "UNAVAILABLE"},
    503: {"ServiceUnavailable": "UNAVAILABLE", "Shutdown": "UNAVAILABLE"},
}


def test_all_32_reasons_one_in_two_spellings_and_no_other() -> None:
    table: dict[int, dict[str, str]] = {}
    for name, row in REASONS.items():
        assert row.name == name
        table.setdefault(row.status, {})[name] = row.verdict.value
    assert table == DOCUMENTED
    assert len(REASONS) == 32 + 1


CHANNELS = {
    400: {
        "BadChannelId": "INVALID",
        "BadExpirationDate": "INVALID",
        "BadMessageId": "INVALID",
        "BadPriority": "INVALID",
        "BadRequestParams": "INVALID",
        "BadRequestPayload": "INVALID",
        "CannotCreateChannelConfig": "MISCONFIGURED",
        "ChannelNotRegistered": "INVALID",
        "FeatureNotEnabled": "MISCONFIGURED",
        "InvalidPushType": "INVALID",
        "MissingChannelId": "INVALID",
        "MissingChannelQueueSize": "INVALID",
        "MissingPushType": "INVALID",
        "PayloadEmpty": "INVALID",
        "TopicDisallowed": "MISCONFIGURED",
    },
    403: {
        "BadCertificate": "MISCONFIGURED",
        "BadCertificateEnvironment": "MISCONFIGURED",
        "BadEnvironmentKeyIdInToken": "MISCONFIGURED",
        "BadEnvironmentKeyInToken": "MISCONFIGURED",  # what APNs sends
        "ExpiredProviderToken": "MISCONFIGURED",
        "InvalidProviderToken": "MISCONFIGURED",
        "MissingProviderToken": "MISCONFIGURED",
        "TopicMismatch": "MISCONFIGURED",
        "UnrelatedKeyIdInToken": "MISCONFIGURED",
    },
    404: {"BadPath": "INVALID"},
    405: {"MethodNotAllowed": "INVALID"},
    413: {"PayloadTooLarge": "INVALID"},
    429: {"TooManyProviderTokenUpdates": "THROTTLED", "TooManyRequests": "THROTTLED"},
    500: {"InternalServerError": "UNAVAILABLE"},
    503: {
        "Service Unavailable": "UNAVAILABLE",
        "ServiceUnavailable": "UNAVAILABLE",
        "Shutdown": "UNAVAILABLE",
    },
}


def test_the_reasons_of_channels() -> None:
    table: dict[int, dict[str, str]] = {}
    for name, row in CHANNEL_REASONS.items():
        assert row.name == name
        assert row.advice.endswith(".")
        assert row.advice.count(".") == 1
        assert verdict_for(row.status, name, CHANNEL_REASONS) is row.verdict
        assert read_error(b'{"reason":"%b"}' % name.encode()) == (name, None)
        table.setdefault(row.status, {})[name] = row.verdict.value
    assert table == CHANNELS


@pytest.mark.parametrize("name", list(REASONS))
def test_every_reason_has_a_verdict_and_one_sentence_of_advice(name: str) -> None:
    row = REASONS[name]
    assert verdict_for(row.status, name) is row.verdict
    assert row.advice.endswith(".")
    assert row.advice.count(".") == 1


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ACCEPTED),
        (204, Verdict.ACCEPTED),
        (400, Verdict.INVALID),
        (401, Verdict.INVALID),
        (403, Verdict.MISCONFIGURED),
        (404, Verdict.INVALID),
        (405, Verdict.INVALID),
        (410, Verdict.UNREGISTERED),
        (413, Verdict.INVALID),
        (429, Verdict.THROTTLED),
        (499, Verdict.INVALID),
        (500, Verdict.UNAVAILABLE),
        (503, Verdict.UNAVAILABLE),
        (599, Verdict.UNAVAILABLE),
        (0, Verdict.UNKNOWN),
        (100, Verdict.UNKNOWN),
        (302, Verdict.UNKNOWN),
        (600, Verdict.UNKNOWN),
    ],
)
@pytest.mark.parametrize("reason", [None, "", "BrandNew"])
def test_an_unknown_reason_goes_by_its_status(status: int, reason: str | None, verdict: Verdict) -> None:
    assert verdict_for(status, reason) is verdict


def test_a_known_reason_with_another_status_goes_by_the_status() -> None:
    assert verdict_for(503, "BadDeviceToken") is Verdict.UNAVAILABLE
    assert verdict_for(400, "Unregistered") is Verdict.INVALID  # no token is dropped on a contradiction
    assert verdict_for(200, "BadTopic") is Verdict.ACCEPTED


@given(st.integers(), st.none() | st.text() | st.sampled_from(list(REASONS)))
def test_no_status_or_reason_raises(status: int, reason: str | None) -> None:
    assert isinstance(verdict_for(status, reason), Verdict)


@pytest.mark.parametrize("name", list(REASONS))
def test_known_reasons_are_read_in_any_spelling_of_json(name: str) -> None:
    assert read_error(b'{"reason":"%b"}' % name.encode()) == (name, None)
    assert read_error(b'{ "reason" : "%b" }\n' % name.encode()) == (name, None)


def test_apples_milliseconds_become_seconds() -> None:
    body = b'{"reason":"Unregistered","timestamp":1454948015990}'
    assert read_error(body) == ("Unregistered", 1454948015.99)
    assert isinstance(read_error(b'{"timestamp":2000}')[1], float)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b"\xff\xfe\x00",
        b'{"reason":"\xff"}',
        b'{"reason":"\\ud800"}',
        b'{"reason":"Unregistered"',
        b'{"reason":null}',
        b'{"reason":["BadTopic"]}',
        b'{"reason":""}',
        b'{"reason":"\\u0000\\u001b"}',
        b'{"timestamp":"1454948015990"}',
        b'{"timestamp":true}',
        b'{"timestamp":-1}',
        b'{"timestamp":0}',
        b'{"timestamp":253402300800000}',
        b'{"timestamp":1e300}',
        b'{"timestamp":1e999}',
        b'{"timestamp":' + b"9" * 5000 + b"}",
        b"9" * 5000,
        b"[" * 100_000,
        b'["reason"]',
        b'"Unregistered"',
        b"null",
    ],
)
def test_garbage_has_no_reason(body: bytes) -> None:
    assert read_error(body) == (None, None)


def test_a_bad_timestamp_does_not_hide_the_reason() -> None:
    assert read_error(b'{"reason":"Unregistered","timestamp":1e300}') == ("Unregistered", None)
    assert read_error(b'{"reason":7,"timestamp":1000}') == (None, 1.0)


def test_an_unknown_reason_is_bounded_and_printable() -> None:
    assert read_error(b'{"reason":"BrandNew"}') == ("BrandNew", None)
    assert read_error(b'{"reason":"Service Unavailable"}') == ("Service Unavailable", None)
    assert read_error(orjson.dumps({"reason": "X" * 5000})) == ("X" * 100, None)
    dirty = {"reason": "a\r\n\x1b[31mb\u202ec\x85", "timestamp": 1000}
    assert read_error(orjson.dumps(dirty)) == ("a[31mbc", 1.0)


@pytest.mark.parametrize("reason", ["Forbidden", "Unregistered", "NotFound", "Gone"])
@pytest.mark.parametrize(
    "more",
    [{"kind": "Status", "apiVersion": "v1", "code": 403}, {"message": "x"}],
    ids=["kubernetes", "message"],
)
@pytest.mark.parametrize("id_field", [None, b"apns-id", b"apns-request-id"])
def test_a_reason_beside_members_that_apple_does_not_have(
    reason: str, more: dict[str, Any], id_field: bytes | None
) -> None:
    """It is Apple's only if both the reason and the header say so: Apple may add a member one day."""
    fields = [(b":status", b"403"), *([(id_field, b"0")] if id_field else ())]
    body = orjson.dumps({"reason": reason, **more})
    known = reason in REASONS and id_field is not None
    assert read_error(body, fields) == (reason if known else None, None)


@pytest.mark.parametrize("reason", ["no_such_route", "not found", "404", "unregistered", "\u0414\u0430"])
def test_a_reason_that_is_not_in_apples_form_needs_apples_timestamp(reason: str) -> None:
    assert read_error(orjson.dumps({"reason": reason})) == (None, None)
    assert read_error(orjson.dumps({"reason": reason, "timestamp": 1000})) == (reason, 1.0)


@pytest.mark.slow
@given(
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["reason", "timestamp", "x"]), inner),
    ).map(orjson.dumps)
)
@example(orjson.dumps({"reason": "\u2028" * 101, "timestamp": 253_402_300_799_999}))
def test_no_body_raises(body: bytes) -> None:
    reason, timestamp = read_error(body)
    assert reason is None or (0 < len(reason) <= 100 and reason.isprintable())
    assert timestamp is None or 0 < timestamp < 253_402_300_800


def test_temporary_reasons_of_channels_wait() -> None:
    waits = {name: row.wait for name, row in CHANNEL_REASONS.items() if row.wait is not None}
    assert waits == {
        "TooManyRequests": 30,
        "TooManyProviderTokenUpdates": 1200,
        "InternalServerError": 900,
        "Service Unavailable": 60,
        "ServiceUnavailable": 60,
        "Shutdown": 60,
    }
    assert CHANNEL_REASONS["TooManyRequests"].scope == "project"


def test_the_flags_of_the_reasons() -> None:
    flags = {
        flag: {name for name, row in REASONS.items() if getattr(row, flag)}
        for flag in ("about_topic", "early", "suspect", "too_large")
    }
    assert flags == {
        "about_topic": {"BadTopic", "DeviceTokenNotForTopic", "MissingTopic", "TopicDisallowed"},
        "early": {"IdleTimeout", "InternalServerError", "Shutdown"},
        "suspect": {"BadDeviceToken", "DeviceTokenNotForTopic"},
        "too_large": {"PayloadTooLarge"},
    }
