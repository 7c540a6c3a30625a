"""The table of errors against Google's list, the recorded bodies, and the reading of bodies against garbage."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushcore.auth.clock import MAX_WAIT, read_retry_after
from pushcore.engine.breaker import Breaker
from pushcore.fcm.errors import (
    DEAD_TOKEN,
    MAX_BODY,
    MAX_DETAIL,
    REASONS,
    SUSPECT_TOKEN,
    TABLE,
    TOO_LARGE,
    FcmFailure,
    find_name,
    message_name,
    read_error,
    verdict_for,
)
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS, UNNAMED, lookup
from pushcore.results import Result, Verdict

GOOGLE = "type.googleapis.com/google."
NOW = 784_111_700.0  # 77 seconds before RFC 9110's example, Sun, 06 Nov 1994 08:49:37 GMT

DOCUMENTED = {
    "UNSPECIFIED_ERROR": (0, "UNKNOWN"),
    "INVALID_ARGUMENT": (400, "INVALID"),
    "UNREGISTERED": (404, "UNREGISTERED"),
    "SENDER_ID_MISMATCH": (403, "MISCONFIGURED"),
    "QUOTA_EXCEEDED": (429, "THROTTLED"),
    "UNAVAILABLE": (503, "UNAVAILABLE"),
    "INTERNAL": (500, "UNAVAILABLE"),
    "THIRD_PARTY_AUTH_ERROR": (401, "MISCONFIGURED"),
    "APNS_AUTH_ERROR": (401, "MISCONFIGURED"),
}


def fcm(code: str) -> dict[str, Any]:
    return {"@type": f"{GOOGLE}firebase.fcm.v1.FcmError", "errorCode": code}


def apns(status: int, reason: str) -> dict[str, Any]:
    return {"@type": f"{GOOGLE}firebase.fcm.v1.ApnsError", "statusCode": status, "reason": reason}


def bad(field: str, description: str) -> dict[str, Any]:
    violations = [{"field": field, "description": description}]
    return {"@type": f"{GOOGLE}rpc.BadRequest", "fieldViolations": violations}


def info(reason: str) -> dict[str, Any]:
    return {
        "@type": f"{GOOGLE}rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"a": "b"},
    }


def body(code: int, status: str, message: str, *details: Any) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return orjson.dumps({"error": error}, option=orjson.OPT_INDENT_2)


def test_the_table_is_googles_list() -> None:
    assert {name: (row.status, row.verdict.value) for name, row in REASONS.items()} == DOCUMENTED
    for row in REASONS.values():
        assert row.advice.endswith(".")
        assert (row.wait is not None) == (row.verdict in (Verdict.THROTTLED, Verdict.UNAVAILABLE))
    assert REASONS["QUOTA_EXCEEDED"].wait == 60
    assert REASONS["UNAVAILABLE"].wait == REASONS["INTERNAL"].wait == 10


ARGUMENT = "Request contains an invalid argument."
RECORDED = [
    ("bad token A", 400, "INVALID_ARGUMENT", ARGUMENT,
     [fcm("INVALID_ARGUMENT"), bad("message.token", "Invalid registration token")], "suspect"),
    ("bad fid", 400, "INVALID_ARGUMENT", ARGUMENT,
     [fcm("INVALID_ARGUMENT"), bad("message.fid", "Invalid")], "suspect"),
    ("bad token B", 400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token",
     [fcm("INVALID_ARGUMENT")], "suspect"),
    ("no target", 400, "INVALID_ARGUMENT", "Recipient of the message is not set.",
     [bad("message", "Recipient of the message is not set."), fcm("INVALID_ARGUMENT")], "INVALID"),
    ("wrong type", 400, "INVALID_ARGUMENT", "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
     [bad("message.data[0].value", "Invalid value at 'message.data[0].value' (TYPE_STRING), 12")], "INVALID"),
    ("wrong type of the token", 400, "INVALID_ARGUMENT", "Invalid value at 'message.token' (TYPE_STRING), 12",
     [bad("message.token", "Invalid value at 'message.token' (TYPE_STRING), 12")], "INVALID"),
    ("unknown key", 400, "INVALID_ARGUMENT",
     "Invalid JSON payload received. Unknown name \"key\" at 'message': Cannot find field.",
     [bad("message", "Invalid JSON payload received.")], "INVALID"),
    ("too big", 400, "INVALID_ARGUMENT", ARGUMENT, [], "INVALID"),
    ("badge", 400, "INVALID_ARGUMENT", ARGUMENT,
     [fcm("INVALID_ARGUMENT"), bad("message.apns.payload.aps.badge", "Value type for APS key [badge] is a number.")],
     "INVALID"),
    ("dead iOS token", 400, "INVALID_ARGUMENT", "APNs device token is disabled.",
     [fcm("INVALID_ARGUMENT"), apns(410, "Unregistered")], "UNREGISTERED"),
    ("dead iOS token, older", 404, "NOT_FOUND", "Requested entity was not found.",
     [fcm("UNREGISTERED"), apns(410, "Unregistered")], "UNREGISTERED"),
    ("other APNs error", 400, "INVALID_ARGUMENT", ARGUMENT,
     [fcm("INVALID_ARGUMENT"), apns(400, "BadDeviceToken")], "INVALID"),
    ("dead token", 404, "NOT_FOUND", "Requested entity was not found.", [fcm("UNREGISTERED")], "UNREGISTERED"),
    ("wrong project path", 404, "NOT_FOUND", "Requested entity was not found.", [], "MISCONFIGURED"),
    ("other project's token", 403, "PERMISSION_DENIED", "SenderId mismatch", [fcm("SENDER_ID_MISMATCH")],
     "MISCONFIGURED"),
    ("wrong IAM", 403, "PERMISSION_DENIED", "Permission 'cloudmessaging.messages.create' denied on resource",
     [info("IAM_PERMISSION_DENIED")], "MISCONFIGURED"),
    ("quota", 429, "RESOURCE_EXHAUSTED", "Quota exceeded",
     [fcm("QUOTA_EXCEEDED"), {"@type": f"{GOOGLE}rpc.QuotaFailure", "violations": [{"subject": "project:1", "description": "per minute"}]}],
     "THROTTLED"),
    ("internal", 500, "INTERNAL", "Internal error encountered.", [fcm("INTERNAL")], "UNAVAILABLE"),
    ("internal, bare", 500, "INTERNAL", "Internal error encountered.", [], "UNAVAILABLE"),
    ("unavailable", 503, "UNAVAILABLE", "The service is currently unavailable.", [fcm("UNAVAILABLE")], "UNAVAILABLE"),
    ("unspecified", 500, "INTERNAL", "?", [fcm("UNSPECIFIED_ERROR")], "UNKNOWN"),
    ("a word to come", 403, "PERMISSION_DENIED", "?", [fcm("SOMETHING_NEW")], "MISCONFIGURED"),
    ("a word at the wrong status", 503, "UNAVAILABLE", "?", [fcm("UNREGISTERED")], "UNAVAILABLE"),
    ("APNs blamed in a failure of Google's", 503, "UNAVAILABLE", "?", [fcm("UNAVAILABLE"), apns(410, "Unregistered")],
     "UNAVAILABLE"),
    ("a quota with a token's field", 429, "RESOURCE_EXHAUSTED", "?", [fcm("QUOTA_EXCEEDED"), bad("message.token", "?")],
     "THROTTLED"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "word", "message", "details", "verdict"),
    [row[1:] for row in RECORDED],
    ids=[row[0] for row in RECORDED],
)
def test_recorded_bodies_in_any_order_of_details(
    status: int, word: str, message: str, details: list[Any], verdict: str
) -> None:
    other = {"@type": "type.googleapis.com/some.Other", "errorCode": "UNREGISTERED", "fieldViolations": 7}
    for order in itertools.permutations([*details, other, None]):
        failure = read_error(status, body(status, word, message, *order))
        assert failure.verdict.value == ("INVALID" if verdict == "suspect" else verdict)
        assert (failure.row is SUSPECT_TOKEN) == (verdict == "suspect")
        codes = [detail["errorCode"] for detail in details if "errorCode" in detail]
        infos = [detail["reason"] for detail in details if "domain" in detail]
        assert failure.reason == (codes or infos or [word])[0]
        assert failure.detail is not None
        assert message in failure.detail
        assert failure.refresh_token is False
        assert failure.retry_after is None


@pytest.mark.parametrize(
    ("message", "details", "too_large"),
    [
        ("Android message is too big", [fcm("INVALID_ARGUMENT")], True),
        ("Message is too big", [], True),
        (ARGUMENT, [fcm("INVALID_ARGUMENT"), apns(413, "PayloadTooLarge")], True),
        ("the badge is too big", [fcm("INVALID_ARGUMENT")], False),
        (ARGUMENT, [], False),
    ],
)
def test_a_message_that_is_too_large(message: str, details: list[Any], too_large: bool) -> None:
    row = read_error(400, body(400, "INVALID_ARGUMENT", message, *details)).row
    assert (row.too_large, row.verdict) == (too_large, Verdict.INVALID)


def test_the_detail_says_it_all() -> None:
    failure = read_error(
        400, body(400, "INVALID_ARGUMENT", "Wrong.", bad("message.token", "Bad"), apns(400, "BadDeviceToken"))
    )
    assert failure.detail == "Wrong.; message.token: Bad; APNs: 400 BadDeviceToken"
    quota = {
        "@type": f"{GOOGLE}rpc.QuotaFailure",
        "violations": [{"subject": "project:1", "description": "minute"}],
    }
    assert read_error(429, body(429, "RESOURCE_EXHAUSTED", "", quota)).detail == "project:1: minute"


EXPIRED = "Request had invalid authentication credentials. Expected OAuth 2 access token, ..."
AUTH = "Auth error from APNS or Web Push Service"


@pytest.mark.parametrize(
    ("content", "reason", "refresh"),
    [
        (body(401, "UNAUTHENTICATED", EXPIRED, info("ACCESS_TOKEN_EXPIRED")), "ACCESS_TOKEN_EXPIRED", True),
        (body(401, "UNAUTHENTICATED", EXPIRED), "UNAUTHENTICATED", True),
        (b"<html>Unauthorized Error 401</html>", "UnexpectedResponse", True),
        (b"", "UnexpectedResponse", True),
        (body(401, "UNAUTHENTICATED", AUTH, fcm("THIRD_PARTY_AUTH_ERROR")), "THIRD_PARTY_AUTH_ERROR", False),
        (body(401, "UNAUTHENTICATED", AUTH, fcm("APNS_AUTH_ERROR")), "APNS_AUTH_ERROR", False),
        (body(401, "UNAUTHENTICATED", AUTH), "UNAUTHENTICATED", False),
        (body(401, "UNAUTHENTICATED", "", apns(403, "InvalidProviderToken")), "UNAUTHENTICATED", False),
        (
            body(
                401,
                "UNAUTHENTICATED",
                "",
                apns(403, "BadEnvironmentKeyInToken"),
                fcm("THIRD_PARTY_AUTH_ERROR"),
            ),
            "THIRD_PARTY_AUTH_ERROR",
            False,
        ),
    ],
)
def test_the_two_kinds_of_401(content: bytes, reason: str | None, refresh: bool) -> None:
    failure = read_error(401, content)
    assert (failure.verdict, failure.reason) == (Verdict.MISCONFIGURED, reason)
    assert failure.refresh_token is refresh


@pytest.mark.parametrize(
    "detail", [{}, {"details": [{"@type": "google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}]
)
def test_a_send_that_is_not_permitted_has_the_advice_of_sends(detail: dict[str, Any]) -> None:
    error = {"code": 403, "status": "PERMISSION_DENIED", "message": "denied", **detail}
    failure = read_error(403, orjson.dumps({"error": error}))
    result = Result("push", failure.verdict, 403, 1, reason=failure.reason, row=failure.row)
    breaker = Breaker()
    while breaker.trip is None:
        breaker.take(result)
    assert "Check the permissions of the service account in this project" in breaker.trip.sentence
    assert "certificate" not in breaker.trip.sentence


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0, "UNKNOWN"), (100, "UNKNOWN"), (408, "UNAVAILABLE"), (429, "THROTTLED"), (500, "UNAVAILABLE"),
        (502, "UNAVAILABLE"), (503, "UNAVAILABLE"), (504, "UNAVAILABLE"), (999, "UNKNOWN"),
        *((status, "unexpected") for status in (200, 204, 301, 302, 400, 401, 403, 404, 405, 410, 413)),
    ],
)  # fmt: skip
def test_a_response_that_is_not_googles(status: int, verdict: str) -> None:
    """A status that asks to come back later is believed; what says that it is over is believed in Google's form alone."""
    for page in (
        b"",
        b"<!DOCTYPE html><title>Error</title>",
        b"{}",
        b"[]",
        b'{"error":"text"}',
        b'{"error":{"code":"NotFound","message":"m"}}',
        b'{"error":{"code":404},"junk":"' + b"x" * MAX_BODY + b'"}',
        b"null",
        b"\xff",
    ):
        failure = read_error(status, page)
        if verdict == "unexpected":
            assert failure.row is (UNEXPECTED_SUCCESS if status < 300 else UNEXPECTED)
            assert failure.verdict is (Verdict.UNKNOWN if status < 300 else Verdict.MISCONFIGURED)
            assert failure.reason == "UnexpectedResponse"
            assert str(failure.detail).startswith("this is not a response of FCM (a proxy, a wrong URL?): ")
        else:
            assert (failure.verdict.value, failure.reason) == (verdict, None)
            assert verdict_for(status).value == verdict
    assert verdict_for(status) is not Verdict.UNREGISTERED


