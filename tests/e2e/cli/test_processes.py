"""`--processes N`: one campaign by several processes, whichever of them ends, and how."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fakeservers import FakeApns, fated_token
from fakeservers.in_thread import InThread
from pushcore.cli.run.journals import RowJournal
from tests.e2e.cli.journal_cli import (
    DEADLINE,
    JOURNAL,
    credentials,
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
from tests.e2e.cli.test_journal import sending
from tests.e2e.cli.test_kill import config_of, received

ROWS = 12_000


@pytest.fixture
def fake() -> Iterator[InThread[FakeApns]]:
    with InThread(lambda: FakeApns(keep=100_000)) as running:
        yield running


def children(process: subprocess.Popen[str]) -> list[int]:
    """Their process ids."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in pids]


def nobody_left(group: int) -> bool:
    """Whether all processes of a group have ended; those that nobody has waited for count as such."""
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return False
    return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("where", ["results.csv", "-"])
def test_without_a_journal_each_row_is_written_once(
    fake: InThread[FakeApns], tmp_path: Path, where: str
) -> None:
    write_inputs(tmp_path, ROWS)
    with (tmp_path / "devices.csv").open("a") as file:
        file.write(f'\nbad,Ada\n"a""\nb,c",Ada\n{fated_token("Unregistered")},Ada\n')
    words = ["send", "--audience", "devices.csv", "--results", where, "--processes", "3"]
    done = run(tmp_path, *words, *credentials(config_of(fake)))
    text = done.stdout if where == "-" else (tmp_path / where).read_text()
    lines = text.split("\n", 1)
    header, rest = lines[0], lines[1]
    assert header.startswith("row,token,platform,verdict,")
    assert header not in rest
    rows = by_row_unordered(text)
    assert sorted(rows) == list(range(1, ROWS + 4))
    counts = Counter(row["verdict"] for row in rows.values())
    assert counts == {"ACCEPTED": ROWS, "INVALID": 2, "UNREGISTERED": 1}
    assert rows[ROWS + 2]["token"] == 'a"\\nb,c'
    assert received(fake) == Counter([*map(token, range(1, ROWS + 1)), fated_token("Unregistered")])
    assert fake.call(lambda: fake.fake.accepted) >= 3
    for words_said in (
        f"{ROWS + 3:,} rows in",
        f"ACCEPTED {ROWS:>17,}",
        "dead: 1 token;",
        "(first: row 12001)",
    ):
        assert words_said in done.stderr


