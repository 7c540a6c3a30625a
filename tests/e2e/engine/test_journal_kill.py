"""A sender is killed at any moment and goes on: every row has one outcome, and what is in doubt is bounded."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pushcore.journal.journal import JournalView, push_id
from pushcore.results import Verdict
from tests.e2e.engine import journal_sender
from tests.e2e.engine.journal_sender import BAD, CAMPAIGN, CHUNK, GONE, WINDOW, token_of
from tests.tiers import budget

ROWS = budget(60_000, 600_000)
KILLS = budget(11, 100)
LINE = len("0000001 001\n")
BOUND = WINDOW + CHUNK
"""Rows that may be in doubt after one kill: what was in flight and one chunk."""
LAST = 0.95 * (1 - KILLS * BOUND / ROWS)
"""When the last kill comes at the latest: under "report", what is in doubt is not sent any more."""
DEADLINE = 90.0


def _start(path: Path, log: Path, policy: str, seed: int) -> subprocess.Popen[bytes]:
    sender = Path(journal_sender.__file__)
    return subprocess.Popen([sys.executable, str(sender), str(path), str(log), policy, str(ROWS), str(seed)])


def _kill_at(process: subprocess.Popen[bytes], log: Path, lines: int, pause: float) -> None:
    """Kill it a moment after the log has so many lines."""
    deadline = time.monotonic() + DEADLINE
    while not log.exists() or log.stat().st_size < lines * LINE:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail("it ended by itself, or does not go on")
        time.sleep(0.001)
    time.sleep(pause)
    process.kill()
    assert process.wait(DEADLINE) == -9
    # A kill may cut a write at the end of a page; the row whose line is cut has not been sent.
    os.truncate(log, log.stat().st_size // LINE * LINE)


@pytest.mark.slow
@pytest.mark.grows
@pytest.mark.parametrize("policy", ["report", "resend"])
def test_killed_again_and_again(tmp_path: Path, policy: str) -> None:
    path, log = tmp_path / "campaign.db", tmp_path / "sent.log"
    rng = random.Random(policy)
    in_doubt = 0
    for run, share in enumerate(sorted(rng.uniform(0.001, LAST) for _ in range(KILLS)), 1):
        process = _start(path, log, policy, run)
        # At least a little further than the last time, so that each run sends something before it is killed.
        lines = log.stat().st_size // LINE + 1 if log.exists() else 1
        _kill_at(process, log, max(lines, int(share * ROWS)), rng.uniform(0, 0.004))
        with JournalView(path) as view:
            status = view.status()
        assert status.runs == run
        assert status.ended is None
        assert not status.complete
        assert 0 < status.started - status.done <= BOUND
    process = _start(path, log, policy, KILLS + 1)
    try:
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()

    sent: Counter[int] = Counter()
    runs: dict[int, list[int]] = {}
    for line in log.read_bytes().splitlines():
        row, run = map(int, line.split())
        sent[row] += 1
        runs.setdefault(run, []).append(row)
    with JournalView(path) as view:
        status = view.status()
        outcomes = list(view.results())
    assert status.complete
    assert status.cut_short == KILLS
    assert status.ended is not None
    assert [outcome.row for outcome in outcomes] == list(range(1, ROWS + 1))
    assert status.done == ROWS
    assert status.verdicts == Counter(outcome.verdict.name for outcome in outcomes)

    for outcome in outcomes:
        if outcome.row % BAD == 0:
            assert (outcome.verdict, outcome.attempts, sent[outcome.row]) == (Verdict.INVALID, 0, 0)
            assert (outcome.token, outcome.reason, outcome.id) == ("no token", "the row is odd", None)
            continue
        assert outcome.token == token_of(outcome.row)
        assert outcome.id == push_id(CAMPAIGN, outcome.row)
        assert outcome.attempts >= max(sent[outcome.row], 1)
        if outcome.verdict is Verdict.UNKNOWN:
            in_doubt += 1
            continue
        gone = outcome.row % GONE == 0
        assert outcome.verdict is (Verdict.UNREGISTERED if gone else Verdict.ACCEPTED)
        assert (outcome.status, outcome.timestamp) == ((410, 1e9) if gone else (200, None))
        assert sent[outcome.row] >= 1
    if policy == "report":
        assert not [row for row, times in sent.items() if times > 1]
        assert 0 < in_doubt <= KILLS * BOUND
        assert status.repeats == 0
    else:
        assert in_doubt == 0
        earlier: set[int] = set()
        for run in sorted(runs):
            again = earlier.intersection(runs[run])
            assert len(runs[run]) == len(set(runs[run])), "at most once in each run"
            assert len(again) <= BOUND
            earlier.update(runs[run])
        repeats = sum(sent.values()) - len(sent)
        assert 0 < repeats <= status.repeats <= KILLS * BOUND
