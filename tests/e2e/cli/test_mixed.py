"""`pushcore send` to both providers as a process, against both strict fakes as another."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, fated_token
from fakeservers.fcm.fates import fated_fid, fated_registration
from pushcore.cli.run.fake_servers import FakeProcess
from pushcore.models.tokens import EXPO_ADVICE

DEADLINE = 90.0
APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
EXPO = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"
PAYLOAD = {"title": "Hi {{name}}", "body": "B", "data": {"for": "{{name}}"}}
Results = dict[int, dict[str, str]]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProcess]:
    with FakeProcess(tmp_path_factory.mktemp("fake"), "all") as running:
        yield running


def of_apns(fake: FakeProcess) -> dict[str, str]:
    settings = fake.apns
    return {
        "apns_key": settings["key_file"],
        "key_id": settings["key_id"],
        "team_id": settings["team_id"],
        "topic": settings["topic"],
        "apns_url": settings["url"],
        "ca_file": settings["ca_file"],
    }


def of_fcm(fake: FakeProcess) -> dict[str, str]:
    settings = fake.fcm
    return {
        "fcm_service_account": settings["service_account_file"],
        "fcm_url": settings["url"],
        "ca_file": settings["ca_file"],
    }


def send(
    fake: FakeProcess,
    tmp_path: Path,
    rows: list[str],
    *extra: str,
    content: Any = PAYLOAD,
    **changes: Any,
) -> tuple[subprocess.CompletedProcess[str], Results]:
    """What the process said, and its results by row; every row must be there once."""
    (tmp_path / "devices.csv").write_text("\n".join(["token,platform,name", *rows]))
    (tmp_path / "payload.json").write_text(json.dumps(content))
    options: dict[str, str | None] = {
        **of_apns(fake),
        **of_fcm(fake),
        "audience": str(tmp_path / "devices.csv"),
        "payload": str(tmp_path / "payload.json"),
        "results": str(tmp_path / "results.csv"),
        **changes,
    }
    words = [sys.executable, "-m", "pushcore", "send", "--rate", "none", "--retry", "none", *extra]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)
    assert "Traceback" not in done.stderr
    output = done.stderr + done.stdout
    assert "PRIVATE KEY" not in output
    assert "bearer" not in output.lower()
    with (tmp_path / "results.csv").open(newline="") as file:
        outcome_rows = list(csv.DictReader(file))
    by_row = {int(row["row"]): row for row in outcome_rows}
    assert len(by_row) == len(outcome_rows)
    return done, by_row


def outcomes(results: Results) -> dict[int, tuple[str, str, str, str]]:
    return {
        row: (result["platform"], result["verdict"], result["status"], result["reason"])
        for row, result in sorted(results.items())
    }


def quoted(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def test_every_row_of_a_mixed_file_has_its_result(fake: FakeProcess, tmp_path: Path) -> None:
    json_token = quoted(json.dumps({"type": "android", "data": FCM}))
    rows = [
        f"{APNS},,Ada",
        f"{FCM},,Ada",
        f"{FID},,Ada",
        f"{EXPO},,Ada",
        f"{APNS},ios,Ada",
        f"{FCM},Android,Ada",
        f"{FID},fcm,Ada",
        f"{EXPO},android,Ada",
        f"{APNS},android,Ada",
        f"{FCM},ios,Ada",
        f"{json_token},,Ada",
        f"{fated_token('Unregistered')},,Ada",
        f"{fated_registration('Unregistered')},,Ada",
        f"{fated_fid('Unregistered')},,Ada",
        f"{fated_registration('InvalidToken')},,Ada",
        f"{fated_registration('SenderIdMismatch')},,Ada",
        f"{fated_registration('ApnsDisabled')},,Ada",
        f"{fated_registration('Unavailable')},,Ada",
        f"{fated_registration('QuotaExceeded')},,Ada",
        f"{fated_registration('BadGateway')},,Ada",
        f"{fated_registration('ThirdPartyAuth')},,Ada",
        f"{fated_registration('InternalReset')},,Ada",
        "../../etc/passwd,,Ada",
        f"{FCM},,{'x' * 5000}",
        f"{APNS},,{'x' * 5000}",
        f"{FCM},toaster,Ada",
        ",android,Ada",
        f"{FCM},Ada",
    ]
    done, outcome_rows = send(fake, tmp_path, rows)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert outcomes(outcome_rows) == {
        1: ("apns", "ACCEPTED", "200", ""),
        2: ("fcm", "ACCEPTED", "200", ""),
        3: ("fcm", "ACCEPTED", "200", ""),
        4: ("", "INVALID", "", EXPO_ADVICE),
        5: ("apns", "ACCEPTED", "200", ""),
        6: ("fcm", "ACCEPTED", "200", ""),
        7: ("fcm", "ACCEPTED", "200", ""),
        8: ("fcm", "INVALID", "", EXPO_ADVICE),
        9: ("fcm", "INVALID", "", "platform is 'android', but this is a device token of APNs"),
        10: (
            "apns",
            "INVALID",
            "",
            "platform is 'ios', but this is a registration token of FCM; platform fcm sends through FCM, to iOS as well",
        ),
        11: ("fcm", "ACCEPTED", "200", ""),
        12: ("apns", "UNREGISTERED", "410", "Unregistered"),
        13: ("fcm", "UNREGISTERED", "404", "UNREGISTERED"),
        14: ("fcm", "UNREGISTERED", "404", "UNREGISTERED"),
        15: ("fcm", "UNREGISTERED", "400", "INVALID_ARGUMENT"),
        16: ("fcm", "MISCONFIGURED", "403", "SENDER_ID_MISMATCH"),
        17: ("fcm", "UNREGISTERED", "400", "INVALID_ARGUMENT"),
        18: ("fcm", "UNAVAILABLE", "503", "UNAVAILABLE"),
        19: ("fcm", "THROTTLED", "429", "QUOTA_EXCEEDED"),
        20: ("fcm", "UNAVAILABLE", "502", outcome_rows[20]["reason"]),
        21: ("fcm", "MISCONFIGURED", "401", "THIRD_PARTY_AUTH_ERROR"),
        22: ("fcm", "UNKNOWN", "", "the server reset the stream (error code 2)"),
        23: (
            "",
            "INVALID",
            "",
            "it has neither the form of an APNs token nor of an FCM token; expected a column platform with ios or "
            "android",
        ),
        24: ("fcm", "INVALID", "", outcome_rows[24]["reason"]),
        25: ("apns", "INVALID", "", "PayloadTooLarge"),
        26: ("", "INVALID", "", "platform: 'toaster' is neither ios (or apns) nor android (or fcm)"),
        27: ("fcm", "INVALID", "", "the row has no token"),
        28: ("", "INVALID", "", "the row has 2 columns, expected 3"),
    }
    assert outcome_rows[20]["reason"].startswith(
        '502 with an HTML page, "Error 502 (Server Error)!!1": a response of a'
    )
    assert re.fullmatch(
        r"the payload has \d+ bytes in keys and values, 4096 are allowed", outcome_rows[24]["reason"]
    )
    assert [outcome_rows[row]["token"] for row in (1, 2, 3, 4, 11)] == [APNS, FCM, FID, EXPO, FCM]
    assert re.fullmatch(r"[0-9a-f-]{36}", outcome_rows[1]["id"])
    names = {outcome_rows[row]["id"] for row in (2, 3, 6, 7, 11)}
    assert len(names) == 5
    assert all(name.startswith(f"projects/{fake.fcm['project_id']}/messages/") for name in names)
    assert {row for row, entry in outcome_rows.items() if entry["timestamp"]} == {12}
    assert {row for row, entry in outcome_rows.items() if entry["attempts"] != "0"} == {
        *(1, 2, 3, 5, 6, 7),
        *range(11, 23),
    }
    lines = done.stderr.splitlines()
    assert lines[0] == "pushcore: no limit on the rate (--rate none); a project of FCM has 600,000 a minute"
    assert re.fullmatch(
        r"pushcore: FCM asked for a pause of \d+ s \(429\), so its pushes wait", lines[1]
    )  # after the 429
    assert lines[2].startswith("28 rows in ")
    assert [line.partition(";")[0] for line in lines[3:] if not line.startswith("  ")] == [
        "APNs: 5 rows",
        "FCM: 19 rows",
        "neither APNs nor FCM: 4 rows",
        "dead: 1 token of APNs",
        "dead: 4 tokens of FCM",
        "suspect: 1 token of FCM (SENDER_ID_MISMATCH 1)",
    ]


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_each_provider_with_a_file_of_its_own(fake: FakeProcess, tmp_path: Path, engine: str) -> None:
    (tmp_path / "apns.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    (tmp_path / "fcm.json").write_text('{"message":{"notification":{"title":"Hi {{name}}"}}}')
    rows = [f"{APNS},,Ada", f"{FCM},,Bob", f"{FID},,Eve"] * 100
    done, outcome_rows = send(
        fake,
        tmp_path,
        rows,
        *("--http2", engine),
        payload=None,
        apns_payload=str(tmp_path / "apns.json"),
        fcm_payload=str(tmp_path / "fcm.json"),
    )
    assert done.returncode == 0, done.stderr
    assert Counter((row["platform"], row["verdict"]) for row in outcome_rows.values()) == {
        ("apns", "ACCEPTED"): 100,
        ("fcm", "ACCEPTED"): 200,
    }


def test_a_mixed_audience_out_of_a_pipe(fake: FakeProcess, tmp_path: Path) -> None:
    lines: list[Any] = [
        {"token": {"type": "ios", "data": APNS}, "name": "A"},
        {"token": {"type": "android", "data": FCM}, "name": "B"},
        {"token": EXPO, "name": "C"},
        {"token": FID, "platform": "android"},
    ] * 1000
    (tmp_path / "payload.json").write_text(json.dumps(PAYLOAD))
    options = {**of_apns(fake), **of_fcm(fake), "payload": str(tmp_path / "payload.json")}
    words = [sys.executable, "-m", "pushcore", "send", "--rate", "none", "--audience", "-", "--results", "-"]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value]
    given = "\n".join(map(json.dumps, lines))
    done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert sorted(int(row["row"]) for row in rows) == list(range(1, 4001))
    assert Counter((row["platform"], row["verdict"], row["reason"]) for row in rows) == {
        ("apns", "ACCEPTED", ""): 1000,
        ("fcm", "ACCEPTED", ""): 1000,
        ("", "INVALID", EXPO_ADVICE): 1000,
        ("fcm", "INVALID", "there is no key 'name' (title of payload.json)"): 1000,
    }


def test_fcm_alone(fake: FakeProcess, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("apns_key", "key_id", "team_id", "topic", "apns_url"))
    rows = [f"{FCM},,Ada", f"{APNS},,Ada", f"{EXPO},,Ada", "no-known-shape,,Ada"]
    done, outcome_rows = send(fake, tmp_path, rows, **nothing)
    assert done.returncode == 0, done.stderr
    assert outcomes(outcome_rows) == {
        1: ("fcm", "ACCEPTED", "200", ""),
        2: (
            "apns",
            "INVALID",
            "",
            "this is a device of APNs, and --apns-key or --apns-cert was not given",
        ),
        3: ("fcm", "INVALID", "", EXPO_ADVICE),
        4: ("fcm", "UNREGISTERED", "400", "INVALID_ARGUMENT"),
    }
    done, outcome_rows = send(fake, tmp_path, [f"{APNS},,Ada"] * 3, **nothing)
    assert done.returncode == 2
    assert "no row could be sent: all are of APNs, which needs --apns-key or --apns-cert" in done.stderr
    assert {row["verdict"] for row in outcome_rows.values()} == {"INVALID"}


# --- stopped by configuration -----------------------------------------------------------------------------------------


def other_account(fake: FakeProcess, tmp_path: Path) -> str:
    """The fake's account as it would be with a key that was deleted."""
    content = json.loads(Path(fake.fcm["service_account_file"]).read_text())
    content["client_email"] = "nobody@fake-project.iam.gserviceaccount.com"
    path = tmp_path / "account.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_wrong_account_does_not_stop_apns(fake: FakeProcess, tmp_path: Path) -> None:
    rows = [f"{APNS},,Ada", f"{FCM},,Ada"] * 20_000
    done, outcome_rows = send(fake, tmp_path, rows, fcm_service_account=other_account(fake, tmp_path))
    assert done.returncode == 3
    assert re.search(
        r"^pushcore: stopped, because every push to FCM would fail: invalid_grant: ",
        done.stderr,
        re.MULTILINE,
    )
    assert "were not read" not in done.stderr
    counts = Counter((row["platform"], row["verdict"]) for row in outcome_rows.values())
    assert counts["apns", "ACCEPTED"] == 20_000
    assert set(counts) == {("apns", "ACCEPTED"), ("fcm", "MISCONFIGURED"), ("fcm", "UNSENT")}
    assert 20 <= counts["fcm", "MISCONFIGURED"] < 20_000
    assert len(outcome_rows) == 40_000
    unsent = {row["reason"] for row in outcome_rows.values() if row["verdict"] == "UNSENT"}
    assert len(unsent) == 1
    assert unsent.pop().startswith("not sent, because every push to fcm would fail: invalid_grant")


