"""Writes the files in `files/`: journals, a ledger and messages of a queue, as they were at one point in time.

    python -m tests.golden.make             refuses where a file is there already
    python -m tests.golden.make --again     writes all of them anew

They are written ONCE. Later versions have to read them, or refuse them with a sentence and a new format number; so who
changes code does not run this again. `--again` is for a new format, whose files get names of their own, beside these.

SQLite's files are mostly zeros, so they are packed with gzip.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol
from unittest import mock

from pushcore import Journal, Message, Notification, Result, Verdict
from pushcore.journal.journal import Source, id_prefix
from pushcore.queue.campaign import CampaignInfo, CampaignState
from pushcore.queue.chunk import Chunk, Reference, inline_chunks
from pushcore.queue.ledger import Ledger
from pushcore.queue.outcomes import ChunkResult

FILES: Final = Path(__file__).parent / "files"
CAMPAIGN: Final = "0123456789abcdef"
QUEUED: Final = "autumn"
BEGAN: Final = 1_790_000_000.0
AUDIENCE: Final = "devices.csv"
ROWS: Final = 45
FCM_EVERY, ODD_EVERY = 5, 19
INFO: Final = CampaignInfo(
    QUEUED,
    "4096-00112233445566778899aabbccddeeff-10",
    10,
    {"apns": {"topic": "com.example.app", "team": "TEAM123456"}, "fcm": {"project": "my-project"}},
    {"audience": {"columns": ["token", "name"]}},
)


class ApnsRow(Notification):
    """A push to APNs that knows its row."""

    __slots__ = ("row",)

    row: int


class FcmRow(Message):
    """A message to FCM that knows its row."""

    __slots__ = ("row",)

    row: int


class Clock:
    """Says what it was told."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


class Turns(Protocol):
    """What `pushes` needs of a journal."""

    @property
    def id_prefix(self) -> str: ...

    def note(self, row: int, token: str, platform: str, reason: str) -> object: ...


def token(row: int) -> str:
    """The token of a row: every fifth is one of FCM, every nineteenth none at all."""
    if not row % ODD_EVERY:
        return f"odd-{row}"
    if not row % FCM_EVERY:
        return f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{row:0134x}"
    return f"{row * 0x9E3779B97F4A7C15 % (1 << 64):016x}" * 4


def audience(rows: int = ROWS) -> str:
    """The audience as a file."""
    return "".join(["token,name\n", *(f"{token(row)},Name {row}\n" for row in range(1, rows + 1))])


def pushes(journal: Turns, rows: int) -> Iterator[ApnsRow | FcmRow]:
    """The pushes of the audience; rows that are none go to the journal in their turn."""
    for row in range(1, rows + 1):
        push: Any
        if not row % ODD_EVERY:
            journal.note(row, token(row), "", "it has the shape of no token")
            continue
        if row % FCM_EVERY:
            push = ApnsRow(token(row), b"{}", apns_id=f"{journal.id_prefix}{row:012x}")
        else:
            push = FcmRow(token=token(row))
        push.row = row
        yield push


def outcome(push: Any) -> Result:
    """What becomes of a push, by its row."""
    row = push.row
    if isinstance(push, Message):
        if row % 3:
            return Result(push, Verdict.ACCEPTED, 200, 1, f"projects/my-project/messages/0:{row}")
        return Result(push, Verdict.UNREGISTERED, 404, 1, reason="UNREGISTERED")
    name = push.apns_id
    if row % 7 == 3:
        return Result(push, Verdict.UNREGISTERED, 410, 1, name, reason="Unregistered", timestamp=BEGAN - row)
    if row % 7 == 4:
        return Result(push, Verdict.INVALID, 400, 1, name, reason="BadDeviceToken")
    if row % 11 == 6:
        return Result(push, Verdict.UNAVAILABLE, 503, 3, name, reason="ServiceUnavailable")
    if row % 11 == 7:
        return Result(push, Verdict.UNKNOWN, None, 1, name, detail="no answer in time")
    return Result(push, Verdict.ACCEPTED, 200, 2 if row % 11 == 8 else 1, name)


# --- journals ---------------------------------------------------------------------------------------------------------


def create(path: Path, clock: Clock, **shards: int) -> Journal:
    """A new journal of the campaign."""
    source = Source("/data/devices.csv", len(audience()), 1_789_000_000_000_000_000, "00" * 16)
    return Journal.create(
        path,
        source,
        chunk_size=10,
        campaign_id=CAMPAIGN,
        options={"audience": AUDIENCE, "results": "results.csv"},
        clock=clock,
        **shards,
    )


def finished(place: Path) -> Iterator[Path]:
    """All rows have their outcome."""
    clock = Clock()
    with create(place / "finished.db", clock) as journal:
        for push in journal.pending(pushes(journal, ROWS)):
            journal.record(outcome(push))
        journal.finish()
        clock.now += 2.5
    yield place / "finished.db"