def test_an_error_in_googles_form_is_read_by_its_status() -> None:
    errors: list[dict[str, Any]] = [
        {"status": "NOT_FOUND"},
        {"details": [{"@type": f"{GOOGLE}rpc.Help"}]},
        {"code": 404, "errors": [{"domain": "global", "reason": "notFound"}]},
    ]
    for error in errors:
        assert read_error(404, orjson.dumps({"error": error})).row is TABLE.of_status(404)
        assert read_error(404, orjson.dumps([{"error": error}])).row is TABLE.of_status(404)


def test_the_502_page_says_how_long_to_wait() -> None:
    page = b"<html><body>The server encountered a temporary error. <p>Please try again in 30 seconds.</body></html>"
    assert read_error(502, page) == FcmFailure(
        UNNAMED[Verdict.UNAVAILABLE],
        None,
        "502 with an HTML page: a response of a gateway or a proxy, not in the form of FCM",
        30.0,
    )
    assert read_error(502, page, "5").retry_after == 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("60", 60), (" 60 ", 60), ("1.5", 1.5), ("9999999999", MAX_WAIT), ("1" * 40, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 77), ("Sunday, 06-Nov-94 08:49:37 GMT", 77),
        ("Sun Nov  6 08:49:37 1994", 77), ("Sun, 06 Nov 1984 08:49:37 GMT", 0), ("Sun, 06 Nov 2094 08:49:37 GMT", MAX_WAIT),
        ("", None), ("-5", None), ("soon", None), ("\u0661", None), ("Sun, 99 Nov 1994 99:99:99 GMT", None), ("x" * 1000, None),
    ],
)  # fmt: skip
def test_retry_after(value: str, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds
    content = body(429, "RESOURCE_EXHAUSTED", "", fcm("QUOTA_EXCEEDED"))
    assert read_error(429, content, value, NOW).retry_after == seconds
    assert read_error(429, content).retry_after is None  # what is kept of a body has nothing of the header


def test_retry_info() -> None:
    retry = {"@type": f"{GOOGLE}rpc.RetryInfo", "retryDelay": "12.5s"}
    content = body(503, "UNAVAILABLE", "", retry)
    assert read_error(503, content).retry_after == 12.5
    assert read_error(503, content, "3").retry_after == 3
    assert read_error(503, content, "soon").retry_after == 12.5
    for delay in ("12", 12, "-1s", "s", None):
        assert (
            read_error(503, body(503, "UNAVAILABLE", "", {**retry, "retryDelay": delay})).retry_after is None
        )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "details",
                    "@type",
                    "errorCode",
                    "fieldViolations",
                    "field",
                    "statusCode",
                    "reason",
                    "message",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.integers(-1, 1000), st.binary(max_size=200) | JSON.map(orjson.dumps), st.none() | st.text(max_size=70)
)
@example(400, b"[" * 100_000, None)
@example(400, b'{"error":{"details":' + b"[" * 5000, None)
@example(400, b'{"error":{"details":[{"@type":"x.FcmError","errorCode":["UNREGISTERED"]}]}}', None)
def test_nothing_raises(status: int, content: bytes, header: str | None) -> None:
    failure = read_error(status, content, header, NOW)
    assert isinstance(failure.verdict, Verdict)
    assert failure.verdict is not Verdict.UNREGISTERED
    assert failure.retry_after is None or 0 <= failure.retry_after <= MAX_WAIT
    message_name(content)


