"""The last words of a run and its exit status, with a journal and without."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pushcore.cli.report.tally import ResultCounts
from pushcore.cli.run.exit_report import ExitReport, conclude, conclude_journal
from pushcore.cli.run.journals import CampaignProgress
from pushcore.journal.journal import Status
from pushcore.results import Verdict

BOTH = ("apns", "fcm")
KEY = "InvalidProviderToken: check the key"
Capture = pytest.CaptureFixture[str]


def counts(accepted: int, invalid: int = 0) -> ResultCounts:
    found = ResultCounts()
    found.tallies["apns"].accepted = accepted
    if invalid:
        found.tallies["apns"].count(Verdict.INVALID, "odd", 1, times=invalid)
    return found


def progress(done: int, rows: int | None, accepted: int | None = None) -> CampaignProgress:
    tally = Counter({("apns", "ACCEPTED", ""): done if accepted is None else accepted})
    status = Status("c", rows, done, done, tally, 0, 0, 1, 0.0, 1.0, 2.0, None, 0.0, 0)
    return CampaignProgress("a\x1b.db", "c", {}, (status,), False)


def of(
    ending: ExitReport, counted: ResultCounts, platforms: tuple[str, ...] = BOTH, **options: object
) -> int:
    return conclude(ending, counted, platforms, name="r.csv", **{"summary": False, **options})  # type: ignore[arg-type]


def said(capsys: Capture) -> list[str]:
    """On the standard error; the standard output may hold the results."""
    found = capsys.readouterr()
    assert found.out == ""
    return found.err.splitlines()


# --- without a journal ------------------------------------------------------------------------------------------------


def test_a_run_in_which_every_row_has_a_result_says_nothing_more(capsys: Capture) -> None:
    assert of(ExitReport(rows=3, upto=3, ended=True), counts(2, 1)) == 0
    assert said(capsys) == []


def test_the_summary_counts_and_gives_the_rate(capsys: Capture) -> None:
    assert of(ExitReport(seconds=2.0, rows=4000, ended=True), counts(3999, 1), summary=True) == 0
    assert said(capsys) == [
        "4,000 rows in 2.0 s, 2,000 a second",
        "  ACCEPTED             3,999",
        "  INVALID                  1  odd  (first: row 1)",
    ]


def test_a_problem_goes_before_everything_else(capsys: Capture) -> None:
    ending = ExitReport(rows=9, upto=9, signalled=True, trips={"apns": KEY}, problem="the disk is full")
    assert of(ending, counts(2)) == 1
    assert said(capsys) == ["pushcore: the disk is full; rows that are not in r.csv have no result"]


@pytest.mark.parametrize(
    ("trips", "ended", "platforms", "expected"),
    [
        (
            ("apns",),
            False,
            ("apns",),
            [f"pushcore: stopped, because every push would fail: {KEY}; rows after 7 were not read"],
        ),
        (("apns",), True, ("apns",), [f"pushcore: stopped, because every push would fail: {KEY}"]),
        (("apns",), False, BOTH, [f"pushcore: stopped, because every push to APNs would fail: {KEY}"]),
        (
            BOTH,
            False,
            BOTH,
            [
                f"pushcore: stopped, because every push to {name} would fail: {KEY}; rows after 7 were not read"
                for name in ("APNs", "FCM")
            ],
        ),
    ],
)
def test_a_wrong_configuration_is_told_for_each_provider(
    capsys: Capture, trips: tuple[str, ...], ended: bool, platforms: tuple[str, ...], expected: list[str]
) -> None:
    ending = ExitReport(rows=7, upto=7, ended=ended, trips=dict.fromkeys(trips, KEY))
    assert of(ending, counts(0, 7), platforms) == 3
    assert said(capsys) == expected


def test_after_a_signal_it_says_which_rows_have_no_result(capsys: Capture) -> None:
    assert of(ExitReport(rows=7, upto=7, signalled=True), counts(7)) == 1
    assert of(ExitReport(rows=7, upto=7, signalled=True), counts(7), parts=2) == 1
    assert said(capsys) == [
        "pushcore: stopped by a signal; rows after 7 have no result",
        "pushcore: stopped by a signal; rows that are not in r.csv have no result",
    ]


def test_a_row_without_a_result_is_an_error_of_ours(capsys: Capture) -> None:
    assert of(ExitReport(rows=7, upto=7, ended=True), counts(5)) == 1
    assert said(capsys) == ["pushcore: 2 rows have no result: please report it"]


def test_an_audience_of_the_other_provider_alone_is_bad_input(capsys: Capture) -> None:
    assert of(ExitReport(rows=7, upto=7, ended=True, unserved=7), counts(0, 7), ("fcm",)) == 2
    assert said(capsys) == [
        "pushcore: no row could be sent: all are of APNs, which needs --apns-key or --apns-cert"
    ]
    assert of(ExitReport(rows=7, upto=7, ended=True, unserved=6), counts(1, 6), ("fcm",)) == 0
    assert of(ExitReport(ended=True), counts(0), ("fcm",)) == 0
    assert said(capsys) == []


# --- with a journal ---------------------------------------------------------------------------------------------------


def test_a_complete_campaign_counts_what_earlier_runs_have_done(capsys: Capture) -> None:
    ending = ExitReport(seconds=2.0, rows=10, ended=True)
    assert conclude_journal(ending, 4, progress(10, 10), BOTH, summary=True) == 0
    assert said(capsys) == [
        "6 rows in 2.0 s, 3 a second",
        "with those of earlier runs: 10 rows",
        "  ACCEPTED                10",
    ]
    assert conclude_journal(ending, 0, progress(10, 10), BOTH, summary=False) == 0
    assert said(capsys) == []


AGAIN = r"`pushcore resume a\x1b.db` continues"


@pytest.mark.parametrize(
    ("ending", "rows", "status", "expected"),
    [
        (ExitReport(problem="the disk is full", trips={"apns": KEY}), 9, 1, f"the disk is full; {AGAIN}"),
        (
            ExitReport(trips={"apns": KEY}, signalled=True),
            9,
            3,
            f"stopped, because every push to APNs would fail: {KEY}; after the cause is fixed, {AGAIN}",
        ),
        (ExitReport(trips={"apns": KEY}), 5, 3, f"stopped, because every push to APNs would fail: {KEY}"),
        (ExitReport(signalled=True), 9, 1, f"stopped by a signal; 4 rows left; {AGAIN}"),
        (ExitReport(signalled=True), None, 1, f"stopped by a signal; {AGAIN}"),
        (ExitReport(ended=True), 6, 1, f"incomplete; 1 row left; {AGAIN}"),
    ],
)
def test_an_incomplete_campaign_says_how_to_resume_it(
    capsys: Capture, ending: ExitReport, rows: int | None, status: int, expected: str
) -> None:
    assert conclude_journal(ending, 0, progress(5, rows), BOTH, summary=False) == status
    assert said(capsys) == [f"pushcore: {expected}"]


def test_a_complete_campaign_of_the_other_provider_alone_is_bad_input(capsys: Capture) -> None:
    ending = ExitReport(rows=5, unserved=5, ended=True)
    assert conclude_journal(ending, 0, progress(5, 5), ("apns",), summary=False) == 2
    assert said(capsys) == [
        "pushcore: no row could be sent: all are of FCM, which needs --fcm-service-account"
    ]


# --- of several processes ---------------------------------------------------------------------------------------------


def test_the_endings_of_processes_are_one() -> None:
    total = ExitReport(seconds=5.0, ended=True)
    total.add(ExitReport(seconds=3.0, rows=4, upto=8, ended=True, unserved=1, trips={"apns": "first"}))
    assert (total.ended, total.signalled, total.problem) == (True, False, None)
    total.add(ExitReport(rows=2, upto=6, signalled=True, trips={"apns": "second", "fcm": "x"}, problem="one"))
    total.add(ExitReport(ended=True, problem="two"))
    assert total == ExitReport(
        seconds=5.0,
        rows=6,
        upto=8,
        ended=False,
        unserved=1,
        signalled=True,
        trips={"apns": "first", "fcm": "x"},
        problem="one",
    )


# --- as JSON ----------------------------------------------------------------------------------------------------------


def test_the_summary_as_json_is_one_object_on_the_standard_output(capsys: Capture) -> None:
    counted = counts(3999, 1)
    counted.tallies["apns"].count(Verdict.UNREGISTERED, "Unregistered", 7, times=2)
    counted.tallies["apns"].count(Verdict.INVALID, "BadDeviceToken\udcff", 9)
    ending = ExitReport(seconds=2.00049, rows=5000, upto=4004, signalled=True)
    assert of(ending, counted, summary=True, as_json=True) == 1
    written = capsys.readouterr()
    assert written.err == "pushcore: stopped by a signal; rows after 4004 have no result\n"
    assert json.loads(written.out) == {
        "exit_status": 1,
        "message": "stopped by a signal; rows after 4004 have no result",
        "seconds": 2.0,
        "rows": 4003,
        "accepted": 3999,
        "reasons": [
            {"platform": "apns", "verdict": "ACCEPTED", "reason": None, "rows": 3999, "first_row": None},
            {
                "platform": "apns",
                "verdict": "UNREGISTERED",
                "reason": "Unregistered",
                "rows": 2,
                "first_row": 7,
            },
            {"platform": "apns", "verdict": "INVALID", "reason": "odd", "rows": 1, "first_row": 1},
            {
                "platform": "apns",
                "verdict": "INVALID",
                "reason": "BadDeviceToken\\udcff",
                "rows": 1,
                "first_row": 9,
            },
        ],
        "drop_tokens": 2,
        "keep_tokens": 0,
        "suspect_tokens": 0,
    }


@pytest.mark.parametrize(("written", "status"), [(0, 0), (1, 1)])
def test_the_summary_of_a_journal_as_json_has_the_status_of_the_command(
    capsys: Capture, written: int, status: int
) -> None:
    ending = ExitReport(seconds=1.0, rows=3, ended=True)
    found = conclude_journal(ending, 0, progress(3, 3), BOTH, summary=False, written=written, as_json=True)
    values = json.loads(capsys.readouterr().out)
    assert (found, values["exit_status"], values["rows"], values["message"]) == (status, status, 3, None)


def test_how_punctual_a_run_with_a_start_was(capsys: Capture) -> None:
    assert (ExitReport().lines(), ExitReport().times()) == ([], {})
    report = ExitReport(seconds=2.0, rows=3, ended=True, first_result=0.00149, last_result=1.99951)
    assert report.lines() == ["first result 0.001 s after --start-at, last after 2.000 s"]
    assert report.times() == {"first_result": 0.001, "last_result": 2.0}
    assert of(report, counts(3), summary=True) == 0
    assert report.lines()[0] in capsys.readouterr().err
