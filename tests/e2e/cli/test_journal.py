"""A campaign with a journal on the command line: begin, stop, go on, look, and what can be in its way."""

from __future__ import annotations

import csv
import datetime
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakeservers import FakeApns, fated_token
from fakeservers.in_thread import InThread
from pushcore.cli.run.fake_servers import FakeProcess
from tests.e2e.cli.journal_cli import (
    DEADLINE,
    JOURNAL,
    by_row,
    credentials,
    inside,
    kill,
    number,
    results,
    resume,
    run,
    send,
    start,
    status,
    token,
    write_inputs,
)
from tests.e2e.cli.test_kill import config_of, received

SLOW = ("--rate", "2000/s", "--window", "200")


@pytest.fixture
def fake() -> Iterator[InThread[FakeApns]]:
    with InThread(lambda: FakeApns(keep=100_000)) as running:
        yield running


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeProcess]:
    with FakeProcess(tmp_path_factory.mktemp("fake"), "all") as running:
        yield running


def sending(place: Path, fake: InThread[FakeApns], *more: str) -> subprocess.Popen[str]:
    """A slow `send` of which some is answered."""
    words = ["send", "--audience", "devices.csv", "--journal", JOURNAL, *credentials(config_of(fake))]
    process = start(place, *words, *SLOW, *more)
    deadline = time.monotonic() + DEADLINE
    while not fake.call(lambda: fake.fake.counts.total()) > 100:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return process


# --- results ----------------------------------------------------------------------------------------------------------


def test_results_come_in_every_form(both: FakeProcess, tmp_path: Path) -> None:
    gone, again = fated_token("Unregistered", 1), fated_token("Unregistered", 2)
    now = datetime.datetime.now(datetime.UTC)
    audience = [
        "token,name,registered_at",
        *(f"{token(row)},Ada," for row in range(1, 4)),
        f"{gone},Ada,{now - datetime.timedelta(2)}",
        f"{again},Ada,{now:%Y-%m-%d}",
        "nonsense,Ada,",
        "aa,too,many,columns",
    ]
    (tmp_path / "devices.csv").write_text("\n".join(audience))
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    done = send(tmp_path, both.apns, "--results", "results.csv")
    assert done.stdout == ""
    written = (tmp_path / "results.csv").read_text()
    outcome_rows = by_row(written)
    assert written == run(tmp_path, "results", JOURNAL).stdout
    assert [(row["verdict"], row["drop_token"]) for row in outcome_rows.values()] == [
        *[("ACCEPTED", "")] * 3,
        ("UNREGISTERED", "yes"),
        ("UNREGISTERED", ""),
        *[("INVALID", "")] * 2,
    ]
    assert outcome_rows[5]["reason"] == "Unregistered, but registered since"
    assert outcome_rows[7]["reason"] == "the row has 4 columns, expected 3"
    assert outcome_rows[1]["id"].endswith("-000000000001")
    for words in ("7 rows in", "dead: 1 token;", "keep: 1 token that APNs called dead"):
        assert words in done.stderr

    assert list(results(tmp_path, "--verdict", "UNREGISTERED")) == [4, 5]
    assert list(results(tmp_path, "--verdict", "INVALID", "--verdict", "UNREGISTERED")) == [4, 5, 6, 7]
    assert results(tmp_path, "--verdict", "UNKNOWN") == {}
    lines = run(tmp_path, "results", JOURNAL, "--format", "ndjson").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [list(row) for row in rows] == [list(outcome_rows[1])] * 7
    assert rows[3]["drop_token"] is True
    assert rows[3]["timestamp"] == outcome_rows[4]["timestamp"]
    assert (rows[5]["status"], rows[5]["id"]) == (None, None)

    parquet = pytest.importorskip("pyarrow.parquet")
    run(tmp_path, "results", JOURNAL, "--format", "parquet", "--output", "results.parquet")
    table = parquet.read_table(tmp_path / "results.parquet").to_pylist()
    for row, parquet_row in zip(rows, table, strict=True):
        moment = parquet_row.pop("timestamp")
        assert (moment is None) == (row.pop("timestamp") is None)
        assert parquet_row == row
    assert moment is None


def test_results_are_not_written_over_anything(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 3)
    for path in ("devices.csv", JOURNAL, f"{JOURNAL}-wal", "payload.json"):
        stderr = send(tmp_path, both.apns, "--results", path, expected=2).stderr
        assert "expected another file for the results" in stderr
        assert not (tmp_path / JOURNAL).exists()
    send(tmp_path, both.apns)
    for path in (JOURNAL, f"{JOURNAL}-wal"):
        assert "is an input" in run(tmp_path, "results", JOURNAL, "--output", path, expected=2).stderr
    assert len(results(tmp_path)) == 3