def test_the_text_of_an_error_is_bounded() -> None:
    long = "x\n" * 10_000
    failure = read_error(400, body(400, long, long, bad(long, long), fcm(long), apns(400, long)))
    assert len(failure.detail or "") <= MAX_DETAIL
    assert "\n" not in (failure.detail or "")
    assert len(failure.reason or "") <= 100
    huge = body(404, "NOT_FOUND", "x" * MAX_BODY, fcm("UNREGISTERED"))
    assert read_error(404, huge).row is UNEXPECTED
    many = body(404, "NOT_FOUND", "", *[{}] * 100, fcm("UNREGISTERED"))
    assert read_error(404, many).verdict is Verdict.MISCONFIGURED


def test_the_name_of_an_accepted_message() -> None:
    name = "projects/mobile-app/messages/0:1612788010922733%7606eb247606eb24"
    assert message_name(orjson.dumps({"name": name})) == name
    for content in (b"", b"{}", b'{"name":7}', b"[]", b"<html>"):
        assert message_name(content) is None


@pytest.mark.parametrize(
    ("subject", "words", "scope"),
    [
        ("device:p", "Device message rate exceeded.", "device"),
        ("project:p", "Device message rate exceeded.", "device"),
        ("project:p", "Message rate exceeded.", "project"),
        ("topic:p", "Message rate exceeded.", "topic"),
        ("/topics/news", "Message rate exceeded.", "topic"),
        ("projects/p/topics/news", "Message rate exceeded.", "topic"),
        ("project:topics", "Message rate exceeded.", "project"),
        ("token:p", "Message rate exceeded.", "device"),
        ("project:p", "Topic quota exceeded", "topic"),
        ("project:p", "Topic message rate exceeded.", "topic"),
        ("project:p", "Quota exceeded for quota metric 'Send requests'", "project"),
    ],
)
def test_whose_quota_it_is(subject: str, words: str, scope: str) -> None:
    details = [
        {"@type": GOOGLE + "firebase.fcm.v1.FcmError", "errorCode": "QUOTA_EXCEEDED"},
        {"@type": GOOGLE + "rpc.QuotaFailure", "violations": [{"subject": subject, "description": words}]},
    ]
    body = {"error": {"code": 429, "message": "", "status": "RESOURCE_EXHAUSTED", "details": details}}
    failure = read_error(429, orjson.dumps(body))
    assert (failure.verdict, failure.reason) == (Verdict.THROTTLED, "QUOTA_EXCEEDED")
    assert (failure.row.scope, failure.row.wait, failure.row.blame) == (scope, 60, "provider")


