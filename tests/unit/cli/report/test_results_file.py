"""The results file and the summary."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.report.results_file import COLUMNS, ResultCounter, ResultsFile, csv_row
from pushcore.cli.report.tally import MAX_KINDS, OTHER, REGISTERED_SINCE
from pushcore.errors import ConnectError
from pushcore.fcm.errors import find_name
from pushcore.payloads.apns_rows import ApnsRow
from pushcore.payloads.fcm_rows import FcmRow
from pushcore.results import Accepted, Result, Verdict

FOREIGN = "SENDER_ID_MISMATCH"

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def row(number: int, token: str = "aa") -> ApnsRow:
    return ApnsRow(number, token, b"{}", None, "alert", None, None, None, ID)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("raw", [False, True])
def test_every_column(tmp_path: Path, raw: bool) -> None:
    path = tmp_path / "results.csv"
    report = ResultsFile.to_file(str(path), raw=raw)
    assert report.take(Result(row(2), Verdict.ACCEPTED, 200, 1, ID))
    gone = Result(
        row(1, "bb"), Verdict.UNREGISTERED, 410, 2, ID, reason="Unregistered", timestamp=1_700_000_000.25
    )
    assert not report.take(gone)
    report.take(Result(row(3), Verdict.UNSENT, attempts=1, detail=ConnectError('say "no", twice')))
    report.bad_row(4, 'a,"b\r\n\udcff', "the row is odd")
    report.close()
    assert path.read_text(errors="surrogateescape").splitlines()[0] == ",".join(COLUMNS)
    found = read(path)
    assert found[0] == dict(
        zip(COLUMNS, ("2", "aa", "apns", "ACCEPTED", "200", "", ID, "", "1", "", ""), strict=True)
    )
    assert found[1] == dict(
        zip(
            COLUMNS,
            (
                "1",
                "bb",
                "apns",
                "UNREGISTERED",
                "410",
                "Unregistered",
                ID,
                "2023-11-14T22:13:20.250Z",
                "2",
                "yes",
                "",
            ),
            strict=True,
        )
    )
    assert (found[2]["verdict"], found[2]["reason"], found[2]["id"]) == ("UNSENT", 'say "no", twice', "")
    assert (found[3]["token"], found[3]["verdict"], found[3]["attempts"]) == (
        'a,"b\r\n\udcff' if raw else 'a,"b\\r\\n\udcff',
        "INVALID",
        "0",
    )


def test_the_summary_counts_by_verdict_and_reason_and_sets_suspects_apart(tmp_path: Path) -> None:
    report = ResultsFile.to_file(str(tmp_path / "results.csv"))
    for number in range(1, 4):
        report.take(Result(row(number), Verdict.ACCEPTED, 200, 1))
    for number in range(4, 6):
        report.take(Result(row(number), Verdict.INVALID, 400, 1, reason="BadDeviceToken"))
    report.take(Result(row(6), Verdict.INVALID, 400, 1, reason="DeviceTokenNotForTopic"))
    report.take(Result(row(7), Verdict.UNREGISTERED, 410, 1, reason="Unregistered"))
    report.bad_row(8, "", "odd \x1b[31m [red]")
    tally = report.counts.tallies["apns"]
    assert (report.counts.total, report.counts.accepted, tally.dead, tally.suspects.total()) == (8, 3, 1, 3)
    lines = report.summary(2.0)
    assert lines[0] == "8 rows in 2.0 s, 4 a second"
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["ACCEPTED", "3"],
        ["UNREGISTERED", "1"],
        ["INVALID", "2"],
        ["INVALID", "1"],
        ["INVALID", "1"],
    ]
    assert "BadDeviceToken  (first: row 4)" in lines[3]
    assert r"odd \x1b[31m [red]  (first: row 8)" in "\n".join(lines)
    assert lines[6].startswith("dead: 1 token; remove it from your audience")
    assert lines[7].startswith(
        "suspect: 3 tokens (BadDeviceToken 2, DeviceTokenNotForTopic 1); a wrong --environment"
    )
    report.close()


def fcm_row(number: int, token: str = "f:APA91b", *, fid: bool = False) -> FcmRow:
    return FcmRow(number, token, fid=fid)


def test_rows_of_fcm(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    report = ResultsFile.to_file(str(path))
    named = Result(fcm_row(1), Verdict.ACCEPTED, 200, 1, b'{"name": "projects/p/messages/1"}', find_name)
    assert report.take(named)
    report.take(Result(fcm_row(2, 'odd,"token'), Verdict.UNREGISTERED, 404, 1, reason="UNREGISTERED"))
    report.take(Result(fcm_row(3, "cFid", fid=True), Verdict.MISCONFIGURED, 403, 1, reason=FOREIGN))
    found_here = Result(fcm_row(4), Verdict.INVALID, reason="INVALID_ARGUMENT", detail="data is too long")
    report.take(found_here)
    report.take(Result(fcm_row(5), Verdict.INVALID, 400, 1, reason="INVALID_ARGUMENT", detail="message.data"))
    report.bad_row(6, "x", "not sent", "fcm", Verdict.UNSENT)
    report.bad_row(7, "y", "of neither", "", Verdict.INVALID)
    report.take(Result(row(8), Verdict.ACCEPTED, 200, 1, ID))
    report.close()
    found = read(path)
    keys = ("token", "platform", "verdict", "status", "reason", "id", "attempts")
    assert [tuple(each[key] for key in keys) for each in found] == [
        ("f:APA91b", "fcm", "ACCEPTED", "200", "", "projects/p/messages/1", "1"),
        ('odd,"token', "fcm", "UNREGISTERED", "404", "UNREGISTERED", "", "1"),
        ("cFid", "fcm", "MISCONFIGURED", "403", "SENDER_ID_MISMATCH", "", "1"),
        ("f:APA91b", "fcm", "INVALID", "", "data is too long", "", "0"),
        ("f:APA91b", "fcm", "INVALID", "400", "INVALID_ARGUMENT", "", "1"),
        ("x", "fcm", "UNSENT", "", "not sent", "", "0"),
        ("y", "", "INVALID", "", "of neither", "", "0"),
        ("aa", "apns", "ACCEPTED", "200", "", ID, "1"),
    ]
    lines = report.summary(2.0)
    assert lines[0] == "8 rows in 2.0 s, 4 a second"
    assert [line for line in lines if not line.startswith("  ")][1:] == [
        "APNs: 1 row",
        "FCM: 6 rows",
        "neither APNs nor FCM: 1 row",
        "dead: 1 token of FCM; remove it from your audience (drop_token yes in the results)",
        "suspect: 1 token of FCM (SENDER_ID_MISMATCH 1); a service account of another project, or an apns, "
        "android or webpush part that Google dislikes, gives the same answer, so check those before you drop it",
    ]
    assert "INVALID_ARGUMENT  (first: row 5, message.data)" in "\n".join(lines)


def test_the_kinds_of_reasons_are_bounded(tmp_path: Path) -> None:
    report = ResultsFile.to_file(str(tmp_path / "results.csv"))
    for number in range(2 * MAX_KINDS):
        report.bad_row(number, "", f"reason {number}")
    counts = report.counts.tallies["apns"].counts
    assert len(counts) == MAX_KINDS + 1
    assert counts["INVALID", OTHER] == MAX_KINDS
    assert report.counts.total == 2 * MAX_KINDS
    report.close()


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written \\(Is a directory\\)"):
        ResultsFile.to_file(str(tmp_path))


@pytest.mark.parametrize(
    ("registered_at", "drop"),
    [
        (None, True),
        ("", True),
        ("2023-11-14T22:13:19Z", True),
        ("2023-11-14T22:13:21+00:00", False),
        ("2023-11-14", False),
        (1_700_000_001, False),
        (1_699_999_999_000, True),
        ("some day", False),
    ],
)
def test_a_token_that_was_registered_again_is_not_to_be_dropped(
    tmp_path: Path, registered_at: object, drop: bool
) -> None:
    path = tmp_path / "results.csv"
    report = ResultsFile.to_file(str(path))
    push = row(1)
    push.registered_at = registered_at
    result = Result(push, Verdict.UNREGISTERED, 410, 1, ID, reason="Unregistered", timestamp=1_700_000_000.25)
    report.take(result)
    report.close()
    (found,) = read(path)
    assert found["verdict"] == "UNREGISTERED"
    assert found["drop_token"] == ("yes" if drop else "")
    assert found["reason"] == result.reason == ("Unregistered" if drop else REGISTERED_SINCE)
    assert (report.counts.tallies["apns"].dead, report.counts.tallies["apns"].kept) == (
        int(drop),
        int(not drop),
    )
    last = report.summary(1.0)[-1]
    assert last.startswith("dead: 1 token; remove it" if drop else "keep: 1 token that APNs called dead")


FORMULA = '=HYPERLINK("http://x")'


@pytest.mark.parametrize("raw", [False, True])
def test_texts_of_others_do_nothing_in_a_spreadsheet_and_ids_stay(raw: bool) -> None:
    write: Any = csv_row

    def cells(*outcome: Any) -> dict[str, str]:
        (line,) = csv.reader([write(*outcome, raw)])
        return dict(zip(COLUMNS, line, strict=True))

    mark = "" if raw else "'"
    bad = cells(1, FORMULA, "", Verdict.INVALID, None, "@SUM(1)\x1b[2J", None, None, 0)
    assert bad["token"] == mark + FORMULA
    assert bad["reason"] == ("@SUM(1)\x1b[2J" if raw else r"'@SUM(1)\x1b[2J")
    fcm = f"-{'x' * 21}:APA91b{'x' * 134}"
    gone = cells(2, fcm, "fcm", Verdict.UNREGISTERED, 404, "UNREGISTERED", "=1", None, 1)
    assert gone["id"] == f"{mark}=1"
    apns = cells(3, "ab" * 32, "apns", Verdict.INVALID, 400, "BadDeviceToken", "-user-id", None, 1)
    assert (apns["id"], apns["token"]) == ("-user-id", "ab" * 32)
    taken = cells(4, fcm, "fcm", Verdict.ACCEPTED, 200, None, "projects/p/messages/1", None, 1)
    assert (taken["token"], taken["id"]) == (fcm, "projects/p/messages/1")


def accepted(push: Any) -> Accepted[Any]:
    """As the engine makes those of nearly all pushes."""
    result: Accepted[Any] = Accepted.__new__(Accepted)
    result.push, result.attempts, result._id, result._find = push, 1, None, None
    return result


def test_what_nearly_all_become_is_a_row_without_quotes_or_just_counted(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    with path.open("w") as file:
        report = ResultsFile(file, "part", header=False)
        assert report.take(accepted(row(7, "bb")))
    assert path.read_text() == f"7,bb,apns,ACCEPTED,200,,{ID},,1,,\n"
    counter = ResultCounter("counts")
    assert counter.take(accepted(row(7, "bb")))
    assert counter.take(accepted(FcmRow.__new__(FcmRow)))
    assert not counter.take(Result(row(8), Verdict.INVALID, 400, 1, reason="BadDeviceToken"))
    assert (counter.counts.total, counter.counts.accepted) == (3, 2)
    assert [counter.counts.tallies[name].accepted for name in ("apns", "fcm")] == [1, 1]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("name", "sent_id"),
    [
        ("projects/p/messages/1", "projects/p/messages/1"),
        ('projects/p/messages/1,"', 'projects/p/messages/1,"'),
        ("projects/p/messages/-1;=2", "projects/p/messages/-1;=2"),
        ("=1", None),  # no name of a message
        ("", None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("token", ["f:APA91b", 'odd,"token', "odd\rtoken"], ids=repr)
def test_an_accepted_message_has_the_same_row_as_any_outcome(
    tmp_path: Path, token: str, name: str, sent_id: str | None, raw: bool
) -> None:
    result = accepted(fcm_row(7, token))
    result._id, result._find = orjson.dumps({"name": name}), find_name
    path = tmp_path / "results.csv"
    with path.open("w", newline="") as file:
        assert ResultsFile(file, "part", header=False, raw=raw).take(result)
    with path.open(newline="") as file:
        written = file.read()
    assert written == csv_row(7, token, "fcm", Verdict.ACCEPTED, 200, None, sent_id, None, 1, raw)