def test_a_campaign_is_not_begun_twice(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 3)
    send(tmp_path, both.apns, "--results", "results.csv")
    before = (tmp_path / "results.csv").read_text()
    stderr = send(tmp_path, both.apns, "--results", "results.csv", expected=2).stderr
    assert stderr == (
        "pushcore: campaign.db exists already; `pushcore resume campaign.db` continues its campaign, a new one needs "
        "another name\n"
    )
    assert (tmp_path / "results.csv").read_text() == before


def test_a_complete_campaign_stays_complete(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 30)
    send(tmp_path, both.apns, "--results", "results.csv")
    before = (tmp_path / "results.csv").read_text()
    (tmp_path / "results.csv").unlink()
    stderr = resume(tmp_path, both.apns).stderr
    assert stderr.startswith("0 rows in")
    assert "with those of earlier runs: 30 rows" in stderr
    assert (tmp_path / "results.csv").read_text() == before
    assert "PRIVATE KEY" not in (tmp_path / JOURNAL).read_bytes().decode("latin-1")


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("whom", [signal.SIGINT, signal.SIGTERM, "all"])
def test_one_signal_leaves_nothing_in_doubt(
    fake: InThread[FakeApns], tmp_path: Path, whom: signal.Signals | str, processes: int
) -> None:
    """From a terminal, Ctrl-C goes to every process: "all"."""
    write_inputs(tmp_path, 5000)
    with sending(tmp_path, fake, "--processes", str(processes), "--results", "results.csv") as process:
        if isinstance(whom, str):
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(whom)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert stderr.count("pushcore: stopping; waiting for responses") == 1
    assert "stopped by a signal" in stderr
    assert "`pushcore resume campaign.db` continues" in stderr
    report = status(tmp_path)
    assert (report["state"], report["why"]) == ("stopped", "it was stopped by a signal or another process")
    first = number(report["done"])
    assert 0 < first < 5000
    assert list(by_row((tmp_path / "results.csv").read_text())) == list(results(tmp_path))
    assert received(fake).total() == first
    assert "no outcome yet" in run(tmp_path, "results", JOURNAL, "--verdict", "UNKNOWN").stderr

    stderr = resume(tmp_path, config_of(fake)).stderr
    assert f"{5000 - first:,} rows in" in stderr
    assert set(Counter(row["verdict"] for row in results(tmp_path).values())) == {"ACCEPTED"}
    assert received(fake) == Counter(token(row) for row in range(1, 5001))
    assert len(by_row((tmp_path / "results.csv").read_text())) == 5000
    report = status(tmp_path)
    assert (report["state"], number(report["repeats"])) == ("complete", 0)
    assert report["runs"].startswith("2")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_signal_stops_at_once(tmp_path: Path, processes: int) -> None:
    with InThread(lambda: FakeApns(keep=100_000, delay=0.3)) as fake:
        write_inputs(tmp_path, 5000)
        with sending(tmp_path, fake, "--processes", str(processes)) as process:
            assert process.stderr is not None
            process.send_signal(signal.SIGINT)
            while "stopping" not in process.stderr.readline():
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=DEADLINE)
        assert process.returncode == 1
        assert "are in doubt; `pushcore resume` continues" in stderr
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # nobody is left
        resume(tmp_path, config_of(fake), "--retry", "resend")
        assert received(fake).keys() == {token(row) for row in range(1, 5001)}
    assert status(tmp_path)["runs"].startswith("2, 1 of them cut short")


# --- status -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_looking_on_while_it_runs(fake: InThread[FakeApns], tmp_path: Path, processes: int) -> None:
    write_inputs(tmp_path, 500_000)
    with sending(tmp_path, fake, "--processes", str(processes)) as process:
        try:
            deadline = time.monotonic() + DEADLINE
            while number((report := status(tmp_path))["done"]) < 200:
                assert time.monotonic() < deadline
            assert report["state"] == "running"
            assert report["rows"].startswith("not known")
            assert report["done"] == report["ACCEPTED"]
            assert 0 < number(report["rate"]) < 20_000
            assert report["audience"].endswith("/devices.csv")
            seen = run(tmp_path, "results", JOURNAL)
            assert len(by_row(seen.stdout)) >= 200
            assert "campaign.db has rows that have no outcome yet" in seen.stderr
            stderr = resume(tmp_path, config_of(fake), expected=2).stderr
            assert "campaign.db" in stderr
            assert "is in use by another process" in stderr
            assert process.poll() is None
        finally:
            kill(process)
    assert status(tmp_path)["state"] == "cut short"


