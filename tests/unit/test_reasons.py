"""A reason means one thing everywhere: each row of the tables, through the engine, the breaker and the summary."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.apns.reasons import CHANNEL_REASONS, CHANNEL_TABLE
from pushcore.apns.reasons import REASONS as APNS_REASONS
from pushcore.apns.reasons import TABLE as APNS_TABLE
from pushcore.cli.report.tally import PlatformTally
from pushcore.engine.breaker import MINIMUM, RUN, Breaker
from pushcore.engine.rate import Rate
from pushcore.fcm.errors import REASONS as FCM_REASONS
from pushcore.fcm.errors import TABLE as FCM_TABLE
from pushcore.fcm.legacy_errors import REASONS as LEGACY_REASONS
from pushcore.reasons import (
    INVALID,
    MISCONFIGURED,
    UNAVAILABLE,
    UNEXPECTED,
    UNEXPECTED_SUCCESS,
    UNKNOWN,
    UNNAMED,
    Blame,
    LimitScope,
    Reason,
    ReasonTable,
    describe_unexpected,
    lookup,
    printable_word,
    words,
)
from pushcore.results import Accepted, Result, Verdict
from tests.support.scripted import STEADY, ScriptedClient, ScriptedPush
from tests.unit.engine.stage import Stage

WAITS = {
    "IdleTimeout": 60.0,
    "TooManyProviderTokenUpdates": 1200.0,
    "TooManyRequests": 30.0,
    "InternalServerError": 900.0,
    "ServiceUnavailable": 60.0,
    "Shutdown": 60.0,
    "QUOTA_EXCEEDED": 60.0,
    "UNAVAILABLE": 10.0,
    "INTERNAL": 10.0,
}
"""Seconds before the first retry, of those that are retried."""
SUSPECTS = {"BadDeviceToken", "DeviceTokenNotForTopic", "SENDER_ID_MISMATCH"}
SCOPES = {"TooManyRequests": "device", "QUOTA_EXCEEDED": "project"}
BLAMES = {
    "BadDeviceToken": "token",
    "DeviceTokenNotForTopic": "token",
    "TooManyProviderTokenUpdates": "configuration",
}
BY_VERDICT = {Verdict.UNREGISTERED: "token", Verdict.INVALID: "push", Verdict.MISCONFIGURED: "configuration"}

ROWS = [("apns", row) for row in APNS_REASONS.values()] + [("fcm", row) for row in FCM_REASONS.values()]


def name_of(value: object) -> str:
    return value.name if isinstance(value, Reason) else str(value)


@pytest.mark.parametrize(("provider", "row"), ROWS, ids=name_of)
def test_each_reason_through_engine_breaker_and_summary(provider: str, row: Reason) -> None:
    name, quota = row.name, provider == "fcm"
    status = row.status or 500

    # The engine: the verdict, and the wait before the first retry.
    stage = Stage(ScriptedClient(name=provider, quota=quota), retry=STEADY)
    stage.send([ScriptedPush(1)])
    stage.client.answer(verdict=row.verdict, reason=name, status=status)
    if name in WAITS:
        assert stage.ready == []
        assert stage.lane.retries.delayed.next_due - stage.now == WAITS[name]
    else:
        assert stage.verdicts() == [row.verdict]
        assert stage.lane.retries.delayed.next_due == math.inf
    assert row.wait == WAITS.get(name)

    # The rate: an answer with a time to wait closes the gate of a whole project, and of nothing smaller.
    assert row.scope == SCOPES.get(name)
    stage = Stage(ScriptedClient(name=provider, quota=quota), rate=Rate(1e6))
    stage.send([ScriptedPush(1)])
    stage.client.answer(verdict=row.verdict, reason=name, status=status, retry_after=7.0)
    assert stage.lane.gate.limiter is not None
    assert stage.lane.gate.limiter.closed(stage.now) == (7.0 if row.scope == "project" else 0.0)

    # The result, as a client makes it.
    (result,) = stage.ready
    assert result.row is row
    assert result.suspect is row.suspect is (name in SUSPECTS)
    assert row.blame == BLAMES.get(name, BY_VERDICT.get(row.verdict, "provider"))
    assert row.advice.endswith(".")

    # The breaker: stops for suspects and for what blames the configuration, and says what to do.
    breaker = Breaker()
    needed = next((count for count in range(1, MINIMUM + 1) if breaker.take(result)), None)
    if row.verdict is Verdict.MISCONFIGURED:
        assert needed == RUN or name in SUSPECTS
    else:
        assert needed == (MINIMUM if name in SUSPECTS else None)
    if needed is not None:
        assert (row.if_all or row.advice).removesuffix(".") in str(breaker.trip)

    # The summary, from words alone.
    tally = PlatformTally(provider)
    tally.count(row.verdict, name, 1)
    assert dict(tally.suspects) == ({name: 1} if name in SUSPECTS else {})
    assert any(line.startswith("suspect: 1 token") for line in tally.advice("")) is (name in SUSPECTS)


@pytest.mark.parametrize("row", [*CHANNEL_REASONS.values(), *LEGACY_REASONS.values()], ids=name_of)
def test_each_reason_of_the_other_tables_is_known_and_retried_by_its_verdict(row: Reason) -> None:
    provider = "apns" if row in CHANNEL_REASONS.values() else "fcm"
    assert lookup(provider, row.status, row.name).verdict is row.verdict
    assert (row.wait is not None) == (row.verdict in (Verdict.THROTTLED, Verdict.UNAVAILABLE))
    assert row.advice.endswith(".")
    assert row.name in words()


@pytest.mark.parametrize(
    ("reason", "scope"), [("DeviceMessageRateExceeded", "device"), ("TopicsMessageRateExceeded", "topic")]
)
def test_the_legacy_api_names_its_scopes(reason: str, scope: str) -> None:
    assert LEGACY_REASONS[reason].scope == scope


# --- words and statuses of no table ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "status", "verdict", "wait", "scope", "blame"),
    [
        ("apns", 400, "INVALID", None, None, "push"),
        ("apns", 403, "MISCONFIGURED", None, None, "configuration"),
        ("apns", 404, "INVALID", None, None, "push"),
        ("apns", 410, "UNREGISTERED", None, None, "token"),
        ("apns", 429, "THROTTLED", 30.0, "device", "provider"),
        ("apns", 500, "UNAVAILABLE", 900.0, None, "provider"),
        ("apns", 503, "UNAVAILABLE", 900.0, None, "provider"),
        ("fcm", 401, "MISCONFIGURED", None, None, "configuration"),
        ("fcm", 403, "MISCONFIGURED", None, None, "configuration"),
        ("fcm", 404, "MISCONFIGURED", None, None, "configuration"),
        ("fcm", 405, "MISCONFIGURED", None, None, "configuration"),
        *(("fcm", status, "UNAVAILABLE", 10.0, None, "provider") for status in (408, 409, 421, 425)),
        *(("apns", status, "UNAVAILABLE", 60.0, None, "provider") for status in (408, 409, 421, 425)),
        ("fcm", 429, "THROTTLED", 60.0, "project", "provider"),
        ("fcm", 503, "UNAVAILABLE", 10.0, None, "provider"),
        ("apns", 700, "UNKNOWN", 10.0, None, "provider"),
        ("fcm", None, "UNKNOWN", 10.0, None, "provider"),
    ],
)
@pytest.mark.parametrize("word", [None, "SomethingNew"])
def test_an_unknown_reason_means_what_its_status_does(
    provider: str,
    status: int | None,
    verdict: str,
    wait: float | None,
    scope: LimitScope | None,
    blame: Blame,
    word: str | None,
) -> None:
    row = lookup(provider, status, word)
    assert (row.verdict.value, row.wait, row.scope, row.blame) == (verdict, wait, scope, blame)
    assert not row.suspect
    assert row.advice.endswith(".")


@pytest.mark.parametrize("table", [APNS_TABLE, CHANNEL_TABLE, FCM_TABLE])
@pytest.mark.parametrize("status", [*range(200, 600), 700])
def test_a_response_that_is_not_the_providers_is_temporary_only_by_its_status(
    table: ReasonTable, status: int
) -> None:
    row = table.of_unexpected(status)
    temporary = status in (408, 409, 421, 425, 429) or 500 <= status < 600
    assert (row.verdict in (Verdict.UNAVAILABLE, Verdict.THROTTLED)) is temporary
    assert (row.wait is not None) is (temporary or row.verdict is Verdict.UNKNOWN)
    assert (row.name == "UnexpectedResponse") is (not temporary and status < 600)


def test_a_word_with_another_status_than_its_own_means_what_the_status_does() -> None:
    assert lookup("apns", 503, "BadDeviceToken").wait == 900
    assert lookup("fcm", 502, "QUOTA_EXCEEDED").verdict is Verdict.UNAVAILABLE


def test_a_word_counts_with_any_status_that_means_the_same_verdict() -> None:
    assert lookup("apns", 404, "ChannelNotRegistered") is CHANNEL_REASONS["ChannelNotRegistered"]
    assert lookup("apns", 404, "BadDeviceToken").suspect
    assert lookup("fcm", 400, "BadDeviceToken") is UNNAMED[Verdict.INVALID]


def test_a_stored_word_alone_is_enough() -> None:
    assert lookup("apns", None, "BadDeviceToken") is APNS_REASONS["BadDeviceToken"]
    assert lookup("fcm", None, "NotRegistered") is LEGACY_REASONS["NotRegistered"]
    assert lookup("apns", None, "SENDER_ID_MISMATCH").verdict is Verdict.UNKNOWN
    assert lookup(None, None, "SENDER_ID_MISMATCH") is FCM_REASONS["SENDER_ID_MISMATCH"]


ANY_WORD = st.none() | st.text(max_size=20) | st.sampled_from(sorted(words()))


@given(
    provider=st.none() | st.sampled_from(["apns", "fcm", "", "third"]),
    status=st.none() | st.integers(-1000, 100_000) | st.integers(100, 599),
    word=ANY_WORD,
)
def test_any_pair_has_a_row(provider: str | None, status: int | None, word: str | None) -> None:
    row = lookup(provider, status, word)
    assert isinstance(row, Reason)
    assert row.advice
    for verdict in Verdict:
        result = Result(ScriptedPush(1), verdict, status, 1, reason=word)
        assert result.row.verdict is verdict
        assert result.suspect is result.row.suspect


# --- results -----------------------------------------------------------------------------------------------------


def test_a_row_of_another_verdict_is_not_the_results() -> None:
    row = replace(APNS_REASONS["Shutdown"])
    assert (
        Result(ScriptedPush(1), Verdict.UNSENT, None, 1, reason="Shutdown", row=row).row
        is UNNAMED[Verdict.UNSENT]
    )
    assert Result(ScriptedPush(1), Verdict.UNAVAILABLE, 503, 1, reason="Shutdown", row=row).row is row


def test_an_accepted_result_has_its_row_in_its_class() -> None:
    accepted = Accepted()
    assert accepted.row is UNNAMED[Verdict.ACCEPTED]
    assert "row" in vars(Accepted)


def test_a_copied_result_keeps_its_row() -> None:
    result = Result("push", Verdict.THROTTLED, 429, 1, row=APNS_REASONS["TooManyRequests"])
    assert copy.copy(result).row is result.row
    assert pickle.loads(pickle.dumps(result)).row == result.row


def test_words_that_end_in_logs_are_short_and_print() -> None:
    assert printable_word(" a\x1bb\n", 100) == "a b"
    assert printable_word("x" * 200, 100) == "x" * 100
    assert printable_word("\n", 100) is None
    assert printable_word(7, 100) is None


def test_a_token_is_unknown_where_another_environment_or_project_may_know_it() -> None:
    rows = {**APNS_REASONS, **FCM_REASONS}
    # Not of another topic, and not where the configuration is to blame; FCM's invalid tokens are read with their details.
    assert {name for name, row in rows.items() if row.unknown_token} == {"BadDeviceToken"}


GATEWAY = "a response of a gateway or a proxy, not in the form of APNs"


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (502, b"", f"502 with an empty body: {GATEWAY}"),
        (429, b" \r\n\t\xef\xbb\xbf", f"429 with an empty body: {GATEWAY}"),
        (500, b"no", f"500 with a body that is not JSON: {GATEWAY}"),
        (430, b"{}", "this is not a response of APNs (a proxy, a wrong URL?): 430 with JSON of another form"),
        (428, b"[", "this is not a response of APNs (a proxy, a wrong URL?): 428 with JSON of another form"),
        (
            499,
            b"no",
            "this is not a response of APNs (a proxy, a wrong URL?): 499 with a body that is not JSON",
        ),
        (200, b"<p>", "this is not a response of APNs (a proxy, a wrong URL?): 200 with an HTML page"),
        (
            502,
            b"<p><TITLE lang=en>Bad\n gateway </title>",
            f'502 with an HTML page, "Bad  gateway": {GATEWAY}',
        ),
        (502, b"<title></title>", f"502 with an HTML page: {GATEWAY}"),
        (502, b"<title>" + b"x" * 61, f'502 with an HTML page, "{"x" * 60}": {GATEWAY}'),
        (502, b"<title>" + b" " * 199 + b"x" * 9, f"502 with an HTML page: {GATEWAY}"),
        (502, b"<" + b" " * (4096 - 9) + b"<title>x", f'502 with an HTML page, "x": {GATEWAY}'),
        (502, b"<" + b" " * (4096 - 8) + b"<title>x", f"502 with an HTML page: {GATEWAY}"),
    ],
)
def test_an_unexpected_response_is_described(status: int, body: bytes, sentence: str) -> None:
    assert describe_unexpected("APNs", status, body) == sentence


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (199, UNKNOWN),
        (200, UNKNOWN),
        (299, UNKNOWN),
        (300, MISCONFIGURED),
        (599, UNAVAILABLE),
        (600, UNKNOWN),
    ],
)
def test_the_edges_of_unexpected_statuses(status: int, verdict: Verdict) -> None:
    row = APNS_TABLE.of_unexpected(status)
    assert row.verdict is verdict
    assert (row.name == "UnexpectedResponse") is (200 <= status < 500)


def test_a_table_has_a_row_for_each_hundred() -> None:
    table = ReasonTable((), {}, exact=False)
    verdicts = [table.of_status(status).verdict for status in (199, 200, 300, 400, 499, 500, 599, 600)]
    assert verdicts == [
        UNKNOWN,
        Verdict.ACCEPTED,
        UNKNOWN,
        INVALID,
        INVALID,
        UNAVAILABLE,
        UNAVAILABLE,
        UNKNOWN,
    ]


def test_a_row_without_settings_has_the_defaults() -> None:
    row = Reason(0, "X", INVALID, "Do it.")
    assert (row.wait, row.setting, row.asked_setting, row.blames, row.if_all) == (None,) * 5
    assert (row.scope, row.stored) == (None, None)
    assert (row.early, row.suspect, row.about_topic, row.too_large) == (False,) * 4
    with pytest.raises(AttributeError):
        row.wait = 1.0  # type: ignore[misc]  # it is frozen


@pytest.mark.parametrize(
    ("provider", "status", "early"),
    [
        (provider, status, status in (408, 421))
        for provider in ("apns", "fcm")
        for status in (408, 409, 421, 425)
    ],
)
def test_a_request_on_the_wrong_connection_is_retried_early(provider: str, status: int, early: bool) -> None:
    row = lookup(provider, status, None)
    assert (row.status, row.early) == (status, early)


@pytest.mark.parametrize(
    ("status", "exact", "loose"),
    [
        (404, True, True),
        (None, True, True),
        (400, False, True),
        (499, False, True),
        (399, False, False),
        (500, False, False),
    ],
)
def test_a_word_is_found_by_its_status_or_by_the_hundred(
    status: int | None, exact: bool, loose: bool
) -> None:
    row = Reason(404, "Gone", INVALID, "Do it.")
    for strict, expected in ((True, exact), (False, loose)):
        table = ReasonTable((row,), {}, exact=strict)
        assert table.find(status, "Gone") is (row if expected else None)
        assert table.find(status, "Other") is table.find(status, None) is None
    first = Reason(400, "First", INVALID, "Do it.")
    assert ReasonTable((first,), {}, exact=False).find(499, "First") is first
    anywhere = Reason(0, "Any", INVALID, "Do it.")
    assert ReasonTable((anywhere,), {}, exact=True).find(500, "Any") is anywhere


def test_results_without_a_reason_wait_for_the_longer_minimum() -> None:
    waits = {verdict: row.wait for verdict, row in UNNAMED.items() if row.wait is not None}
    assert waits == {Verdict.THROTTLED: 60, UNAVAILABLE: 10, Verdict.UNSENT: 10, UNKNOWN: 10}
    assert APNS_TABLE.of_unexpected(200).wait == 10
    assert APNS_TABLE.of_unexpected(404).wait is None


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(403, MISCONFIGURED), (429, Verdict.THROTTLED), (430, INVALID), (404, INVALID), (500, UNAVAILABLE)],
)
def test_a_status_of_an_unknown_provider_means_the_usual(status: int, verdict: Verdict) -> None:
    assert lookup(None, status, None).verdict is verdict
    assert lookup("other", status, "Unknown").verdict is verdict


@pytest.mark.parametrize("provider", ["apns", "fcm"])
@pytest.mark.parametrize("status", [401, 403, 404, 405, 408, 409, 410, 421, 425, 429, 500])
def test_a_row_of_a_status_names_it(provider: str, status: int) -> None:
    assert lookup(provider, status, None).status in (status, 0)


def test_the_rows_of_no_word_or_of_any_status_have_no_status() -> None:
    assert {row.status for row in (*UNNAMED.values(), UNEXPECTED, UNEXPECTED_SUCCESS)} == {0}


@pytest.mark.parametrize("provider", ["apns", "fcm"])
def test_the_word_of_an_unexpected_response_is_known_to_each_provider(provider: str) -> None:
    assert lookup(provider, None, "UnexpectedResponse") is UNEXPECTED


@pytest.mark.parametrize("word", ["BadTopic", "TopicMismatch"])
def test_a_word_of_apns_counts_only_with_its_own_status(word: str) -> None:
    assert lookup("apns", 404, word) is UNNAMED[INVALID]


def test_the_stored_word_of_a_suspect_token_counts_with_any_status_of_the_client() -> None:
    for status in (400, 404):
        row = lookup("fcm", status, "INVALID_ARGUMENT (token)")
        assert (row.verdict, row.blame, row.suspect) == (INVALID, "token", True)
