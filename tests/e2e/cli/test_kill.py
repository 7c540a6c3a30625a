"""`pushcore send --journal` is killed again and again, and `pushcore resume` continues: compared with what the fake got."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers import FakeApns
from fakeservers.in_thread import InThread
from pushcore.cli.run.journals import views
from pushcore.journal.journal import CHUNK_SIZE
from tests.e2e.cli.journal_cli import (
    DEADLINE,
    JOURNAL,
    credentials,
    kill,
    number,
    results,
    resume,
    start,
    status,
    token,
    write_inputs,
)
from tests.tiers import budget

ROWS = budget(60_000, 300_000)
KILLS = budget(10, 100)
WINDOW = 500
BOUND = WINDOW + CHUNK_SIZE
"""Rows that may be in doubt after one kill of one process: what was in flight and one chunk."""
LAST = 0.9 * (1 - KILLS * BOUND / ROWS)
"""When the last kill comes at the latest: under "report", what is in doubt is not sent any more."""
PACE = ("--window", str(WINDOW), "--max-connections", "1", "--quiet")


@pytest.fixture
def fake() -> Iterator[InThread[FakeApns]]:
    with InThread(lambda: FakeApns(keep=4 * ROWS)) as running:
        yield running


def config_of(running: InThread[FakeApns]) -> dict[str, str]:
    names = ("url", "ca_file", "key_file", "key_id", "team_id", "topic")
    return running.call(lambda: {name: getattr(running.fake, name) for name in names})


def received(running: InThread[FakeApns]) -> Counter[str]:
    """How often each device got a push."""
    return running.call(lambda: Counter(request.token for request in running.fake.received))


def killed(fake: InThread[FakeApns], place: Path, words: list[str], answered: int) -> None:
    """Run it, and kill it when the fake has got so many."""
    with start(place, *words) as process:
        try:
            deadline = time.monotonic() + DEADLINE
            while fake.call(lambda: sum(fake.fake.counts.values())) < answered:
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            kill(process)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.grows
@pytest.mark.parametrize(("policy", "processes"), [("report", 1), ("resend", 1), ("resend", 2)])
def test_killed_again_and_again(
    fake: InThread[FakeApns], tmp_path: Path, policy: str, processes: int
) -> None:
    write_inputs(tmp_path, ROWS)
    config = config_of(fake)
    again = ["resume", JOURNAL, *credentials(config), *PACE, "--retry", policy]
    words = ["send", "--audience", "devices.csv", "--journal", JOURNAL, "--processes", str(processes)]
    words += [*credentials(config), *PACE, "--retry", policy, "--results", "results.csv"]
    rng = random.Random(policy)
    left = ROWS
    for run, share in enumerate(sorted(rng.uniform(0.001, LAST) for _ in range(KILLS)), 1):
        # At least a little further than the last time, so that each run sends something before it is killed.
        before = fake.call(lambda: sum(fake.fake.counts.values()))
        killed(fake, tmp_path, words, max(before + 1, int(share * ROWS)))
        words = again
        report = status(tmp_path)
        assert number(report["runs"]) == run
        assert number(report["started"]) - number(report["done"]) <= processes * BOUND
        assert report["state"] == "cut short"
        left = ROWS - number(report["done"])
    done = resume(tmp_path, config, *PACE, "--retry", policy)
    assert done.stderr == ""
    assert 0 < left < ROWS

    report = status(tmp_path)
    assert (report["state"], number(report["done"]), number(report["rows"])) == ("complete", ROWS, ROWS)
    rows = results(tmp_path)
    assert list(rows) == list(range(1, ROWS + 1))
    assert (tmp_path / "results.csv").read_text().count("\n") == ROWS + 1
    assert all(entry["token"] == token(row) for row, entry in rows.items())
    verdicts = Counter(row["verdict"] for row in rows.values())
    times = received(fake)
    assert sum(times.values()) == fake.call(lambda: sum(fake.fake.counts.values()))  # it has kept them all
    repeats = sum(times.values()) - len(times)
    with views(str(tmp_path / JOURNAL)) as found_views:
        counted = sum(view.status().repeats for view in found_views)
    assert all(times[token(row)] for row, entry in rows.items() if entry["verdict"] == "ACCEPTED")
    if policy == "report":
        assert repeats == counted == 0
        assert set(verdicts) <= {"ACCEPTED", "UNKNOWN"}
        assert verdicts["UNKNOWN"] <= KILLS * BOUND
        # In doubt are all that it got and did not know of, and others that might have got there.
        assert verdicts["UNKNOWN"] >= len(times) - verdicts["ACCEPTED"] > 0
    else:
        assert verdicts == {"ACCEPTED": ROWS}
        assert len(times) == ROWS
        assert 0 < repeats <= counted <= KILLS * BOUND * processes