@pytest.mark.parametrize(
    ("changes", "provider", "reason"),
    [
        ({"key_id": "WRONGKEY01"}, "apns", "InvalidProviderToken"),
        ({"fcm_project": "other-project"}, "fcm", None),
    ],
)
def test_few_rows_are_enough_when_all_blame_the_configuration(
    fake: FakeProcess, tmp_path: Path, changes: dict[str, Any], provider: str, reason: str | None
) -> None:
    done, outcome_rows = send(fake, tmp_path, [f"{APNS},,Ada", f"{FCM},,Ada"] * 3, **changes)
    assert done.returncode == 3, done.stderr
    name = {"apns": "APNs", "fcm": "FCM"}[provider]
    assert f"stopped, because every push to {name} would fail: {reason or ''}" in done.stderr
    assert Counter((row["platform"], row["verdict"]) for row in outcome_rows.values()) == {
        (platform, "MISCONFIGURED" if platform == provider else "ACCEPTED"): 3 for platform in ("apns", "fcm")
    }


def test_few_rows_are_enough_to_blame_both(fake: FakeProcess, tmp_path: Path) -> None:
    changes = {"key_id": "WRONGKEY01", "fcm_project": "other-project"}
    done, outcome_rows = send(fake, tmp_path, [f"{APNS},,Ada", f"{FCM},,Ada"] * 3, **changes)
    assert done.returncode == 3, done.stderr
    for name in ("APNs", "FCM"):
        assert f"stopped, because every push to {name} would fail: " in done.stderr
    assert {row["verdict"] for row in outcome_rows.values()} == {"MISCONFIGURED"}


