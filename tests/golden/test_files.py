"""Files that an earlier version wrote are read as that version read them. `make.py` wrote them, once."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from fakeservers import FakeApns, FakeFcm
from pushcore import Journal
from pushcore.journal.journal import Source, id_prefix
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import Chunk
from pushcore.queue.ledger import Ledger
from pushcore.queue.outcomes import ChunkResult
from tests.golden import make
from tests.golden.command_line import CommandLine
from tests.golden.compare import ROOT, golden_names, same_as_golden
from tests.golden.test_cli import of_apns, of_fcm

pytestmark = pytest.mark.slow  # many start a Python of their own

FILES: Final = ROOT / "files"
JOURNALS: Final = ("finished.db", "cut-short.db", "two.db")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with copies of all files, unpacked: SQLite writes even where it only reads."""
    for path in FILES.iterdir():
        if path.suffix == ".gz":
            (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        elif path.suffix != ".txt":
            shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


# --- journals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["finished.db", "cut-short.db", "two.db", "two.db.1"])
def test_a_journal_by_the_library(files: Path, name: str) -> None:
    with Journal.read(files / name) as view:
        status = view.status()
        lines = [f"campaign {view.campaign_id}, options {dict(view.options)}, running {view.running}"]
        lines += [f"{field}: {getattr(status, field)!r}" for field in status.__slots__ if field != "tally"]
        lines += [f"tally {' '.join(kind)}: {count}" for kind, count in sorted(status.tally.items())]
        lines += [str(tuple(map(_plain, outcome))) for outcome in view.results()]
    same_as_golden(f"files/{name}.txt", "\n".join(lines) + "\n")


def _plain(value: object) -> object:
    return getattr(value, "name", value)


class _Notes:
    """Stands in for the journal that the script wrote, and knows the rows that were no push."""

    id_prefix = "b342e446-3cbd-88a9-bac5-"

    def __init__(self) -> None:
        self.rows: set[int] = set()

    def note(self, row: int, token: str, platform: str, reason: str) -> None:
        self.rows.add(row)


def test_a_journal_holds_what_became_of_the_rows(files: Path) -> None:
    """The golden text itself is right: row by row, it is what the script recorded."""
    notes = _Notes()
    wanted = {push.row: make.outcome(push) for push in make.pushes(notes, make.ROWS)}
    with Journal.read(files / "finished.db") as view:
        found = {outcome.row: outcome for outcome in view.results()}
    assert found.keys() == wanted.keys() | notes.rows
    for row, result in wanted.items():
        outcome, reason = found[row], result.reason or result.detail
        assert outcome.token == make.token(row)
        assert (outcome.verdict, outcome.status, outcome.reason) == (result.verdict, result.status, reason)
        assert (outcome.id, outcome.timestamp) == (result.id or None, result.timestamp)
        assert outcome.attempts == result.attempts


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_by_the_commands(files: Path, pushcore: CommandLine, name: str) -> None:
    pushcore.run("status", name)
    pushcore.run("status", name, "--json")
    pushcore.run("results", name)
    pushcore.run("results", name, "--verdict", "UNREGISTERED", "--format", "ndjson")
    same_as_golden(f"files/commands-{name}.txt", pushcore.text)


@pytest.mark.parametrize("policy", ["report", "resend"])
@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_goes_on(
    files: Path, pushcore: CommandLine, apns: FakeApns, fcm: FakeFcm, name: str, policy: str
) -> None:
    shutil.copyfile(apns.key_file, files / "key.p8")
    shutil.copyfile(apns.ca_file, files / "ca.pem")
    shutil.copyfile(fcm.service_account_file, files / "account.json")
    (files / "payload.json").write_text('{"title":"Hi {{name}}"}')
    hidden = [*of_apns(apns), *of_fcm(fcm), "--payload", "payload.json"]
    forks = name.startswith("two")
    if policy == "report":
        pushcore.run("resume", name, "--retry", policy, hidden=hidden, apart=forks)
    pushcore.run("resume", name, "--retry", policy, "--force", hidden=hidden, apart=forks)
    pushcore.show("results.csv")
    pushcore.run("results", name, "--output", "again.csv")
    assert (files / "again.csv").read_text() == (files / "results.csv").read_text()
    pushcore.run("status", name)
    same_as_golden(f"files/resume-{policy}-{name}.txt", pushcore.session)


# --- the queue --------------------------------------------------------------------------------------------------------


def test_a_ledger(files: Path, pushcore: CommandLine) -> None:
    with Ledger.open(files / "autumn.ledger") as ledger:
        status = ledger.status()
        lines = [f"{field}: {getattr(status, field)!r}" for field in status.__slots__ if field != "tally"]
        lines += [f"tally {' '.join(kind)}: {count}" for kind, count in sorted(status.tally.items())]
        lines += [f"info: {ledger.info}", f"known {ledger.known}, complete {ledger.complete}, {ledger.state}"]
        lines += [f"chunk {number} is aside: {reason}" for number, reason in ledger.aside()]
        lines += [line for page in ledger.unfinished() for chunk in page for line in _chunk(chunk)]
        lines += [str(tuple(map(_plain, outcome))) for outcome in ledger.outcomes()]
        lines.append(f"next epoch: {ledger.next_epoch()}")
    pushcore.run("campaign", "results", "--ledger", "autumn.ledger", "--results", "-")
    same_as_golden("files/autumn.ledger.txt", "\n".join([*lines, "", pushcore.text]))


@pytest.mark.parametrize("name", ["chunk-inline", "chunk-partly-done", "chunk-reference"])
def test_a_chunk(name: str) -> None:
    data = (FILES / f"{name}.bin").read_bytes()
    chunk = Chunk.decode(data)
    assert chunk.encode() == data
    same_as_golden(f"files/{name}.txt", "\n".join(_chunk(chunk)) + "\n")


def _chunk(chunk: Chunk) -> Iterator[str]:
    yield f"chunk {chunk.number}: {chunk.rows} rows from {chunk.first} on, missing {chunk.missing()}"
    if chunk.reference is not None:
        yield f"  {chunk.reference}"
    else:
        yield from (f"  {name}: {values}" for name, values in chunk.columns().items())


@pytest.mark.parametrize("name", ["result", "result-of-two-blocks", "result-aside"])
def test_a_result(name: str) -> None:
    data = (FILES / f"{name}.bin").read_bytes()
    result = ChunkResult.decode(data)
    assert result.encode() == data
    lines = [
        f"chunk {result.number} by {result.worker} at {result.at}, nonce {result.nonce}, bad {result.bad}"
    ]
    lines += [f"tally {' '.join(kind)}: {count}" for kind, count in result.tally.items()]
    for part in result.parts:
        lines.append(f"block {part.block}")
        lines += [str(tuple(map(_plain, each))) for each in part.outcomes(id_prefix(make.QUEUED))]
    same_as_golden(f"files/{name}.txt", "\n".join(lines) + "\n")


def test_a_campaigns_description() -> None:
    data = (FILES / "campaign.json").read_bytes()
    info = CampaignInfo.decode(data)
    assert (info, info.encode()) == (make.INFO, data)


# --- what is written today --------------------------------------------------------------------------------------------


def test_new_files_have_the_same_tables(tmp_path: Path) -> None:
    """A file that this version writes must be one for the versions before, or have another number in its header."""
    Journal.create(tmp_path / "journal", Source("rows")).close()
    Ledger.create(tmp_path / "ledger", CampaignInfo("autumn", "fingerprint")).close()
    lines = []
    for name in ("journal", "ledger"):
        with closing(sqlite3.connect(tmp_path / name)) as sql:
            (application,) = sql.execute("pragma application_id").fetchone()
            (version,) = sql.execute("pragma user_version").fetchone()
            lines.append(f"{name}: application {application:#x}, format {version}")
            tables = sql.execute("select sql from sqlite_master where sql is not null order by type, name")
            lines += [f"  {' '.join(statement.split())}" for (statement,) in tables]
    same_as_golden("files/tables.txt", "\n".join(lines) + "\n")


def test_the_script_writes_what_there_is_and_never_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in FILES.iterdir()}
    assert make.main(again=False) == 1
    assert {path.name: path.read_bytes() for path in FILES.iterdir()} == before
    monkeypatch.setattr(make, "FILES", tmp_path / "files")
    assert make.main(again=False) == 0
    made = {path.name for path in (tmp_path / "files").iterdir()}
    assert made == {name for name in before if not name.endswith(".txt")}


def test_every_golden_outcome_is_compared() -> None:
    names = {f"{name}.txt" for name in (*JOURNALS, "two.db.1", "autumn.ledger", "tables")}
    names |= {f"commands-{name}.txt" for name in JOURNALS}
    names |= {f"resume-{policy}-{name}.txt" for policy in ("report", "resend") for name in JOURNALS}
    names |= {f"chunk-{name}.txt" for name in ("inline", "partly-done", "reference")}
    names |= {f"result{name}.txt" for name in ("", "-of-two-blocks", "-aside")}
    assert golden_names("files") == names
