"""`pushcore tokens`: what kind each token is, and what is the matter with the unknown ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pushcore.cli.commands.tokens import TokenCounts
from pushcore.cli.main import main
from pushcore.cli.report.tally import MAX_KINDS, OTHER

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
EXPO = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"


def test_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        APNS,
        f"{APNS},android",
        f"{FCM},",
        f"{FID},android",
        f"{EXPO},ios",
        "no-known-shape,",
        "no-known-shape,android",
        "abcd,ios",
        f"{APNS},toaster",
        '"{""type"":""ios"",""data"":""abcd""}",',
        ",",
    ]
    (tmp_path / "devices.csv").write_text("\n".join(["token,platform", *rows]))
    assert main(["tokens", str(tmp_path / "devices.csv"), "--output", str(tmp_path / "kinds.csv")]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = [line.split() for line in said.out.splitlines()]
    assert [line[:2] for line in lines[:5]] == [
        ["apns", "2"],
        ["fcm", "2"],
        ["fid", "1"],
        ["expo", "1"],
        ["unknown", "5"],
    ]
    assert lines[-3][:4] == ["duplicate", "1", "the", "token"]  # abcd
    assert lines[-2][:4] == ["duplicate", "1", "an", "installation"]  # the installation id, beside its token
    assert lines[-1] == ["in", "all", "11"]
    with (tmp_path / "kinds.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["row", "token", "kind", "platform", "reason"]
    assert [(each["kind"], each["platform"]) for each in found] == [
        ("unknown", ""),  # its row has one column
        ("unknown", "fcm"),
        ("fcm", "fcm"),
        ("fid", "fcm"),
        ("expo", "ios".replace("ios", "apns")),
        ("unknown", ""),
        ("fcm", "fcm"),
        ("apns", "apns"),
        ("unknown", ""),
        ("apns", "apns"),
        ("unknown", ""),
    ]
    assert found[1]["reason"] == "platform is 'android', but this is a device token of APNs"
    assert found[9]["token"] == "abcd"
    assert [each["row"] for each in found] == [str(row) for row in range(1, 12)]


def test_kinds_to_the_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "devices.ndjson").write_text(f'{{"token":"{FCM}"}}\n')
    assert main(["tokens", str(tmp_path / "devices.ndjson"), "--output", "-"]) == 0
    said = capfd.readouterr()
    assert said.out == f"row,token,kind,platform,reason\n1,{FCM},fcm,fcm,\n"
    assert "registration tokens of FCM" in said.err


def test_kinds_never_replace_the_audience(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("token\naa\n")
    assert main(["tokens", str(path), "--output", str(path)]) == 2
    assert "is the audience; expected another file" in capsys.readouterr().err
    assert path.read_text() == "token\naa\n"
    assert main(["tokens", str(path), "--output", str(tmp_path)]) == 2
    assert main(["tokens", str(tmp_path / "no.csv")]) == 2


@pytest.mark.parametrize("platform", ["", "ios"])
def test_without_a_column_platform_the_token_alone_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], platform: str
) -> None:
    path = tmp_path / "devices.csv"
    path.write_text(f"token,platform\nabcd,{platform}\n" if platform else "token\nabcd\n")
    assert main(["tokens", str(path)]) == 0
    kind, count, *_ = capsys.readouterr().out.split()
    assert (kind, count) == ("apns" if platform else "unknown", "1")


def test_the_reasons_are_counted_apart_up_to_a_limit_the_most_frequent_first() -> None:
    counting = TokenCounts(None)
    for number in range(MAX_KINDS + 3):
        counting._bad(number, "", f"reason {number}\x1b")
    counting._bad(0, "", "reason 1\x1b")
    assert (len(counting.reasons), counting.reasons[OTHER]) == (MAX_KINDS + 1, 3)
    lines = counting.lines()
    assert lines[0].split()[:2] == ["unknown", "204"]
    assert lines[1].split(maxsplit=1) == ["3", OTHER]
    assert lines[2].split(maxsplit=1) == ["2", r"reason 1\x1b"]
    assert lines[-1].split() == ["in", "all", "204"]
    counting.close()


@pytest.mark.parametrize("output", [None, "-"])
def test_counts_as_json(tmp_path: Path, capfd: pytest.CaptureFixture[str], output: str | None) -> None:
    (tmp_path / "devices.csv").write_text(f"token\n{APNS}\nno-known-shape\n{EXPO}\n")
    more = [] if output is None else ["--output", output]
    assert main(["tokens", str(tmp_path / "devices.csv"), "--json", *more]) == 0
    said = capfd.readouterr()
    values = json.loads(said.err if output else said.out)
    assert values["rows"] == 3
    assert values["kinds"] == {"apns": 1, "fcm": 0, "fid": 0, "expo": 1, "unknown": 1}
    assert [(each["rows"], bool(each["reason"])) for each in values["reasons"]] == [(1, True)]


def test_rows_with_keys_have_their_token_where_send_finds_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"type": "ios", "data": APNS}, {"deviceToken": APNS}]
    (tmp_path / "devices.ndjson").write_text("\n".join(map(json.dumps, rows)))
    assert main(["tokens", str(tmp_path / "devices.ndjson"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kinds"]["apns"] == 1
    assert said["reasons"] == [
        {"reason": "the row has no token; did you mean 'deviceToken'? Its name must be token", "rows": 1}
    ]


def test_a_token_of_no_known_shape_is_no_formula_whatever_its_platform(tmp_path: Path) -> None:
    evil = ["=1+1", "@SUM(1)", "\x1b[31mred"]
    rows = "".join(f"{token},{platform}\n" for token in evil for platform in ("ios", "android", ""))
    (tmp_path / "devices.csv").write_text(f"token,platform\n{rows}{FCM},android\n")
    words = ["tokens", str(tmp_path / "devices.csv"), "--output", str(tmp_path / "kinds.csv")]
    assert main(words) == 0
    with (tmp_path / "kinds.csv").open(newline="") as file:
        shown = [row["token"] for row in csv.DictReader(file)]
    assert shown == [text for text in ("'=1+1", "'@SUM(1)", "\\x1b[31mred") for _ in range(3)] + [FCM]
    assert main([*words, "--results-raw"]) == 0
    with (tmp_path / "kinds.csv").open(newline="") as file:
        assert [row["token"] for row in csv.DictReader(file)][::3] == [*evil, FCM]