def test_when_both_are_wrong_the_audience_is_read_no_further(fake: FakeProcess, tmp_path: Path) -> None:
    rows = [f"{APNS},,Ada", f"{FCM},,Ada"] * 50_000
    done, outcome_rows = send(
        fake,
        tmp_path,
        rows,
        fcm_service_account=other_account(fake, tmp_path),
        topic="com.example.unknown",
    )
    assert done.returncode == 3
    assert done.stderr.count("pushcore: stopped, because every push to ") == 2
    assert "were not read" in done.stderr
    assert len(outcome_rows) < 100_000
    assert {row["verdict"] for row in outcome_rows.values()} <= {"MISCONFIGURED", "UNSENT"}


def test_a_server_with_an_unknown_certificate_stops_fcm(fake: FakeProcess, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("apns_key", "key_id", "team_id", "topic", "apns_url"))
    other = Certificates.create(tmp_path / "other")
    done, outcome_rows = send(
        fake, tmp_path, [f"{FCM},,Ada"] * 100, "--timeout", "2", **{**nothing, "ca_file": str(other.ca_file)}
    )
    assert done.returncode == 3, done.stderr
    assert "certificate was not accepted" in done.stderr
    assert {row["verdict"] for row in outcome_rows.values()} == {"UNSENT"}


def test_a_closed_port_is_no_configuration_error(fake: FakeProcess, tmp_path: Path) -> None:
    done, outcome_rows = send(
        fake, tmp_path, [f"{APNS},,A", f"{FCM},,B"], "--timeout", "1", fcm_url="https://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stderr
    assert outcomes(outcome_rows)[1] == ("apns", "ACCEPTED", "200", "")
    assert outcomes(outcome_rows)[2][:3] == ("fcm", "UNSENT", "")
    assert "nothing listens on that port" in outcome_rows[2]["reason"]
