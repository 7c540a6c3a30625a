"""A sender without a wire, to be killed: `python journal_sender.py JOURNAL LOG POLICY ROWS SEED`.

"Sent" is what stands in LOG, a line with row and seed for each push; answers come out of order, a few milliseconds later.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pushcore.journal.journal import Journal, Source
from pushcore.models.apns import Notification
from pushcore.results import Result, Verdict

WINDOW = 2000
CHUNK = 500
BURST = 200
BAD = 997
"""Each row of which this is a divisor is no push."""
GONE = 50
"""Each row of which this is a divisor has a dead token."""
CAMPAIGN = "killed"


class Push(Notification):
    """A push that knows its row."""

    __slots__ = ("row",)

    row: int


def token_of(row: int) -> str:
    """A token, the same in each run."""
    return f"{row * 0x9E3779B97F4A7C15 % (1 << 64):016x}" * 4


def outcome_of(push: Push) -> Result:
    """What becomes of a push."""
    if push.row % GONE:
        return Result(push, Verdict.ACCEPTED, 200, 1, push.apns_id)
    return Result(push, Verdict.UNREGISTERED, 410, 1, push.apns_id, reason="Unregistered", timestamp=1e9)


class Sender:
    """Takes what is pending, writes it into the log, and answers it."""

    def __init__(self, journal: Journal, log: int, rows: int, seed: int) -> None:
        self.journal, self.log, self.rows, self.seed = journal, log, rows, seed
        self.random = random.Random(seed)
        self.flying = 0
        self.room = asyncio.Event()

    def source(self) -> Iterator[Push]:
        """All rows of the campaign; bad ones go to the journal in their turn."""
        prefix = self.journal.id_prefix
        for row in range(1, self.rows + 1):
            if row % BAD == 0:
                self.journal.note(row, "no token", "", "the row is odd")
                continue
            push = Push(token_of(row), b"{}", apns_id=f"{prefix}{row:012x}")
            push.row = row
            yield push

    def answer(self, pushes: list[Push]) -> None:
        """These were answered."""
        for push in pushes:
            self.journal.record(outcome_of(push))
        self.flying -= len(pushes)
        self.room.set()

    async def run(self) -> None:
        """Send the campaign."""
        loop, pending = asyncio.get_running_loop(), self.journal.pending(self.source())
        while True:
            while self.flying > WINDOW - BURST:
                self.room.clear()
                await self.room.wait()
            await self.journal.room(BURST)
            burst = list(islice(pending, BURST))
            if not burst:
                break
            os.write(self.log, b"".join(b"%07d %03d\n" % (push.row, self.seed) for push in burst))
            self.flying += len(burst)
            self.random.shuffle(burst)
            for at in range(0, len(burst), 20):
                loop.call_later(self.random.uniform(0.002, 0.012), self.answer, burst[at : at + 20])
        while self.flying:
            self.room.clear()
            await self.room.wait()
        self.journal.finish()


def main(path: Path, log_path: Path, policy: str, rows: int, seed: int) -> None:
    """One run, the first one or a later one."""
    if path.exists():
        journal = Journal.open(path, Source("rows"), unknown="resend" if policy == "resend" else "report")
    else:
        journal = Journal.create(path, Source("rows"), chunk_size=CHUNK, campaign_id=CAMPAIGN)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with journal:
        asyncio.run(Sender(journal, log, rows, seed).run())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
