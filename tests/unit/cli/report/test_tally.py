"""Counts of rows, added up over processes and taken out of journals."""

from __future__ import annotations

import json
from collections import Counter

from pushcore.cli.report.tally import FOREIGN, REGISTERED_SINCE, ResultCounts
from pushcore.payloads.apns_rows import ApnsRow
from pushcore.results import Result, Verdict


def counts(first: int) -> ResultCounts:
    """Of a process whose rows begin with that number."""
    found = ResultCounts()
    found.tallies["apns"].accepted = 10
    push = ApnsRow(first, "aa", b"{}", None, "alert", None, None, None, "x")
    found.take(Result(push, Verdict.INVALID, 400, 1, reason="BadDeviceToken"), "apns")
    found.tallies["apns"].count(Verdict.UNREGISTERED, "Unregistered", first + 1)
    found.tallies["apns"].count(Verdict.UNREGISTERED, REGISTERED_SINCE, first + 2)
    found.tallies["fcm"].count(Verdict.MISCONFIGURED, FOREIGN, first + 3, "why")
    found.tallies[""].count(Verdict.INVALID, "odd", first + 4)
    return found


def test_two_processes_together() -> None:
    total = ResultCounts()
    for first in (100, 5):
        total.add(*json.loads(json.dumps(counts(first).packed())))
    assert (total.total, total.accepted) == (30, 20)
    apns = total.tallies["apns"]
    assert (apns.dead, apns.kept, apns.suspects) == (2, 2, {"BadDeviceToken": 2})
    assert apns.first["INVALID", "BadDeviceToken"] == (5, "")
    assert total.tallies["fcm"].first["MISCONFIGURED", FOREIGN] == (8, "why")


def test_a_journal_counts_the_same() -> None:
    one = counts(1)
    found = ResultCounts.of_journal(
        Counter(
            {
                ("apns", "ACCEPTED", ""): 10,
                ("apns", "INVALID", "BadDeviceToken"): 1,
                ("apns", "UNREGISTERED", "Unregistered"): 1,
                ("apns", "UNREGISTERED", REGISTERED_SINCE): 1,
                ("fcm", "MISCONFIGURED", FOREIGN): 1,
                ("", "INVALID", "odd"): 1,
            }
        )
    )
    assert found.advice() == one.advice()
    assert len(found.advice()) == 4
    assert [line.partition("  (first")[0] for line in one.lines()] == found.lines()
