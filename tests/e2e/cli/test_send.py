"""`pushcore send` as a process, against the strict fake as another."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from fakeservers import Certificates, fated_token
from pushcore.cli.run.fake_servers import FakeProcess

DEADLINE = 90.0
COLUMNS = [
    *("row", "token", "platform", "verdict", "status", "reason", "id", "timestamp", "attempts"),
    *("drop_token", "environment"),
]
ONCE = ("--retry", "none")
PAYLOAD = '{"aps":{"alert":"Hi {{name}}"}}'


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProcess]:
    place = tmp_path_factory.mktemp("fake")
    with FakeProcess(place) as running:
        yield running


def command(fake: FakeProcess, tmp_path: Path, *extra: str, **changes: str | None) -> list[str]:
    """The command line of a `send`; `changes` name options with "_" for "-", None leaves one out."""
    config = fake.apns
    options: dict[str, str | None] = {
        "apns_key": config["key_file"],
        "key_id": config["key_id"],
        "team_id": config["team_id"],
        "topic": config["topic"],
        "apns_url": config["url"],
        "ca_file": config["ca_file"],
        "audience": str(tmp_path / "devices.csv"),
        "payload": str(tmp_path / "payload.json"),
        "results": str(tmp_path / "results.csv"),
        **changes,
    }
    words = [sys.executable, "-m", "pushcore", "send"]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", value]
    return [*words, *extra]


def send(
    fake: FakeProcess,
    tmp_path: Path,
    audience: str | bytes,
    *extra: str,
    payload: str = PAYLOAD,
    name: str = "devices.csv",
    **changes: str | None,
) -> subprocess.CompletedProcess[str]:
    content = audience.encode() if isinstance(audience, str) else audience
    (tmp_path / name).write_bytes(content)
    (tmp_path / "payload.json").write_text(payload)
    words = command(fake, tmp_path, *extra, **{"audience": str(tmp_path / name), **changes})
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)
    assert "Traceback" not in done.stderr
    key = "".join(Path(fake.apns["key_file"]).read_text().split("\n")[1:3])
    assert key not in done.stderr + done.stdout
    assert "bearer" not in done.stderr.lower()
    return done


def results(tmp_path: Path) -> dict[int, dict[str, str]]:
    """The results by row; every row must be there once."""
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    outcome_rows = {int(row["row"]): row for row in rows}
    assert len(outcome_rows) == len(rows)
    return outcome_rows


def test_every_row_has_its_result(fake: FakeProcess, tmp_path: Path) -> None:
    tokens = {
        1: "ab" * 32,
        2: fated_token("Unregistered"),
        3: fated_token("BadDeviceToken"),
        4: fated_token("DeviceTokenNotForTopic"),
        5: fated_token("TooManyRequests"),
        6: fated_token("InternalServerError"),
        7: fated_token("InternalReset"),
        8: "../../etc/passwd",
        9: '"a\r\nb"',
        11: fated_token("TopicDisallowed"),
        12: "cd" * 32,
        13: "ef" * 32,
    }
    lines = ["token,name,collapse_id"]
    lines += [f"{tokens[row]},Ada," if row in tokens else "aa,too,many,columns" for row in range(1, 12)]
    lines += [f"{tokens[12]},{'x' * 5000},", f"{tokens[13]},Bob,{'y' * 65}"]
    done = send(fake, tmp_path, "\n".join(lines), *ONCE)
    assert (done.returncode, done.stdout) == (0, "")
    rows = results(tmp_path)
    assert list(next(iter(rows.values()))) == COLUMNS
    assert {row: (entry["verdict"], entry["status"], entry["reason"]) for row, entry in rows.items()} == {
        1: ("ACCEPTED", "200", ""),
        2: ("UNREGISTERED", "410", "Unregistered"),
        3: ("INVALID", "400", "BadDeviceToken"),
        4: ("INVALID", "400", "DeviceTokenNotForTopic"),
        5: ("THROTTLED", "429", "TooManyRequests"),
        6: ("UNAVAILABLE", "500", "InternalServerError"),
        7: ("UNKNOWN", "", "the server reset the stream (error code 2)"),
        8: ("INVALID", "", "the device token is not hexadecimal: it has '.' in it"),
        9: ("INVALID", "", "the device token is not hexadecimal: it has white space in it"),
        10: ("INVALID", "", "the row has 4 columns, expected 3"),
        11: ("MISCONFIGURED", "400", "TopicDisallowed"),
        12: ("INVALID", "", "PayloadTooLarge"),
        13: ("INVALID", "", "BadCollapseId"),
    }
    assert {row["platform"] for row in rows.values()} == {"apns"}
    assert {row: entry["token"] for row, entry in rows.items() if row not in (9, 10)} == {
        row: token for row, token in tokens.items() if row != 9
    }
    sent = [rows[row] for row in (1, 2, 3, 4, 5, 6, 7, 11)]
    assert len({row["id"] for row in sent if re.fullmatch(r"[0-9a-f-]{36}", row["id"])}) == len(sent)
    assert {row["attempts"] for row in sent} == {"1"}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", rows[2]["timestamp"])
    assert {entry["timestamp"] for row, entry in rows.items() if row != 2} == {""}
    assert {row for row, entry in rows.items() if entry["drop_token"]} == {2}
    assert rows[2]["drop_token"] == "yes"
    assert "13 rows in " in done.stderr
    assert "dead: 1 token" in done.stderr
    assert "suspect: 2 tokens (BadDeviceToken 1, DeviceTokenNotForTopic 1)" in done.stderr
    assert "\x1b" not in done.stderr  # no progress in a pipe


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_ndjson_and_what_a_row_may_say_for_itself(fake: FakeProcess, tmp_path: Path, engine: str) -> None:
    own = "01234567-89ab-4cde-8f01-23456789abcd"
    rows: list[object] = [
        {"token": "aa" * 32, "name": "Ada", "badge": 3, "apns_id": own},
        {"token": "bb" * 32, "name": "Bob", "badge": 3, "push_type": "voip", "priority": 10},
        {"token": "cc" * 32, "badge": 3},
        {"token": "dd" * 32, "name": "Dora", "badge": 3, "topic": "com.example.unknown"},
        "{",
    ]
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    done = send(
        fake,
        tmp_path,
        "\n".join([*lines, ""]),  # without the newline, the last line would seem to be truncated
        "--http2",
        engine,
        payload='{"aps":{"alert":"Hi {{name}}","badge":"{{badge}}"}}',
        name="devices.jsonl",
    )
    assert done.returncode == 0
    outcome_rows = results(tmp_path)
    assert [(outcome_rows[row]["verdict"], outcome_rows[row]["reason"]) for row in range(1, 5)] == [
        ("ACCEPTED", ""),
        ("ACCEPTED", ""),
        ("INVALID", "there is no key 'name' (aps.alert of payload.json)"),
        ("MISCONFIGURED", "TopicDisallowed"),
    ]
    assert outcome_rows[1]["id"] == own
    assert outcome_rows[5]["reason"].startswith("the line is not JSON")


def test_pipes(fake: FakeProcess, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text(PAYLOAD)
    words = command(fake, tmp_path, audience="-", results="-")
    done = subprocess.run(
        words,
        input="token,name\naa,Ada\nbb\ncc,Carl\n" + "dd,D\n" * 3000,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0
    rows = {int(row["row"]): row["verdict"] for row in csv.DictReader(io.StringIO(done.stdout))}
    assert len(rows) == 3003
    assert (rows[1], rows[2], rows[3]) == ("ACCEPTED", "INVALID", "ACCEPTED")


def test_quiet(fake: FakeProcess, tmp_path: Path) -> None:
    done = send(fake, tmp_path, "token,name\naa,Ada\n", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pem", "p12", "two files"])
def test_certificates_with_a_passphrase(fake: FakeProcess, tmp_path: Path, form: str) -> None:
    made = Certificates.create(Path(fake.apns["ca_file"]).parent).client_certificate(fake.apns["topic"])
    secret = "correct horse battery staple"
    locked = made.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(secret.encode()),
    )
    certificate = made.certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "password").write_text(secret + "\n")
    file, key_file = tmp_path / "cert", None
    if form == "pem":
        file.write_bytes(certificate + locked)
    elif form == "p12":
        file.write_bytes(made.pkcs12(secret.encode()))
    else:
        file.write_bytes(certificate)
        key_file = tmp_path / "key.pem"
        key_file.write_bytes(locked)
    by_certificate: dict[str, Any] = {
        "apns_key": None,
        "key_id": None,
        "team_id": None,
        "topic": None,
        "apns_cert": str(file),
        "apns_cert_key": None if key_file is None else str(key_file),
    }
    rows = "token,name\naa,Ada\nbb,Bob\n"
    password_file = str(tmp_path / "password")
    done = send(fake, tmp_path, rows, **by_certificate, apns_cert_password_file=password_file)
    assert done.returncode == 0, done.stderr
    assert {row["verdict"] for row in results(tmp_path).values()} == {"ACCEPTED"}
    assert secret not in done.stderr
    (tmp_path / "password").write_text("wrong horse")
    done = send(fake, tmp_path, rows, **by_certificate, apns_cert_password_file=password_file)
    assert done.returncode == 2
    assert "passphrase" in done.stderr
    assert "horse" not in done.stderr
    done = send(fake, tmp_path, rows, **by_certificate)
    assert done.returncode == 2
    assert "passphrase" in done.stderr


# --- stopped by configuration -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"key_id": "WRONGKEY01"}, "InvalidProviderToken: Check key file, key id and team id"),
        ({"topic": "com.example.unknown"}, "TopicDisallowed: Correct the topic"),
    ],
)
@pytest.mark.parametrize("count", [3, 50_000])
def test_a_wrong_key_or_topic_stops_it(
    fake: FakeProcess, tmp_path: Path, changes: dict[str, Any], expected: str, count: int
) -> None:
    done = send(fake, tmp_path, "token,name\n" + "aa,Ada\n" * count, **changes)
    assert done.returncode == 3
    assert f"pushcore: stopped, because every push would fail: {expected}" in done.stderr
    rows = results(tmp_path)
    verdicts = [row["verdict"] for row in rows.values()]
    # What was read and held back when the others' answers came has not been sent, and says so.
    assert set(verdicts) - {"UNSENT"} == {"MISCONFIGURED"}
    assert {row["drop_token"] for row in rows.values()} == {""}
    if count == 3:
        assert verdicts == ["MISCONFIGURED"] * 3
    else:
        assert 20 <= verdicts.count("MISCONFIGURED") <= 2000
        assert len(rows) < 5000


def test_a_server_with_an_unknown_certificate_stops_it(fake: FakeProcess, tmp_path: Path) -> None:
    other = Certificates.create(tmp_path / "other")
    done = send(fake, tmp_path, "token,name\n" + "aa,Ada\n" * 100, ca_file=str(other.ca_file))
    assert done.returncode == 3
    assert "the server's certificate was not accepted" in done.stderr
    assert {row["verdict"] for row in results(tmp_path).values()} == {"UNSENT"}


def test_a_closed_port_is_no_configuration_error(fake: FakeProcess, tmp_path: Path) -> None:
    rows = "token,name\naa,Ada\n"
    done = send(fake, tmp_path, rows, *ONCE, "--timeout", "0.5", apns_url="https://127.0.0.1:1")
    assert done.returncode == 0
    row = results(tmp_path)[1]
    assert (row["verdict"], row["status"]) == ("UNSENT", "")
    assert "nothing listens on that port" in row["reason"]


# --- signals and failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_all_that_was_sent(
    fake: FakeProcess, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "payload.json").write_text(PAYLOAD)
    words = command(fake, tmp_path, audience="-", results="-")
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"token,name\n" + b"ab,Ada\n" * 1000)
            process.stdin.flush()
            assert process.stdout is not None
            assert process.stderr is not None
            head = process.stdout.readline() + process.stdout.readline()
            process.send_signal(number)
            out = head + process.stdout.read()  # its standard input stays open
            errors = process.stderr.read()
            process.wait(DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    rows = list(csv.DictReader(io.StringIO(out.decode())))
    assert len(rows) == 1000
    assert {row["verdict"] for row in rows} == {"ACCEPTED"}
    assert b"stopped by a signal; rows after 1000 have no result" in errors
    assert b"Traceback" not in errors


IN_THE_COLLECTOR = """
import os, signal, sys, weakref
from pushcore.cli import main
from pushcore.cli.run import campaign