def test_the_words_of_an_error_are_cut() -> None:
    violation = body(400, "INVALID_ARGUMENT", "m", bad("f" * 200, "d" * 300))
    assert read_error(400, violation).detail == f"m; {'f' * 100}: {'d' * 200}"
    quota = {
        "@type": f"{GOOGLE}rpc.QuotaFailure",
        "violations": [{"subject": "s" * 200, "description": "d" * 300}],
    }
    assert read_error(429, body(429, "X" * 200, "m", quota)).detail == f"m; {'s' * 100}: {'d' * 200}"
    assert read_error(429, body(429, "X" * 200, "m")).reason == "X" * 100
    assert read_error(400, body(400, "X", "m" * 500)).detail == "m" * 400
    assert read_error(400, body(400, "X", "m", apns(400, "r" * 200))).detail == f"m; APNs: 400 {'r' * 100}"
    assert message_name(orjson.dumps({"name": f"projects/p/messages/{'n' * 301}"})) == (
        f"projects/p/messages/{'n' * 280}"
    )


@pytest.mark.parametrize("excess", [0, 1])
def test_a_body_may_have_64_kib(excess: int) -> None:
    content = body(404, "NOT_FOUND", "", fcm("UNREGISTERED"))
    content += b" " * (65_536 - len(content) + excess)
    assert read_error(404, content).verdict is (Verdict.MISCONFIGURED if excess else Verdict.UNREGISTERED)