def cut_short(place: Path) -> Iterator[Path]:
    """A run that was stopped, and one that was killed: rows in doubt of both, rows that wait, a log of SQLite's."""
    clock, path = Clock(), place / "cut-short.db"
    journal = create(path, clock)
    for push in journal.pending(pushes(journal, ROWS)):
        if push.row == 12:
            journal.put_back(push, 1)
        elif push.row != 14:
            journal.record(outcome(push))
        if push.row == 24:
            break
    clock.now += 5
    journal.close("it was told to stop")
    clock.now += 3600
    journal = Journal.open(path, unknown="resend", clock=clock)
    for push in journal.pending(pushes(journal, ROWS)):
        if push.row == 28:
            journal.put_back(push, 2)
        elif push.row not in (27, 33, 34):
            journal.record(outcome(push))
        if push.row == 34:
            break
    clock.now += 3
    journal.flush()
    for ending in ("", "-wal"):  # a copy of the files as they are is what a kill leaves
        copy = place / f"copy.db{ending}"
        copy.write_bytes(path.with_name(path.name + ending).read_bytes())
    journal.close()
    for ending in ("", "-wal"):
        yield (place / f"copy.db{ending}").rename(path.with_name(path.name + ending))


def two_processes(place: Path) -> Iterator[Path]:
    """The journals of two processes: the first has sent all of its rows, the second was stopped."""
    for shard in range(2):
        path, clock = place / ("two.db", "two.db.1")[shard], Clock()
        journal = create(path, clock, shard=shard, shards=2)
        for push in journal.pending(pushes(journal, ROWS)):
            journal.record(outcome(push))
            if shard and push.row == 35:
                break
        else:
            journal.finish()
        clock.now += 4 + shard
        journal.close("the disk was full" if shard else None)
        yield path


# --- the queue --------------------------------------------------------------------------------------------------------


def rows(first: int, last: int) -> list[dict[str, Any]]:
    """Rows of a chunk: a column kept as bytes, one with a value for all, one of different types."""
    kinds: tuple[Any, ...] = (None, True, 7, 2.5, "Grüße")
    return [
        {"token": f"{row:064x}", "locale": "de", "any": kinds[row % len(kinds)]}
        for row in range(first, last + 1)
    ]


def queued_results(first: int, last: int) -> list[Result]:
    """Outcomes of rows of the queue's campaign."""
    found = []
    for row in range(first, last + 1):
        push = ApnsRow(f"{row:064x}", b"{}", apns_id=f"{id_prefix(QUEUED)}{row:012x}")
        push.row = row
        found.append(outcome(push))
    return found


def result(number: int, first: int, last: int, nonce: str) -> ChunkResult:
    """What a worker sends back of these rows."""
    return ChunkResult.of(number, nonce, "worker-1", queued_results(first, last), id_prefix(QUEUED))


def messages() -> dict[str, bytes]:
    """What is on a queue, by the names of the files."""
    reference = Reference("s3://bucket/devices.parquet", 1000, 1500, "rows", "4096-00ff-1")
    return {
        "chunk-inline.bin": Chunk.inline(2, 21, rows(21, 30)).encode(),
        "chunk-partly-done.bin": Chunk.inline(3, 31, rows(31, 40)).without(0b1000000101).encode(),
        "chunk-reference.bin": Chunk(4, 2001, 500, reference).encode(),
        "campaign.json": INFO.encode(),
        "result.bin": result(1, 11, 20, "nonce-1").encode(),
        "result-of-two-blocks.bin": result(9, 1020, 1029, "nonce-2").encode(),
        "result-aside.bin": ChunkResult(2, "nonce-3", "worker-2", BEGAN, bad="it cannot be read").encode(),
    }


def ledger(place: Path) -> Iterator[Path]:
    """A paused campaign: a chunk that is finished, one in part, one set aside and one that nobody has sent."""
    path = place / "autumn.ledger"
    with Ledger.create(path, INFO) as book:
        book.add(list(inline_chunks(rows(1, 35), 10)))
        book.finish()
        book.next_epoch()
        book.record([result(0, 1, 10, "a"), result(1, 11, 15, "b"), result(1, 14, 16, "c")])
        book.record([ChunkResult(2, "d", "worker-2", BEGAN, bad="its rows cannot be read")], strays=2)
        book.state = CampaignState.PAUSED
    yield path


def main(again: bool) -> int:
    """Write all files; the exit status."""
    with tempfile.TemporaryDirectory() as name, mock.patch("time.time", return_value=BEGAN):
        place = Path(name)
        found = {AUDIENCE: audience().encode(), **messages()}
        for source in (finished, cut_short, two_processes, ledger):
            for path in source(place):
                found[f"{path.name}.gz"] = gzip.compress(path.read_bytes(), mtime=0)
    FILES.mkdir(exist_ok=True)
    there = sorted(each for each in found if (FILES / each).exists())
    if there and not again:
        print(
            f"{', '.join(there)}: written once, and not again (see --again in the docstring)", file=sys.stderr
        )
        return 1
    for each, data in found.items():
        (FILES / each).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main("--again" in sys.argv[1:]))
