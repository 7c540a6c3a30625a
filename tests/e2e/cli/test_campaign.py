"""What is sent again, how fast, and how it ends: `pushcore send` as a process against the fakes as another."""

from __future__ import annotations

import csv
import datetime
import gzip
import importlib
import json
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers import fated_token
from fakeservers.fcm.fates import fated_registration
from pushcore.cli.run.fake_servers import FakeProcess
from tests.e2e.cli.test_mixed import of_apns, of_fcm
from tests.e2e.cli.test_send import DEADLINE, command, read_or_nothing, results, send


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProcess]:
    with FakeProcess(tmp_path_factory.mktemp("fake"), "all") as running:
        yield running


def rows(*tokens: str) -> str:
    return "\n".join(["token,name", *(f"{token},Ada" for token in tokens)])


def both(fake: FakeProcess, tmp_path: Path, tokens: list[str], *extra: str) -> list[str]:
    """The command line of a `send` to both providers."""
    (tmp_path / "devices.csv").write_text(rows(*tokens))
    (tmp_path / "payload.json").write_text('{"title":"Hi {{name}}"}')
    options: dict[str, str | None] = {**of_apns(fake), **of_fcm(fake)}
    return command(fake, tmp_path, *extra, **options)


def scraped(url: str) -> str:
    """What Prometheus would get."""
    with urllib.request.urlopen(url, timeout=5) as response:
        text: bytes = response.read()
    return text.decode()


# --- repeats ----------------------------------------------------------------------------------------------------------


def test_a_rejection_without_time_for_a_retry_is_reported(fake: FakeProcess, tmp_path: Path) -> None:
    """APNs' 429 waits at least 30 seconds, its 503 a minute: more than what is left."""
    tokens = ["ab" * 32, fated_token("TooManyRequests"), fated_token("ServiceUnavailable")]
    done = send(fake, tmp_path, rows(*tokens), "--max-age", "20")
    assert done.returncode == 0
    outcome_rows = results(tmp_path)
    assert [outcome_rows[row]["verdict"] for row in (1, 2, 3)] == ["ACCEPTED", "THROTTLED", "UNAVAILABLE"]
    assert {row["attempts"] for row in outcome_rows.values()} == {"1"}