@pytest.mark.parametrize(("others", "verdict"), [(31, Verdict.UNREGISTERED), (32, Verdict.MISCONFIGURED)])
def test_an_error_may_have_32_details(others: int, verdict: Verdict) -> None:
    content = body(404, "NOT_FOUND", "", *[{}] * others, fcm("UNREGISTERED"))
    assert read_error(404, content).verdict is verdict


@pytest.mark.parametrize(("status", "verdict"), [(403, Verdict.THROTTLED), (503, Verdict.UNAVAILABLE)])
def test_a_quota_is_one_with_any_status_of_the_same_hundreds(status: int, verdict: Verdict) -> None:
    assert lookup("fcm", status, "QUOTA_EXCEEDED").verdict is verdict


@pytest.mark.parametrize("status", range(399, 600))
def test_unregistered_drops_a_token_with_404_alone(status: int) -> None:
    failure = read_error(status, body(status, "NOT_FOUND", "", fcm("UNREGISTERED")))
    assert (failure.verdict is Verdict.UNREGISTERED) is (status == 404)
    row = lookup("fcm", status, "UNREGISTERED")
    assert (row.verdict is Verdict.UNREGISTERED) is (status == 404)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 429, 500])
@pytest.mark.parametrize("apns_status", [400, 403, 404, 410, 429])
@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken", "BadDeviceToken", "TooManyRequests", ""])
def test_apns_410_drops_a_token_with_400_and_its_own_reasons_alone(
    status: int, apns_status: int, reason: str
) -> None:
    answer = body(status, "INVALID_ARGUMENT", "?", fcm("INVALID_ARGUMENT"), apns(apns_status, reason))
    dead = status == 400 and apns_status == 410 and reason in ("Unregistered", "ExpiredToken")
    assert (read_error(status, answer).verdict is Verdict.UNREGISTERED) is dead


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500])
def test_a_token_is_suspect_with_400_alone(status: int) -> None:
    blame = bad("message.token", "Invalid registration token")
    answer = body(status, "INVALID_ARGUMENT", "?", fcm("INVALID_ARGUMENT"), blame)
    assert not read_error(status, answer).row.suspect


