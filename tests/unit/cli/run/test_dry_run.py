"""`pushcore send --dry-run`: everything but the wire."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pushcore.cli.main import main
from pushcore.models.tokens import EXPO_ADVICE

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
EXPO = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"


@pytest.fixture(scope="module")
def keys() -> tuple[bytes, str]:
    """A `.p8` and a service account's file."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    account = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "0123456789",
        "private_key": rsa.generate_private_key(65537, 2048).private_bytes(*form).decode(),
        "client_email": "pusher@my-project.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1:1/token",
    }
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*form), json.dumps(account)


def arguments(place: Path, keys: tuple[bytes, str], rows: list[str], *, apns: bool = True) -> list[str]:
    """Those of a dry run for both providers, or for FCM alone."""
    (place / "key.p8").write_bytes(keys[0])
    (place / "account.json").write_text(keys[1])
    (place / "devices.csv").write_text("\n".join(["token,platform,name", *rows]))
    (place / "payload.json").write_text('{"title":"Hi {{name}}"}')
    of_apns = ["--apns-key", str(place / "key.p8"), "--key-id", "ABC123DEFG", "--team-id", "TEAM123456"]
    return [
        *("send", "--dry-run", "--audience", str(place / "devices.csv")),
        *("--payload", str(place / "payload.json"), "--fcm-service-account", str(place / "account.json")),
        *((*of_apns, "--topic", "com.example.app") if apns else ()),
    ]