# --- audiences --------------------------------------------------------------------------------------------------------


def test_an_audience_that_cannot_be_read_twice(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 3)
    words = ["send", *credentials(both.apns), "--results", "results.csv"]
    for more in (("--journal", JOURNAL), ("--processes", "2")):
        with start(tmp_path, *words, *more, "--audience", "-", stdin=subprocess.PIPE) as process:
            stderr = process.communicate("token\n", timeout=DEADLINE)[1]
        assert process.returncode == 2
        assert stderr == (
            "pushcore: the standard input cannot be read twice; with --journal or --processes expected the path of a file\n"
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["devices.csv", "payload.json"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_changed_audience_is_refused(both: FakeProcess, tmp_path: Path, processes: int) -> None:
    write_inputs(tmp_path, 3000)
    send(tmp_path, both.apns, "--processes", str(processes))
    with (tmp_path / "devices.csv").open("a") as file:
        file.write(f"\n{token(3001)},new\n")
    stderr = resume(tmp_path, both.apns, expected=2).stderr
    assert "devices.csv had " in stderr
    assert "rows would be sent twice or never" in stderr
    shutil.move(tmp_path / "devices.csv", tmp_path / "moved.csv")
    assert "cannot be read (No such file" in resume(tmp_path, both.apns, expected=2).stderr
    stderr = resume(tmp_path, both.apns, "--audience", "moved.csv", expected=2).stderr
    assert "the campaign began with" in stderr
    assert len(results(tmp_path)) == 3000
    resume(tmp_path, both.apns, "--audience", "moved.csv", "--force")
    assert list(results(tmp_path)) == list(range(1, 3002))


@pytest.mark.parametrize(("before", "rest"), [('"Dear\nAnn,\n', 'hello"\n'), ('"Ann', '"\n')])
@pytest.mark.parametrize("processes", [1, 2])
def test_an_audience_that_was_truncated_before_the_run_is_not_complete(
    both: FakeProcess, tmp_path: Path, processes: int, before: str, rest: str
) -> None:
    problem = "a quotation mark opens and is not closed"
    write_inputs(tmp_path, 10)
    with (tmp_path / "devices.csv").open("a") as file:
        file.write(f"\n{token(11)},{before}")
    stderr = send(tmp_path, both.apns, "--processes", str(processes), expected=1).stderr
    assert f"devices.csv: it seems to be truncated within row 11: {problem}); `pushcore resume" in stderr
    assert status(tmp_path)["state"] == "stopped"
    assert "row 11" in resume(tmp_path, both.apns, expected=1).stderr
    assert 11 not in results(tmp_path)
    for words in (("tokens", "devices.csv"), ("send", "--dry-run", "--audience", "devices.csv")):
        more = [*credentials(both.apns), "--results", "bad.csv"] if words[0] == "send" else []
        done = inside(tmp_path, *words, *more)
        assert done.returncode == 1
        assert f"it seems to be truncated within row 11: {problem}\n" in done.stderr
    with (tmp_path / "devices.csv").open("a") as file:
        file.write(rest)
    resume(tmp_path, both.apns, "--force")
    assert status(tmp_path)["state"] == "complete"
    assert list(results(tmp_path)) == list(range(1, 12))


def test_the_rows_of_parquet_are_known_before_they_have_been_read(
    fake: InThread[FakeApns], tmp_path: Path
) -> None:
    arrow = pytest.importorskip("pyarrow")
    write_inputs(tmp_path, 5000)
    with (tmp_path / "devices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = arrow.table({name: [row[name] for row in rows] for name in rows[0]})
    # Under the name that `sending` gives: what a file is, its beginning says.
    importlib.import_module("pyarrow.parquet").write_table(table, tmp_path / "devices.csv")
    with sending(tmp_path, fake, "--processes", "2") as process:
        try:
            assert number(status(tmp_path)["rows"]) == 5000
        finally:
            kill(process)
    resume(tmp_path, config_of(fake), "--retry", "resend")
    assert number(status(tmp_path)["rows"]) == 5000
    assert received(fake).keys() == {token(row) for row in range(1, 5001)}
    assert len(results(tmp_path)) == 5000


# --- breakers ---------------------------------------------------------------------------------------------------------


def test_pushes_held_back_by_a_breaker_are_sent_by_the_next_run(both: FakeProcess, tmp_path: Path) -> None:
    registrations = [f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{n:0134x}" for n in range(3000)]
    lines = ["token,name"]
    for row, registration in enumerate(registrations):
        lines += [f"{token(row)},Ada", f"{registration},Ada"]
    (tmp_path / "devices.csv").write_text("\n".join(lines))
    (tmp_path / "payload.json").write_text('{"title":"Hi {{name}}"}')
    account = json.loads(Path(both.fcm["service_account_file"]).read_text())
    account["client_email"] = "nobody@fake-project.iam.gserviceaccount.com"
    (tmp_path / "wrong.json").write_text(json.dumps(account))
    more = ("--fcm-url", both.fcm["url"], "--rate", "none", "--quiet")
    done = send(tmp_path, both.apns, *more, "--fcm-service-account", "wrong.json", expected=3)
    assert "pushcore: stopped, because every push to FCM would fail: invalid_grant: " in done.stderr
    assert done.stderr.endswith("; after the cause is fixed, `pushcore resume campaign.db` continues\n")
    looked = json.loads(run(tmp_path, "status", JOURNAL, "--json").stdout)
    assert looked["state"] == "stopped"
    assert looked["why"].startswith("every push to FCM would fail: invalid_grant: ")
    assert looked["verdicts"]["ACCEPTED"] == 3000
    counts = Counter((row["platform"], row["verdict"]) for row in results(tmp_path).values())
    refused = counts["fcm", "MISCONFIGURED"]
    assert counts == {("apns", "ACCEPTED"): 3000, ("fcm", "MISCONFIGURED"): refused}
    assert 20 <= refused <= 2000
    resume(tmp_path, both.apns, *more, "--fcm-service-account", both.fcm["service_account_file"])
    counts = Counter((row["platform"], row["verdict"]) for row in results(tmp_path).values())
    assert counts == {
        ("apns", "ACCEPTED"): 3000,
        ("fcm", "MISCONFIGURED"): refused,
        ("fcm", "ACCEPTED"): 3000 - refused,
    }


# --- what is in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "results", "resume"])
def test_files_that_are_no_journal(both: FakeProcess, tmp_path: Path, command: str) -> None:
    write_inputs(tmp_path, 3)
    more = credentials(both.apns) if command == "resume" else []
    assert "there is no journal nowhere.db" in run(tmp_path, command, "nowhere.db", *more, expected=2).stderr
    stderr = run(tmp_path, command, "devices.csv", *more, expected=2).stderr
    assert "devices.csv is not a journal" in stderr
    send(tmp_path, both.apns, "--processes", "2")
    stderr = run(tmp_path, command, f"{JOURNAL}.1", *more, expected=2).stderr
    assert "is part 2 of the 2 of a campaign; expected the first" in stderr
    (tmp_path / f"{JOURNAL}.1").unlink()
    stderr = run(tmp_path, command, JOURNAL, *more, expected=2).stderr
    assert "campaign.db.1 is missing or empty: it is one of the campaign's journals" in stderr


def test_a_damaged_journal(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 20_000)
    send(tmp_path, both.apns, "--quiet")
    path = tmp_path / JOURNAL
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + 30_000):
        content[at] ^= 0x55
    path.write_bytes(content)
    for command, more in (("results", []), ("resume", credentials(both.apns))):
        stderr = run(tmp_path, command, JOURNAL, *more, expected=2).stderr
        assert stderr.startswith("pushcore: ")
        assert "damaged" in stderr
    assert path.read_bytes()[100:] == bytes(content[100:])  # but for SQLite's own counters


@pytest.mark.parametrize("processes", [1, 2])
def test_a_full_disk_stops_it_and_nothing_is_lost(
    fake: InThread[FakeApns], tmp_path: Path, processes: int
) -> None:
    """A limit on the size of files stands for it."""
    write_inputs(tmp_path, 30_000)

    def limit() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))

    words = ["send", "--audience", "devices.csv", "--journal", JOURNAL, *credentials(config_of(fake))]
    with start(
        tmp_path, *words, "--processes", str(processes), "--window", "500", preexec_fn=limit
    ) as process:
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1, stderr
    assert "cannot be read or written" in stderr or "the disk is full" in stderr
    assert "`pushcore resume campaign.db` continues" in stderr
    assert "Traceback" not in stderr
    report = status(tmp_path)
    # Whether there is room for that is chance here: the reserve cannot lift this limit.
    assert report["state"] in ("stopped", "cut short")
    assert report["state"] != "stopped" or any(words in stderr for words in report["why"].split("; "))
    assert 0 < number(report["done"]) < 30_000
    resume(tmp_path, config_of(fake), "--retry", "resend")
    assert set(Counter(row["verdict"] for row in results(tmp_path).values())) == {"ACCEPTED"}
    times = received(fake)
    assert times.keys() == {token(row) for row in range(1, 30_001)}
    assert times.total() - len(times) <= processes * 1500


def test_a_dry_run_keeps_no_journal(both: FakeProcess, tmp_path: Path) -> None:
    write_inputs(tmp_path, 3)
    assert "--dry-run and --journal" in send(tmp_path, both.apns, "--dry-run", expected=2).stderr
    assert not (tmp_path / JOURNAL).exists()


@pytest.mark.slow
@pytest.mark.parametrize("change", [shutil.rmtree, lambda path: path.rename(path.with_name("other"))])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_journal_whose_directory_is_removed_meanwhile_is_written_again(
    fake: InThread[FakeApns], tmp_path: Path, processes: str, change: Callable[[Path], object]
) -> None:
    write_inputs(tmp_path, 20_000)
    place = tmp_path / "journals"
    place.mkdir()
    words = ("--journal", f"journals/{JOURNAL}", "--results", "results.csv", "--processes", processes)
    with sending(tmp_path, fake, *words) as process:
        change(place)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "campaign.db was removed or renamed while it was written" in stderr
    assert set(received(fake)) == {
        row["token"] for row in by_row((tmp_path / "results.csv").read_text()).values()
    }


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("content", [b"", b"token,name\n" * 1000])
def test_the_results_of_a_journal_that_is_replaced_meanwhile_come_from_the_saved_one(
    fake: InThread[FakeApns], tmp_path: Path, processes: str, content: bytes
) -> None:
    write_inputs(tmp_path, 20_000)
    words = ("--results", "results.csv", "--processes", processes)
    with sending(tmp_path, fake, *words) as process:
        (tmp_path / "other").write_bytes(content)
        (tmp_path / "other").replace(tmp_path / JOURNAL)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert f"`pushcore resume {JOURNAL}.saved` continues" in stderr
    assert (tmp_path / JOURNAL).read_bytes() == content
    sent = received(fake)
    assert set(sent) == {row["token"] for row in by_row((tmp_path / "results.csv").read_text()).values()}
    run(tmp_path, "resume", f"{JOURNAL}.saved", *credentials(config_of(fake)))
    assert received(fake) == Counter(token(row) for row in range(1, 20_001))


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_rows_of_a_log_that_is_emptied_meanwhile_are_in_doubt(
    fake: InThread[FakeApns], tmp_path: Path, processes: str
) -> None:
    write_inputs(tmp_path, 20_000)
    with sending(tmp_path, fake, "--processes", processes) as process:
        os.truncate(tmp_path / f"{JOURNAL}-wal", 0)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    # Other words if it was emptied in the 0.1 ms in which SQLite reads it.
    assert re.search(
        r"campaign\.db (was truncated or overwritten|cannot be read or written|is damaged)", stderr
    )
    resume(tmp_path, config_of(fake))
    assert max(received(fake).values()) == 1
    verdicts = Counter(row["verdict"] for row in results(tmp_path).values())
    assert set(verdicts) <= {"ACCEPTED", "UNKNOWN"}
    assert verdicts.total() == 20_000


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.rename(path.with_name("other.db"))])
def test_a_journal_that_is_removed_meanwhile_is_reported_and_sent_pushes_are_in_the_results(
    fake: InThread[FakeApns], tmp_path: Path, processes: str, change: Callable[[Path], object]
) -> None:
    write_inputs(tmp_path, 20_000)
    with sending(tmp_path, fake, "--results", "results.csv", "--processes", processes) as process:
        change(tmp_path / JOURNAL)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert "campaign.db was removed or renamed while it was written" in stderr
    assert "Traceback" not in stderr
    sent = received(fake)
    answered = {row["token"] for row in by_row((tmp_path / "results.csv").read_text()).values()}
    assert set(sent) == answered
    resume(tmp_path, config_of(fake))
    assert received(fake) == Counter(token(row) for row in range(1, 20_001))
