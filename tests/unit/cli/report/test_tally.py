"""Counts of rows, added up over processes and taken out of journals."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from pushcore.cli.report.tally import REGISTERED_SINCE, ResultCounts
from pushcore.fcm.errors import DEAD_TOKEN, REASONS, SUSPECT_TOKEN
from pushcore.journal.outcome import UncommonOutcome, entry_of
from pushcore.models.fcm import Message
from pushcore.payloads.apns_rows import ApnsRow
from pushcore.results import Result, Verdict

FOREIGN = "SENDER_ID_MISMATCH"


class FcmRow(Message):
    row = 1


PUSH = FcmRow(token="a:b")


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


@pytest.mark.parametrize(
    ("result", "suspect"),
    [
        (Result(PUSH, Verdict.INVALID, 400, 1, reason="INVALID_ARGUMENT", row=SUSPECT_TOKEN), 1),
        (
            Result(PUSH, Verdict.INVALID, 400, 1, reason="INVALID_ARGUMENT", row=REASONS["INVALID_ARGUMENT"]),
            0,
        ),
        (Result(PUSH, Verdict.UNREGISTERED, 400, 1, reason="INVALID_ARGUMENT", row=DEAD_TOKEN), 0),
        (Result(PUSH, Verdict.INVALID, reason="INVALID_ARGUMENT", detail="the token is empty"), 0),
        (Result(PUSH, Verdict.INVALID, 200, 1, reason="InvalidRegistration"), 1),
    ],
    ids=["suspect", "the push", "dead", "found here", "legacy"],
)
def test_fcms_suspects_are_counted_as_they_come_and_by_their_stored_words(
    result: Result, suspect: int
) -> None:
    live = ResultCounts()
    live.take(result, "fcm")
    over_processes = ResultCounts()
    over_processes.add(*json.loads(json.dumps(live.packed())))
    kept = entry_of(result)[3]
    assert isinstance(kept, UncommonOutcome)
    platform, verdict, _, reason, _ = kept.kind
    journal = ResultCounts.of_journal({(platform, verdict, reason or ""): 1})
    for counted in (live, over_processes, journal):
        assert counted.to_dict()["suspect_tokens"] == suspect
        assert any(line.startswith("suspect: 1 token (") for line in counted.advice()) is bool(suspect)
    assert str(reason).startswith(str(result.reason)) or result.attempts == 0


def test_tokens_that_were_accepted_elsewhere_are_named_with_their_environment() -> None:
    found = ResultCounts()
    found.tallies["apns"].count(Verdict.ACCEPTED, "sandbox", 3, times=2)
    (advice,) = found.advice()
    assert advice.startswith("sandbox: 2 tokens of the sandbox environment; write that into your audience")