def test_how_many_of_which_kind(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{APNS},,Ada", f"{APNS},ios,Bo", f"{FCM},,Ada", f"{FID},,Ada", f"{EXPO},,Ada", "q,,Ada", "x"]
    rows += [f"{APNS},,{'x' * 5000}", f"{APNS[:-1]},ios,Ada"]
    results = tmp_path / "results.csv"
    assert main([*arguments(tmp_path, keys, rows), "--results", str(results)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = [re.sub(r"  +", " ", line) for line in said.out.splitlines()]
    assert re.fullmatch(r"9 rows in \d+\.\d s(, [0-9,]+ a second)?; nothing was sent", lines[0])
    payload = len('{"aps":{"alert":{"title":"Hi Ada"}}}'), len('{"aps":{"alert":{"title":"Hi Bo"}}}')
    assert lines[1:5] == [
        " APNs 2 device tokens",
        " FCM 1 registration tokens",
        " FCM 1 Firebase installation ids",
        f" APNs {sum(payload)} bytes of payload, the largest has {payload[0]}",
    ]
    assert re.fullmatch(r" FCM \d+ bytes of payload, the largest has \d+", lines[5])
    assert {line for line in lines[6:] if "neither" not in line} == {
        " INVALID 1 PayloadTooLarge (first: row 8, the payload has 5033 bytes, 4096 are allowed) (APNs)",
        " INVALID 1 the device token is not hexadecimal: it has an odd number of hexadecimal digits: one is missing"
        " (first: row 9) (APNs)",
        f" INVALID 1 {EXPO_ADVICE} (first: row 5)",
        " INVALID 1 the row has 1 column, expected 3 (first: row 7)",
        " duplicate 2 the token of an earlier row; --unique sends to each device once",
        " duplicate 1 an installation id and a token that begins with it; --unique sends to each device once",
    }
    with results.open(newline="") as file:
        assert [(each["row"], each["verdict"]) for each in csv.DictReader(file)] == [
            (row, "INVALID") for row in ("5", "6", "7", "8", "9")
        ]


def test_nothing_could_be_sent(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, keys, [f"{APNS},,Ada"] * 3, apns=False)) == 2
    assert "no row could be sent: all are of APNs, which needs --apns-key" in capsys.readouterr().err


@pytest.mark.parametrize("extra", [("--quiet",), ("--results", "-")])
def test_its_words_are_on_the_standard_output(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str], extra: tuple[str, ...]
) -> None:
    assert main([*arguments(tmp_path, keys, []), *extra]) == 2
    assert "--dry-run writes to the standard output" in capsys.readouterr().err


def test_an_audience_that_breaks_off(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    import gzip

    words = arguments(tmp_path, keys, [f"{APNS},,Ada"] * 100)
    path = tmp_path / "devices.csv"
    path.write_bytes(gzip.compress(path.read_bytes())[:-6])
    assert main(words) == 1
    assert "devices.csv: its gzip data is damaged or truncated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("payload", "notices"),
    [
        ({"title": "Hi {{name}}"}, []),
        (
            {"title": "Hi", "futureKey": 1},
            ["the key 'futureKey' is unknown in Expo's format and is left out"],
        ),
        (
            {"data": {"name": "{{name}}"}, "priority": "high"},
            ["no part of it is visible on iOS; expected", "no part of it is visible on Android; expected"],
        ),
        ({"subtitle": "{{name}}"}, ["no part of it is visible on Android; expected"]),
    ],
)
def test_invisible_parts_of_a_payload_are_reported(
    tmp_path: Path,
    keys: tuple[bytes, str],
    capsys: pytest.CaptureFixture[str],
    payload: dict[str, object],
    notices: list[str],
) -> None:
    words = arguments(tmp_path, keys, [f"{APNS},,Ada", f"{FCM},,Ada"])
    (tmp_path / "payload.json").write_text(json.dumps(payload))
    assert main(words) == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert len(lines) == len(notices)
    for line, notice in zip(lines, notices, strict=True):
        assert line.startswith(f"pushcore: {tmp_path / 'payload.json'}: {notice}")
    assert "APNs 1 device tokens" in re.sub(r"  +", " ", said.out)


def test_a_picture_that_android_leaves_out(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(tmp_path, keys, [f"{FCM},,Ada"])
    (tmp_path / "payload.json").write_text('{"title":"Hi","richContent":{"image":"https://e.com/i.png"}}')
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--android", "data"]) == 0
    assert "does not show the richContent.image" in capsys.readouterr().err


def test_each_device_once(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{APNS},,Ada", f"{APNS.upper()},ios,Bo", f"{FCM},,Ada", f"{FID},,Ada", f"{FCM},,Eve"]
    assert main([*arguments(tmp_path, keys, rows), "--unique"]) == 0
    said = re.sub(r"  +", " ", capsys.readouterr().out)
    assert " APNs 1 device tokens\n FCM 1 registration tokens\n" in said
    assert " INVALID 1 an earlier row has the same device (--unique) (first: row 2) (APNs)\n" in said
    assert " INVALID 2 an earlier row has the same device (--unique) (first: row 4) (FCM)\n" in said
    assert " duplicate 2 the token of an earlier row; left out\n" in said
    assert " duplicate 1 an installation id and a token that begins with it; left out\n" in said


def test_units_of_rows_are_found_before_they_are_sent(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1_790_000_000
    words = arguments(tmp_path, keys, [])
    (tmp_path / "devices.csv").write_text(
        f"token,at,expiration\n{APNS},{now},{now}\n{APNS},{now * 1000},0\n{APNS},{now},3600\n{APNS},{now},{now}000\n"
    )
    aps = {"event": "end", "timestamp": "{{at:int}}"}
    (tmp_path / "payload.json").write_text(json.dumps({"apns": {"aps": aps}, "fcm": {"title": "Hi"}}))
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    out = re.sub(r"  +", " ", said.out)
    assert " APNs 1 device tokens\n" in out
    assert " INVALID 1 timestamp is in milliseconds: it takes UNIX seconds (first: row 2) (APNs)\n" in out
    assert " INVALID 2 BadExpirationDate (first: row 3, the expiration is in seconds from now:" in out


@pytest.mark.parametrize("expiration", ["3600", "1790000000000"])
def test_units_of_the_option(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str], expiration: str
) -> None:
    assert main([*arguments(tmp_path, keys, [f"{APNS},,Ada"]), "--expiration", expiration]) == 2
    assert "the options cannot work: the expiration is in " in capsys.readouterr().err


def test_a_push_type_that_we_do_not_know(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(tmp_path, keys, [f"{APNS},,Ada"])
    (tmp_path / "payload.json").write_text('{"apns":{"aps":{}},"fcm":{"title":"Hi"}}')
    assert main([*words, "--push-type", "future=.push-type.future"]) == 0
    assert "1  device tokens" in capsys.readouterr().out
    assert main([*words, "--push-type", "future"]) == 2
    assert "'future' is not one of alert, background," in capsys.readouterr().err
    assert main([*words, "--push-type", "a b=.x"]) == 2
    assert "the options cannot work: name and suffix of a push type" in capsys.readouterr().err


def test_rows_whose_message_shows_nothing_are_counted(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(tmp_path, keys, [f"{APNS},,", f"{FCM},,", f"{FCM}x,,Ada", f"{FCM}y,,"])
    (tmp_path / "payload.json").write_text('{"title":"{{name}}"}')
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    out = re.sub(r"  +", " ", said.out)
    assert " invisible 1 the row's message has no visible part (APNs)\n" in out
    assert " invisible 2 the row's message has no visible part (FCM)\n" in out
    (tmp_path / "payload.json").write_text('{"title":"{{name}}","badge":1,"contentAvailable":true}')
    assert main(words) == 0
    assert "invisible" not in capsys.readouterr().out


def test_columns_without_effect_and_bytes_that_are_not_utf8_are_named(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(tmp_path, keys, [])
    (tmp_path / "payload.json").write_text('{"title":"Hi"}')
    (tmp_path / "devices.csv").write_bytes(f"token,Topic,name\n{APNS},a.b,Jos\u00e9\n".encode("latin-1"))
    assert main(words) == 0
    said = capsys.readouterr()
    assert "is not UTF-8 (Latin-1 or Windows-1252?): convert the file" in said.err
    assert "the column 'Topic' has no effect; did you mean topic?" in said.err
    assert main(["tokens", str(tmp_path / "devices.csv")]) == 0
    assert "is not UTF-8 (Latin-1 or Windows-1252?): convert the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "warned"),
    [('"{{name}}"', True), ('"1{{name:text}}"', True), ('"{{name:int}}"', False), ("1", False)],
)
def test_a_text_of_csv_where_a_device_expects_a_number_is_named(
    tmp_path: Path, keys: tuple[bytes, str], capsys: pytest.CaptureFixture[str], value: str, warned: bool
) -> None:
    words = arguments(tmp_path, keys, [f"{APNS},,5"])
    (tmp_path / "payload.json").write_text(
        f'{{"apns":{{"aps":{{"alert":"x","badge":{value}}}}},"fcm":{{"data":{{"a":"b"}}}}}}'
    )
    assert main(words) == 0
    text = "aps.badge is a text in every row of CSV, which devices ignore; expected {{name:int}}"
    assert (text in capsys.readouterr().err) is warned
    if warned:
        (tmp_path / "devices.csv").write_text(json.dumps({"token": APNS, "name": 5}))
        (tmp_path / "devices.csv").rename(tmp_path / "devices.ndjson")
        words[words.index("--audience") + 1] = str(tmp_path / "devices.ndjson")
        assert main(words) == 0
        assert text not in capsys.readouterr().err
