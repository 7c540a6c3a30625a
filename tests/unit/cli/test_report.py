"""The results file and the summary."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pushcore.cli.campaign import ENOUGH, ConfigurationWatch
from pushcore.cli.problems import BadInput, printable
from pushcore.cli.report import COLUMNS, MAX_KINDS, OTHER, Report, iso, refuse_same_file
from pushcore.cli.rows import Row
from pushcore.errors import AlpnError, CertificateError, ConnectError
from pushcore.results import Result, Verdict

ID = "01234567-89ab-4cde-8f01-23456789abcd"


def row(number: int, token: str = "aa") -> Row:
    return Row(number, token, b"{}", None, "alert", None, None, None, ID)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def test_every_column(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    report = Report.to_file(str(path))
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
        zip(COLUMNS, ("2", "aa", "apns", "ACCEPTED", "200", "", ID, "", "1"), strict=True)
    )
    assert found[1] == dict(
        zip(
            COLUMNS,
            ("1", "bb", "apns", "UNREGISTERED", "410", "Unregistered", ID, "2023-11-14T22:13:20.250Z", "2"),
            strict=True,
        )
    )
    assert (found[2]["verdict"], found[2]["reason"], found[2]["id"]) == ("UNSENT", 'say "no", twice', "")
    assert (found[3]["token"], found[3]["verdict"], found[3]["attempts"]) == (
        'a,"b\r\n\udcff',
        "INVALID",
        "0",
    )


def test_the_summary_counts_by_verdict_and_reason_and_sets_suspects_apart(tmp_path: Path) -> None:
    report = Report.to_file(str(tmp_path / "results.csv"))
    for number in range(1, 4):
        report.take(Result(row(number), Verdict.ACCEPTED, 200, 1))
    for number in range(4, 6):
        report.take(Result(row(number), Verdict.INVALID, 400, 1, reason="BadDeviceToken"))
    report.take(Result(row(6), Verdict.INVALID, 400, 1, reason="DeviceTokenNotForTopic"))
    report.take(Result(row(7), Verdict.UNREGISTERED, 410, 1, reason="Unregistered"))
    report.bad_row(8, "", "odd \x1b[31m [red]")
    assert (report.total, report.accepted, report.dead, report.suspects.total()) == (8, 3, 1, 3)
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


def test_the_kinds_of_reasons_are_bounded(tmp_path: Path) -> None:
    report = Report.to_file(str(tmp_path / "results.csv"))
    for number in range(2 * MAX_KINDS):
        report.bad_row(number, "", f"reason {number}")
    assert len(report.counts) == MAX_KINDS + 1
    assert report.counts["INVALID", OTHER] == MAX_KINDS
    assert report.total == 2 * MAX_KINDS
    report.close()


def test_times_and_text() -> None:
    assert iso(0.0005) in ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.001Z")
    assert iso(1_762_331_400.25) == "2025-11-05T08:30:00.250Z"
    assert printable("a\x1b\n\u202eb") == r"a\x1b\n\u202eb"
    assert printable("abcdef", 3) == "abc…"


def test_results_never_replace_an_input(tmp_path: Path) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("token\n")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(BadInput, match="is an input"):
        refuse_same_file(str(tmp_path / "link"), None, str(tmp_path / "none"), str(path))
    refuse_same_file(str(tmp_path / "new.csv"), str(path))
    refuse_same_file("-", str(path))


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be written \\(Is a directory\\)"):
        Report.to_file(str(tmp_path))


def misconfigured() -> Result:
    return Result(row(1), Verdict.MISCONFIGURED, 403, 1, reason="InvalidProviderToken")


def test_only_a_run_that_blames_the_configuration_stops() -> None:
    watch = ConfigurationWatch()
    for _ in range(3):
        assert not any(watch.take(misconfigured()) for _ in range(ENOUGH - 1))
        assert not watch.take(Result(row(1), Verdict.INVALID, 400, 1, reason="BadDeviceToken"))
    assert not watch.alone
    assert [watch.take(misconfigured()) for _ in range(ENOUGH)][-2:] == [False, True]


@pytest.mark.parametrize("error", [CertificateError("not accepted"), AlpnError("no HTTP/2")])
def test_certificates_and_protocols_are_configuration(error: ConnectError) -> None:
    watch = ConfigurationWatch()
    assert [watch.take(Result(row(1), Verdict.UNSENT, detail=error)) for _ in range(ENOUGH)][-1]
    assert watch.explain() == f"UNSENT: {error}"


def test_what_was_found_before_sending_says_nothing_about_the_configuration() -> None:
    watch = ConfigurationWatch()
    watch.take(misconfigured())
    watch.take(Result(row(1), Verdict.INVALID, detail="the device token is not hexadecimal"))
    assert watch.alone
    assert watch.explain().startswith("InvalidProviderToken: Check key file")
    watch.take(Result(row(1), Verdict.UNSENT, detail=ConnectError("refused")))
    assert not watch.alone