def test_an_apns_error_without_a_status_is_still_the_cause() -> None:
    nameless = {"@type": f"{GOOGLE}firebase.fcm.v1.ApnsError", "statusCode": "x"}
    failure = read_error(401, body(401, "UNAUTHENTICATED", "", nameless))
    assert (failure.detail, failure.refresh_token) == ("APNs:", False)


def test_only_the_id_of_a_message_is_found_in_its_body() -> None:
    content = b'{"name":"projects/p/messages/1"}'
    assert find_name(None, content, "id") == "projects/p/messages/1"
    assert find_name(None, content, "unique_id") is None


def test_a_short_body_is_read_once() -> None:
    for size, known in ((2048, True), (2049, False)):
        content = body(404, "NOT_FOUND", "", fcm("UNREGISTERED"))
        content += b" " * (size - len(content))
        first, second = read_error(404, content), read_error(404, content)
        assert first == second
        assert (first is second) is known


def test_the_reason_of_error_info_is_in_the_detail() -> None:
    assert read_error(400, body(400, "X", "m", info("SOME_REASON"))).detail == "m; SOME_REASON"
    assert read_error(400, body(400, "X", "m", info(""))).detail == "m"


def test_a_dead_token_of_a_failing_server_is_no_proof() -> None:
    assert read_error(500, body(500, "INTERNAL", "", fcm("UNREGISTERED"))).verdict is Verdict.UNAVAILABLE


