"""Versions side by side: what the version before has written goes on here, and what is written here it can read."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zlib
from functools import partial
from pathlib import Path

import pytest

from pushcore import Coordinator, Journal, Ledger, Notification, Result, Verdict
from pushcore.apns.dispatcher import _find
from pushcore.engine.environments import known_here
from pushcore.errors import JournalError
from pushcore.journal import format as journal_format
from pushcore.journal.journal import id_prefix
from pushcore.queue import ledger_file
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.chunk import Chunk
from pushcore.queue.outcomes import ChunkResult
from pushcore.queue.protocol import Lease

FILES = Path(__file__).parent / "files"
BEFORE = {"journal": 3, "ledger": 1}
"""The formats of 0.1.0. Where one changes, the golden files of that version stay, and are read or refused."""


class Row(Notification):
    __slots__ = ("row",)

    row: int


def unpacked(name: str, place: Path) -> Path:
    path = place / name
    path.write_bytes(gzip.decompress((FILES / f"{name}.gz").read_bytes()))
    return path


def accepted(row: int, *, elsewhere: bool) -> Result:
    """Accepted by the environment that it was sent to, or found in the other one, which 0.1.0 did not know of."""
    push = Row(f"{row:064x}", b"{}")
    push.row = row
    result = Result(push, Verdict.ACCEPTED, 200, 1, b"", partial(_find, environment="sandbox"))
    return known_here(result) if elsewhere else result


async def test_a_ledger_of_the_version_before_is_finished_by_workers_of_both(tmp_path: Path) -> None:
    with Ledger.open(unpacked("autumn.ledger", tmp_path)) as ledger:
        queue = MemoryQueue(ledger.info.name)
        coordinator = Coordinator(queue, ledger)
        await coordinator.resume()
        ledger.take_back(number for number, _ in ledger.aside())
        assert await coordinator.reconcile()
        # A worker of the version before leaves no sign, and that keeps nobody waiting.
        assert await coordinator.obeyed(0.0) == ([], [])
        prefix = id_prefix(ledger.info.name)
        found: dict[int, bool] = {}

        async def finish(lease: Lease, newer: bool) -> None:
            chunk = Chunk.decode(lease.data)
            rows = {row: newer and row % 2 == 0 for row in chunk.missing()}
            found.update(rows)
            results = [accepted(row, elsewhere=value) for row, value in rows.items()]
            data = ChunkResult.of(chunk.number, lease.nonce, "worker", results, prefix).encode()
            assert readable_before(data)
            await queue.done(lease, data)

        for place, lease in enumerate(await queue.lease(100, 0.0)):
            await finish(lease, bool(place % 2))
        status = await coordinator.run()
        assert status.over
        outcomes = {outcome.row: outcome for outcome in ledger.outcomes()}
        assert outcomes.keys() == set(range(1, status.rows + 1))
        assert found
        for row, elsewhere in found.items():
            assert outcomes[row].environment == ("sandbox" if elsewhere else None)


def readable_before(data: bytes) -> bool:
    """Whether 0.1.0 can read a result: by what its reader took for granted of header and kinds."""
    size = int.from_bytes(data[4:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    assert header.keys() <= {"n", "x", "w", "t", "p", "c", "d", "bad"}
    for _, bits, blob in header["p"]:
        part, body = body[bits : bits + blob], body[bits + blob :]
        length = int.from_bytes(part[4:8], "little")
        z = part[8 : 8 + (length & 0x7FFF_FFFF)]
        line = json.loads((zlib.decompress(z) if length & 0x8000_0000 else z).split(b"\n", 1)[0])
        assert len(line) == 8
        assert all(len(kind) == 5 for kind in line[1])
    return True


def test_the_formats_are_those_of_the_version_before() -> None:
    assert {"journal": journal_format.VERSION, "ledger": ledger_file.LEDGER.version} == BEFORE


@pytest.mark.parametrize("name", ["finished.db", "autumn.ledger"])
def test_a_file_of_a_version_that_is_not_known_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = unpacked(name, tmp_path)
    sql = sqlite3.connect(path)
    sql.execute("pragma user_version = 9")
    sql.close()
    content = path.read_bytes()
    with pytest.raises(JournalError, match="another version of pushcore") as caught:
        (Ledger.open if name.endswith("ledger") else Journal.read)(path)
    assert "9" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