def by_row_unordered(text: str) -> dict[int, dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    outcome_rows = {int(row["row"]): row for row in rows}
    assert len(outcome_rows) == len(rows)
    return outcome_rows


def test_each_device_once_whichever_process_has_its_rows(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, 3000)  # three chunks, one for each process
    with (tmp_path / "devices.csv").open("a") as file:
        file.writelines(f"\n{token(row)},again" for row in range(1, 3001))
    done = send(tmp_path, config_of(fake), "--processes", "3", "--unique")
    assert received(fake) == Counter(map(token, range(1, 3001)))
    rows = results(tmp_path)
    assert Counter(row["verdict"] for row in rows.values()) == {"ACCEPTED": 3000, "INVALID": 3000}
    assert {rows[row]["verdict"] for row in range(1, 3001)} == {"ACCEPTED"}
    assert "3,000  the token of an earlier row; left out" in done.stderr


def test_with_a_journal_for_each(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, ROWS)
    send(tmp_path, config_of(fake), "--processes", "3", "--results", "results.csv")
    assert sorted(file.name for file in tmp_path.glob("campaign*")) == [
        JOURNAL,
        f"{JOURNAL}.1",
        f"{JOURNAL}.2",
    ]
    report = status(tmp_path)
    assert (report["state"], report["runs"]) == ("complete", "1; 3 processes")
    assert number(report["rows"]) == number(report["done"]) == ROWS
    assert (tmp_path / "results.csv").read_text() == run(tmp_path, "results", JOURNAL).stdout
    assert len(results(tmp_path)) == ROWS
    stderr = send(tmp_path, config_of(fake), expected=2).stderr
    assert "campaign.db exists already" in stderr


@pytest.mark.parametrize("journal", [True, False])
def test_a_child_that_is_killed(fake: InThread[FakeApns], tmp_path: Path, journal: bool) -> None:
    """The others go on to their end."""
    write_inputs(tmp_path, ROWS)
    if journal:
        process = sending(tmp_path, fake, "--processes", "2", "--rate", "10000/s")
    else:
        words = ["send", "--audience", "devices.csv", "--results", "results.csv", "--processes", "2"]
        process = start(tmp_path, *words, *credentials(config_of(fake)), "--rate", "10000/s")
        wait_for(lambda: fake.call(lambda: fake.fake.counts.total()) > 100)
    with process:
        victim = children(process)[1]
        os.kill(victim, signal.SIGKILL)
        _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    where = (
        "`pushcore resume campaign.db` continues"
        if journal
        else "rows that are not in results.csv have no result"
    )
    assert f"pushcore: the process 2 (pid {victim}) was killed by signal 9; {where}\n" in stderr
    assert len(received(fake)) >= ROWS // 2
    if journal:
        resume(tmp_path, config_of(fake), "--retry", "resend")
        assert received(fake).keys() == {token(row) for row in range(1, ROWS + 1)}
        assert {row["verdict"] for row in results(tmp_path).values()} == {"ACCEPTED"}
    else:
        rows = by_row_unordered((tmp_path / "results.csv").read_text())
        assert {1, 2001, 4001} <= rows.keys()


def test_children_end_in_order_when_the_parent_dies(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, ROWS)
    with sending(tmp_path, fake, "--processes", "2") as process:
        process.kill()
        process.wait(DEADLINE)
        wait_for(lambda: nobody_left(process.pid))
    report = status(tmp_path)
    assert report["state"] == "stopped"
    assert 0 < number(report["done"]) == received(fake).total() < ROWS
    resume(tmp_path, config_of(fake))
    assert received(fake) == Counter(token(row) for row in range(1, ROWS + 1))
    assert {row["verdict"] for row in results(tmp_path).values()} == {"ACCEPTED"}


def test_journals_of_two_campaigns_are_none(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, 3000)
    config = config_of(fake)
    send(tmp_path, config, "--processes", "2")
    words = ["send", "--audience", "devices.csv", "--journal", "other.db", "--processes", "2"]
    run(tmp_path, *words, *credentials(config))
    os.replace(tmp_path / "other.db.1", tmp_path / f"{JOURNAL}.1")
    before = received(fake).total()
    for command, more in (("status", []), ("results", []), ("resume", credentials(config))):
        stderr = run(tmp_path, command, JOURNAL, *more, expected=2).stderr
        assert stderr == "pushcore: campaign.db.1 is not of the same campaign as campaign.db\n"
    assert received(fake).total() == before


def test_nothing_is_sent_unless_all_can_begin(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, ROWS)
    with sending(tmp_path, fake, "--processes", "2") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
    before = received(fake).total()
    with RowJournal.open(tmp_path / f"{JOURNAL}.1"):
        stderr = resume(tmp_path, config_of(fake), expected=2).stderr
    assert stderr == "pushcore: campaign.db.1 is in use by another process\n"
    assert received(fake).total() == before
    resume(tmp_path, config_of(fake))
    assert received(fake).total() == ROWS
    write_inputs(tmp_path, 10)
    (tmp_path / "odd.db.1").mkdir()
    words = ["send", "--audience", "devices.csv", "--journal", "odd.db", "--processes", "2"]
    assert (
        "odd.db.1 exists already" in run(tmp_path, *words, *credentials(config_of(fake)), expected=2).stderr
    )
    assert not (tmp_path / "odd.db").exists()


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("delay", [0.0, 0.3])
def test_a_wrong_environment_stops_all_within_2000_responses(
    tmp_path: Path, processes: int, delay: float
) -> None:
    """Also where answers take long, so that everything is in flight that may be."""
    lines = ["token,name", *(f"{fated_token('BadDeviceToken', n)},Ada" for n in range(100_000))]
    (tmp_path / "devices.csv").write_text("\n".join(lines))
    (tmp_path / "payload.json").write_text('{"aps":{}}')
    with InThread(lambda: FakeApns(keep=100_000, delay=delay)) as fake:
        stderr = send(tmp_path, config_of(fake), "--processes", str(processes), expected=3).stderr
        counts = fake.call(lambda: fake.fake.counts)
    assert (
        stderr.count("stopped, because every push would fail: BadDeviceToken: Use the other environment") == 1
    )
    assert counts.keys() == {(400, "BadDeviceToken")}
    assert 500 <= counts.total() <= 2000
    rows = results(tmp_path)
    assert len(rows) == counts.total()
    assert {(row["verdict"], row["drop_token"]) for row in rows.values()} == {("INVALID", "")}


def test_the_rate_is_that_of_all(fake: InThread[FakeApns], tmp_path: Path) -> None:
    write_inputs(tmp_path, 4000)
    stderr = send(tmp_path, config_of(fake), "--processes", "2", "--rate", "2000/s").stderr
    match = re.search(r"4,000 rows in ([0-9.]+) s", stderr)
    assert match is not None
    assert float(match[1]) >= 1.7


def test_one_port_has_the_numbers_of_all(fake: InThread[FakeApns], tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    write_inputs(tmp_path, 100_000)
    with sending(tmp_path, fake, "--processes", "2", "--metrics-port", "0") as process:
        assert process.stderr is not None
        url = process.stderr.readline().split()[-1]

        def connections() -> bool:
            with urllib.request.urlopen(url, timeout=5) as response:
                text = response.read().decode()
            return 'pushcore_connections{provider="apns"} 2.0' in text and "pushcore_sent_total{" in text

        wait_for(connections)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