def test_a_failing_server_does_not_blame_the_size() -> None:
    failure = read_error(500, body(500, "INTERNAL", "", apns(413, "PayloadTooLarge")))
    assert failure.verdict is Verdict.UNAVAILABLE


def test_a_date_to_wait_for_is_seconds_from_1970_when_the_time_is_not_given() -> None:
    assert read_error(503, b"", "Thu, 01 Jan 1970 00:01:00 GMT").retry_after == 60


def test_the_rows_of_an_invalid_argument_have_its_status() -> None:
    for row in (DEAD_TOKEN, SUSPECT_TOKEN, TOO_LARGE):
        assert (row.status, row.name) == (400, "INVALID_ARGUMENT")
        assert (row.suspect, row.too_large) == (row is SUSPECT_TOKEN, row is TOO_LARGE)


def test_a_failure_asks_for_no_other_token_and_cannot_be_changed() -> None:
    failure = FcmFailure(UNEXPECTED)
    assert (failure.reason, failure.detail, failure.retry_after, failure.refresh_token) == (
        *[None] * 3,
        False,
    )
    with pytest.raises(AttributeError):
        failure.reason = "X"  # type: ignore[misc]  # it is frozen


def test_a_wait_is_a_day_at_most() -> None:
    assert read_retry_after("90000", NOW) == 86_400


@pytest.mark.parametrize(
    ("text", "subjects", "scope"),
    [
        ("The rate of messages to a particular device is too high.", [], "device"),
        ("The rate of messages to subscribers to a particular topic is too high.", [], "topic"),
        ("?", ["fid:abc"], "device"),
        ("?", ["registration:abc"], "device"),
        ("?", ["topic:news"], "topic"),
        ("?", ["project:topic-app"], "project"),
        ("Too many concurrent fan-outs for the project", [], "project"),
    ],
)
def test_the_scope_of_a_quota_in_other_words(text: str, subjects: list[str], scope: str) -> None:
    violations = [{"subject": subject, "description": "?"} for subject in subjects]
    failure = {"@type": f"{GOOGLE}rpc.QuotaFailure", "violations": violations}
    answer = body(429, "RESOURCE_EXHAUSTED", text, fcm("QUOTA_EXCEEDED"), failure)
    assert read_error(429, answer).row.scope == scope
