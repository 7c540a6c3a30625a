"""The engine with a journal: each push has one outcome on the disk, whatever cuts a run short."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore import (
    BreakerOpen,
    Journal,
    JournalError,
    Notification,
    PushEngine,
    Result,
    RetryPolicy,
    Verdict,
)
from pushcore.journal.journal import Source
from tests.e2e.engine.test_campaign_rules import BODY, Provider, apns
from tests.support.virtual import Answer, connect_to, run

SOURCE = Source("memory", 0, 0, "00")


class Row(Notification):
    """A push that knows its row."""

    def __init__(self, row: int) -> None:
        super().__init__(f"{row:064x}", BODY, apns_id=f"00000000-0000-4000-8000-{row:012x}")
        self.row = row


def rows(count: int) -> Iterator[Row]:
    return (Row(row) for row in range(1, count + 1))


async def send(journal: Journal, source: Any, most: int | None = None, **options: Any) -> list[Result]:
    """Send with the journal; leave after `most` results."""
    collected: list[Result] = []
    async with (
        PushEngine(apns(), **options) as engine,
        contextlib.aclosing(engine.send_many(source, journal=journal)) as results,
    ):
        async for result in results:
            collected.append(result)
            if most is not None and len(collected) >= most:
                break
    return collected


def test_every_outcome_is_on_the_disk_with_its_attempts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = Provider(
        {(429, "TooManyRequests"): 0.02, (503, "ServiceUnavailable"): 0.01, (410, "Unregistered"): 0.01}
    )
    connect_to(monkeypatch, provider)
    with Journal.create(tmp_path / "c.db", SOURCE) as journal:
        results = run(send(journal, rows(5000)))
        journal.finish()
    assert len(results) == 5000
    with Journal.read(tmp_path / "c.db") as view:
        outcomes = list(view.results())
        assert view.status().complete
    assert [outcome.row for outcome in outcomes] == list(range(1, 5001))
    for outcome in outcomes:
        assert outcome.attempts == len(provider.times[outcome.token])
        assert outcome.verdict in (Verdict.ACCEPTED, Verdict.UNREGISTERED)


@pytest.mark.parametrize("unknown", ["report", "resend"])
def test_a_run_that_is_left_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unknown: Any
) -> None:
    """What waited for its next try was surely not delivered, and is sent under both policies."""
    provider = Provider({(503, "ServiceUnavailable"): 0.2})
    connect_to(monkeypatch, provider)
    with Journal.create(tmp_path / "c.db", SOURCE) as journal:
        first = run(send(journal, rows(5000), most=1500, window=300))
    refused = {device for device, reasons in provider.said.items() if reasons}
    assert len(refused) > 100
    provider.refusals.clear()
    with Journal.open(tmp_path / "c.db", SOURCE, unknown=unknown) as journal:
        second = run(send(journal, rows(5000)))
        journal.finish()
        journal.flush()
        outcomes = {outcome.token: outcome for outcome in journal.results()}
    assert Counter(outcome.verdict for outcome in outcomes.values()) == {Verdict.ACCEPTED: 5000}
    accepted = [result.push.token for result in first if result.ok]
    assert not {result.push.token for result in second} & set(accepted)
    # No device got a push twice: nobody was killed, so nothing was in doubt.
    for device, times in provider.times.items():
        assert len(times) == 1 + len(provider.said[device])
        assert outcomes[device].attempts == len(times)


def test_a_breaker_leaves_a_journal_that_can_be_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    provider = Provider({(403, "InvalidProviderToken"): 1.0})
    connect_to(monkeypatch, provider)
    with Journal.create(tmp_path / "c.db", SOURCE) as journal, pytest.raises(BreakerOpen):
        run(send(journal, rows(20_000)))
    sent = len(provider.all)
    assert sent <= 2000
    provider.refusals.clear()
    with Journal.open(tmp_path / "c.db", SOURCE) as journal:
        run(send(journal, rows(20_000)))
        journal.flush()
        verdicts = Counter(outcome.verdict for outcome in journal.results())
    assert verdicts[Verdict.ACCEPTED] >= 20_000 - sent
    assert sum(verdicts.values()) == 20_000


def test_a_journal_that_cannot_be_written_stops_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connect_to(monkeypatch, Provider({}))
    journal = Journal.create(tmp_path / "c.db", SOURCE)
    record_all, count = journal.record_all, 0

    def failing(results: list[Result]) -> None:
        nonlocal count
        count += len(results)
        if count > 700:
            raise JournalError("the disk is full")
        record_all(results)

    monkeypatch.setattr(journal, "record_all", failing)
    with pytest.raises(JournalError, match="full"):
        run(send(journal, rows(20_000)))
    journal.close()


def test_repeats_are_committed_before_they_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A push that was put back counts as surely not delivered, so the file must know before it is sent again."""
    provider = Provider({(503, "ServiceUnavailable"): 0.5})
    provider.until = 1000.0 + 1.0
    taken_back: list[str] = []
    on_disk: set[str] = set()
    early: list[str] = []

    def respond(fields: dict[str, str], body: bytes) -> Answer:
        device = fields[":path"].rpartition("/")[2]
        if provider.times[device] and device not in on_disk:
            early.append(device)
        return provider(fields, body)

    connect_to(monkeypatch, respond)
    with Journal.create(tmp_path / "c.db", SOURCE) as journal:
        take_back, committed = journal.take_back, journal.committed

        def note(push: Any, attempts: int) -> None:
            taken_back.append(push.token)
            take_back(push, attempts)

        async def commit() -> None:
            before = set(taken_back)
            await committed()
            on_disk.update(before)

        monkeypatch.setattr(journal, "take_back", note)
        monkeypatch.setattr(journal, "committed", commit)
        results = run(send(journal, rows(300), retry=RetryPolicy(apns_unavailable_wait=30.0)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 300}
    assert not early
    assert set(taken_back) == {device for device, reasons in provider.said.items() if reasons}
