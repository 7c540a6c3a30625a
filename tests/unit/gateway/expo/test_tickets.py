"""Which of Expo's errors each outcome becomes, and what its ticket says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.apns.reasons import REASONS as APNS_REASONS
from pushcore.errors import ConnectionLost
from pushcore.fcm.errors import DEAD_TOKEN, SUSPECT_TOKEN, TOO_LARGE
from pushcore.fcm.errors import REASONS as FCM_REASONS
from pushcore.gateway.expo import tickets
from pushcore.models.apns import Notification
from pushcore.models.fcm import Message
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS, Reason
from pushcore.results import Result, Verdict

IOS = "ab" * 32
ANDROID = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
ISSUED = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"
ON_IOS = "ExponentPushToken[a-sealed-one]"
EXPECTED = {
    "Unregistered": "DeviceNotRegistered",
    "ExpiredToken": "DeviceNotRegistered",
    "UNREGISTERED": "DeviceNotRegistered",
    "PayloadTooLarge": "MessageTooBig",
    "TooManyRequests": "MessageRateExceeded",
    "TooManyProviderTokenUpdates": "MessageRateExceeded",
    "QUOTA_EXCEEDED": "MessageRateExceeded",
    "SENDER_ID_MISMATCH": "MismatchSenderId",
    "UNSPECIFIED_ERROR": "ProviderError",
}
BY_VERDICT = {
    Verdict.INVALID: "DeveloperError",
    Verdict.MISCONFIGURED: "InvalidCredentials",
    Verdict.UNAVAILABLE: "ProviderError",
}


def result(row: Reason, push: Any = None, **more: Any) -> Result:
    return Result(push, row.verdict, row.status or None, reason=row.name or None, row=row, attempts=1, **more)


@pytest.mark.parametrize("row", [*APNS_REASONS.values(), *FCM_REASONS.values()], ids=lambda row: row.name)
def test_every_reason_of_the_providers_is_one_of_expos_errors(row: Reason) -> None:
    push = Notification(IOS, {}) if row.name in APNS_REASONS else Message(token=ANDROID)
    ticket = tickets.ticket_of(result(row, push), ON_IOS)
    name = ticket["details"]["error"]
    assert name == EXPECTED.get(row.name) or (row.name not in EXPECTED and name == BY_VERDICT[row.verdict])
    assert name in tickets.ERRORS
    assert (name == "DeviceNotRegistered") == (row.verdict is Verdict.UNREGISTERED)
    assert ticket["status"] == "error"
    assert ticket["message"]
    assert ticket["details"]["expoPushToken"] == ON_IOS
    said = ticket["details"].get("apns", ticket["details"].get("fcm"))
    assert row.status == 0 or said["reason"] == row.name
    assert orjson.dumps(ticket)


def test_the_rows_that_are_no_words_of_their_own() -> None:
    assert tickets.error_name(result(TOO_LARGE)) == "MessageTooBig"
    assert tickets.error_name(result(DEAD_TOKEN)) == "DeviceNotRegistered"
    assert tickets.error_name(result(SUSPECT_TOKEN)) == "DeveloperError"
    assert tickets.error_name(result(UNEXPECTED)) == "ProviderError"
    assert tickets.error_name(result(UNEXPECTED_SUCCESS)) == "ProviderError"


def test_a_dead_tokens_message_is_expos() -> None:
    ticket = tickets.ticket_of(
        Result(None, Verdict.UNREGISTERED, 410, reason="Unregistered"), {"type": "ios", "data": IOS}
    )
    assert ticket["message"] == f'"{IOS}" is not a registered push notification recipient'
    assert ticket["details"]["expoPushToken"] == IOS


@pytest.mark.parametrize(
    "detail", [None, ConnectionLost("gone"), "may have been delivered: no response in time"]
)
def test_a_push_whose_fate_is_unknown_says_so(detail: Any) -> None:
    ticket = tickets.ticket_of(Result(None, Verdict.UNKNOWN, detail=detail, attempts=1), ISSUED)
    assert ticket["details"]["error"] == "ProviderError"
    assert ticket["message"].startswith("may have been delivered: ")
    assert ticket["message"].count("may have been delivered") == 1
    sure = tickets.ticket_of(Result(None, Verdict.UNSENT, detail="no connection"), ISSUED)
    assert sure["details"]["error"] == "ProviderError"
    assert "may have been delivered" not in sure["message"]


def test_how_long_to_wait_is_said() -> None:
    ticket = tickets.ticket_of(
        Result(None, Verdict.UNAVAILABLE, 500, reason="InternalServerError", retry_after=900.0), "x"
    )
    assert ticket["details"]["retryAfter"] == 900
    assert "after 900 s" in ticket["message"]


@pytest.mark.parametrize(
    ("ticket", "outcome"),
    [
        ({"status": "ok", "id": "x"}, "ok"),
        ({"status": "error", "details": {"error": "DeviceNotRegistered"}}, "DeviceNotRegistered"),
        ({"status": "error", "details": {"error": "Future"}}, "other"),
        ({"status": "error", "details": {"error": []}}, "other"),
        ({"status": "error", "details": []}, "other"),
        ({}, "other"),
    ],
)
def test_tickets_are_counted_by_words_that_are_known(ticket: Any, outcome: str) -> None:
    assert tickets.outcome_of(ticket) == outcome