def test_a_temporary_rejection_is_retried(fake: FakeProcess, tmp_path: Path) -> None:
    """APNs' 500 is tried once more after 5 seconds on another connection, and then not within the time."""
    done = send(fake, tmp_path, rows(fated_token("InternalServerError")), "--max-age", "60")
    assert done.returncode == 0
    row = results(tmp_path)[1]
    assert (row["verdict"], row["attempts"]) == ("UNAVAILABLE", "2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("provider", ["apns", "both"])
def test_pushes_waiting_for_a_retry_have_a_result_after_a_signal(
    fake: FakeProcess, tmp_path: Path, number: signal.Signals, provider: str
) -> None:
    pytest.importorskip("prometheus_client")
    tokens = ["ab" * 32] * 100 + [fated_token("TooManyRequests", n) for n in range(5)]
    providers = ["apns", "fcm"] if provider == "both" else ["apns"]
    if provider == "both":
        tokens += [fated_registration("Unavailable", n) for n in range(5)]
        words = both(fake, tmp_path, tokens)
    else:
        (tmp_path / "devices.csv").write_text(rows(*tokens))
        (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi"}}')
        words = command(fake, tmp_path)
    with subprocess.Popen([*words, "--metrics-port", "0"], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            url = process.stderr.readline().split()[-1]
            waiting = [
                f'pushcore_queue_depth{{provider="{provider}",queue="retry"}} 5.0' for provider in providers
            ]
            while not all(sample in scraped(url) for sample in waiting):
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    assert f"stopped by a signal; rows after {len(tokens)} have no result" in stderr
    expected = {"ACCEPTED": 100, "THROTTLED": 5}
    if provider == "both":
        expected["UNAVAILABLE"] = 5
    assert Counter(row["verdict"] for row in results(tmp_path).values()) == expected


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_rate_is_kept(fake: FakeProcess, tmp_path: Path) -> None:
    done = send(fake, tmp_path, rows(*["ab" * 32] * 30), "--rate", "20/s")
    assert done.returncode == 0
    match = re.search(r"30 rows in ([0-9.]+) s", done.stderr)
    assert match is not None
    assert float(match[1]) >= 1.3  # two at once, the others every 50 ms
    assert "no limit" not in done.stderr


def test_queued_pushes_are_unsent_after_a_signal(fake: FakeProcess, tmp_path: Path) -> None:
    (tmp_path / "devices.csv").write_text(rows(*["ab" * 32] * 5_000))
    (tmp_path / "payload.json").write_text('{"aps":{}}')
    words = command(fake, tmp_path, "--rate", "20/s", "--window", "1000")
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        try:
            while "ACCEPTED" not in read_or_nothing(tmp_path / "results.csv"):
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 1
    outcome_rows = results(tmp_path)
    after = re.search(r"stopped by a signal; rows after (\d+) have no result", stderr)
    assert after is not None
    assert sorted(outcome_rows) == list(range(1, int(after[1]) + 1))
    assert {row["verdict"] for row in outcome_rows.values()} == {"ACCEPTED", "UNSENT"}
    unsent = [row for row in outcome_rows.values() if row["verdict"] == "UNSENT"]
    assert {(row["reason"], row["attempts"]) for row in unsent} == {
        ("the run was ended before this push was sent", "0")
    }


# --- a wrong environment ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["apns", "both"])
def test_a_wrong_environment_stops_it_before_tokens_are_dropped(
    fake: FakeProcess, tmp_path: Path, provider: str
) -> None:
    tokens = [fated_token("BadDeviceToken", n) for n in range(20_000)]
    if provider == "both":
        for at in range(0, len(tokens), 100):
            tokens[at] = f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{at:0134x}"
        words = both(fake, tmp_path, tokens, "--rate", "none")
    else:
        (tmp_path / "devices.csv").write_text(rows(*tokens))
        (tmp_path / "payload.json").write_text('{"aps":{}}')
        words = command(fake, tmp_path)
    done = subprocess.run(words, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 3, done.stderr
    where = " to APNs" if provider == "both" else ""
    assert (
        f"stopped, because every push{where} would fail: BadDeviceToken: Use the other environment"
        in done.stderr
    )
    outcome_rows = results(tmp_path)
    assert not any(row["drop_token"] for row in outcome_rows.values())
    counts = Counter((row["platform"], row["verdict"]) for row in outcome_rows.values())
    if provider == "both":
        assert counts["fcm", "ACCEPTED"] == 200
        assert counts["apns", "UNSENT"] > 0
        assert len(outcome_rows) == 20_000
    else:
        assert 500 <= counts["apns", "INVALID"] < 20_000
        assert re.search(r"; rows after \d+ were not read$", done.stderr, re.MULTILINE)


# --- audiences --------------------------------------------------------------------------------------------------------


def test_a_token_that_was_registered_again_is_kept(fake: FakeProcess, tmp_path: Path) -> None:
    """The fake knows since a day ago that they are dead."""
    gone = [fated_token("Unregistered", n) for n in range(3)]
    today = datetime.datetime.now(datetime.UTC)
    audience = "\n".join(
        [
            "token,name,registered_at",
            f"{gone[0]},Ada,{today - datetime.timedelta(2)}",
            f"{gone[1]},Ada,{today:%Y-%m-%d}",
            f"{gone[2]},Ada,",
        ]
    )
    done = send(fake, tmp_path, audience)
    assert done.returncode == 0
    rows = results(tmp_path)
    assert {row["verdict"] for row in rows.values()} == {"UNREGISTERED"}
    assert [(rows[row]["reason"], rows[row]["drop_token"]) for row in (1, 2, 3)] == [
        ("Unregistered", "yes"),
        ("Unregistered, but registered since", ""),
        ("Unregistered", "yes"),
    ]
    assert "dead: 2 tokens; remove them" in done.stderr
    assert "keep: 1 token that APNs called dead, for the device registered again since then" in done.stderr


@pytest.mark.parametrize("form", ["csv.gz", "ndjson.gz", "parquet", "pipe"])
def test_the_same_audience_in_every_form(fake: FakeProcess, tmp_path: Path, form: str) -> None:
    tokens = [f"{number:064x}" for number in range(0xAB00, 0xAB00 + 1000)]
    path = tmp_path / f"devices.{form}"
    given = None
    if form == "parquet":
        arrow = pytest.importorskip("pyarrow")
        table = arrow.table({"other": [1] * 1000, "name": ["Ada"] * 1000, "token": tokens})
        importlib.import_module("pyarrow.parquet").write_table(table, path)
    elif form == "ndjson.gz":
        lines = (json.dumps({"token": token, "name": "Ada"}) for token in tokens)
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    else:
        given = gzip.compress(rows(*tokens).encode())
        path.write_bytes(given)
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    words = command(fake, tmp_path, audience="-" if form == "pipe" else str(path))
    done = subprocess.run(words, input=given, capture_output=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    outcome_rows = results(tmp_path)
    assert {row["verdict"] for row in outcome_rows.values()} == {"ACCEPTED"}
    assert [outcome_rows[row]["token"] for row in range(1, 1001)] == tokens


def test_an_audience_that_breaks_off(fake: FakeProcess, tmp_path: Path) -> None:
    whole = gzip.compress(("token,name\n" + "".join(f"{n:064x},{n * n:x}\n" for n in range(30_000))).encode())
    done = send(fake, tmp_path, whole[:-20_000], name="devices.csv.gz")
    assert done.returncode == 1
    assert re.search(
        r"the run was cut short \(\S*devices\.csv\.gz: its gzip data is damaged or truncated\); rows that are not in",
        done.stderr,
    )
    rows = results(tmp_path)
    assert sorted(rows) == list(range(1, len(rows) + 1))
    assert len(rows) > 1000


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_metrics_while_it_runs(fake: FakeProcess, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    words = command(fake, tmp_path, "--metrics-port", "0", audience="-", results="-")
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            given = rows(*["ab" * 32] * 9, fated_token("BadDeviceToken"), "") + "\n"
            process.stdin.write(given.encode())
            process.stdin.flush()
            line = process.stderr.readline().decode()
            url = re.fullmatch(r"pushcore: metrics at (http://127\.0\.0\.1:\d+/metrics)\n", line)
            assert url is not None, line
            while process.stdout.readline().count(b",") == 10:  # until all that came is out
                shown = scraped(url[1])
                if 'outcome="INVALID"' in shown:
                    break
            process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert process.returncode == 0
    assert 'pushcore_sent_total{outcome="ACCEPTED",provider="apns",reason=""} 9.0' in shown
    assert 'outcome="INVALID",provider="apns",reason="BadDeviceToken"} 1.0' in shown
    assert 'pushcore_operation_duration_seconds_count{provider="apns"} 10.0' in shown
    with pytest.raises(OSError):
        scraped(url[1])


def test_a_metrics_port_that_is_taken(fake: FakeProcess, tmp_path: Path) -> None:
    port = fake.apns["url"].rpartition(":")[2]
    done = send(fake, tmp_path, rows("ab" * 32), "--metrics-port", port)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"pushcore: --metrics-port: metrics cannot be served on 127.0.0.1 port {port}"
    )
    assert list(csv.reader(read_or_nothing(tmp_path / "results.csv").splitlines()))[1:] == []