class Thing: pass

def collect():
    thing = Thing()
    keep = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing  # an exception in the callback would be printed and forgotten

campaign.relax_collector = collect
sys.exit(main.main())
"""


def test_a_signal_while_the_collector_calls_back_is_not_lost(fake: FakeProcess, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text(PAYLOAD)
    (tmp_path / "devices.csv").write_text("token,name\n" + "ab,Ada\n" * 50_000)
    words = command(fake, tmp_path)[4:]  # after "send"
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_COLLECTOR, "send", *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 1
    assert "stopped by a signal" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_signal_ends_it_at_once(fake: FakeProcess, tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text(PAYLOAD)
    (tmp_path / "devices.csv").write_text(f"token,name\naa,Ada\n{fated_token('Stall')},Eve\n")
    words = command(fake, tmp_path, "--timeout", "600")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            while "ACCEPTED" not in read_or_nothing(tmp_path / "results.csv"):
                assert process.poll() is None
                time.sleep(0.02)
            assert process.stderr is not None
            process.send_signal(signal.SIGINT)
            assert "again to stop at once" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            process.wait(DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "stopped; rows without a response have no result" in rest
    assert 2 not in results(tmp_path)


def read_or_nothing(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk(fake: FakeProcess, tmp_path: Path) -> None:
    done = send(fake, tmp_path, "token,name\naa,Ada\n", results="/dev/full")
    assert done.returncode == 1
    assert "/dev/full cannot be written (No space left on device)" in done.stderr


def test_a_server_without_http2_stops_it(fake: FakeProcess, tmp_path: Path) -> None:
    certs = Certificates.create(Path(fake.apns["ca_file"]).parent)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.server_file)
    context.set_alpn_protocols(["http/1.1"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=shake_hands, args=(listener, context), daemon=True)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        done = send(fake, tmp_path, "token,name\n" + "aa,Ada\n" * 100, apns_url=url)
    assert done.returncode == 3
    assert "HTTP/2" in done.stderr


def shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secured:
                secured.recv(1)
