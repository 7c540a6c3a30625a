"""What `pushcore status` says of journals."""

from __future__ import annotations

from pathlib import Path

from pushcore.cli.journals import Progress, RowJournal
from pushcore.cli.status import describe
from pushcore.engine.journal import Source
from pushcore.results import Verdict


def test_two_journals_are_one_campaign(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    now = [1_700_000_000.0]
    for number, done in ((0, 3), (1, 1)):
        name = path if number == 0 else f"{path}.{number}"
        with RowJournal.create(
            name,
            Source("devices.csv"),
            rows=6,
            chunk_size=3,
            campaign_id="mine",
            shard=number,
            shards=2,
            options={"audience": "/a/devices\x1b.csv"},
            clock=lambda: now[0],
        ) as journal:
            for row in range(1 + 3 * number, 1 + 3 * number + done):
                journal.note(row, "aa", "apns", "BadDeviceToken", Verdict.INVALID)
            now[0] += 2
    progress = Progress.of(str(path))
    assert (progress.rows, progress.done, progress.complete, progress.running) == (6, 4, False, False)
    lines = describe(progress, now[0])
    assert lines[:-1] == [
        "campaign  mine",
        r"audience  /a/devices\x1b.csv",
        "state     stopped",
        "rows      6",
        "started   4",
        "done      4 (66.7%)",
        "  INVALID                  4",
        "repeats   0",
        "runs      1; 2 processes",
        "rate      1 a second in the last run",
        "began     2023-11-14T22:13:20Z",
        "updated   2023-11-14T22:13:24Z",
    ]
    assert lines[-1].startswith("suspect: 4 tokens (BadDeviceToken 4)")
