"""The journal: what is given out, what is written, and how it is used."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.errors import ClosedError, ConfigurationError, JournalError
from pushcore.journal.format import BLOCK
from pushcore.journal.journal import Journal, JournalView, Outcome, Source
from pushcore.models.fcm import Message
from pushcore.results import Accepted, Result, Verdict

from .support import CAMPAIGN, SOURCE, Push, accepted, create, killed, pushes, rows

# --- one run ----------------------------------------------------------------------------------------------------------


def test_answers_in_any_order_come_out_in_the_order_of_rows(tmp_path: Path) -> None:
    count, rng = BLOCK + 3000, random.Random(4)
    flying: list[Push] = []
    with create(tmp_path / "j.db", chunk_size=250) as journal:

        def answer(push: Push) -> None:
            if push.row % 50:
                journal.record(accepted(push))
            else:
                gone = Result(
                    push, Verdict.UNREGISTERED, 410, 2, push.apns_id, reason="Unregistered", timestamp=9.5
                )
                journal.record(gone)

        for push in journal.pending(pushes(count)):
            flying.append(push)
            if len(flying) > 2000:
                answer(flying.pop(rng.randrange(len(flying))))
        rng.shuffle(flying)
        for push in flying:
            answer(push)
        journal.finish()
    with JournalView(tmp_path / "j.db") as view:
        found = list(view.results())
        assert [each.row for each in found] == list(range(1, count + 1))
        for each in found:
            push = Push(each.row)
            expected = Outcome(
                each.row, push.token, "apns", Verdict.ACCEPTED, 200, None, str(push.apns_id), None, 1
            )
            if each.row % 50 == 0:
                expected = expected._replace(
                    verdict=Verdict.UNREGISTERED, status=410, reason="Unregistered", timestamp=9.5, attempts=2
                )
            assert each == expected
        assert rows(view, Verdict.UNREGISTERED) == list(range(50, count + 1, 50))
        status = view.status()
    assert status.complete
    assert (status.rows, status.started, status.done, status.cut_short, status.repeats) == (
        count,
        count,
        count,
        0,
        0,
    )
    assert status.verdicts == Counter(ACCEPTED=count - count // 50, UNREGISTERED=count // 50)
    assert status.tally["apns", "UNREGISTERED", "Unregistered"] == count // 50


def test_a_row_is_given_out_only_when_the_file_says_that_it_may_be_sent(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal, JournalView(tmp_path / "j.db") as view:
        flying: list[Push] = []
        for push in journal.pending(pushes(200)):
            # No row is ever ahead of what another process reads, and that is never more than a chunk ahead of it.
            assert push.row <= view.status().started <= push.row + 10
            flying.append(push)
            if len(flying) == 5:
                journal.record(accepted(flying.pop(2)))


def test_a_closed_journal_is_one_file_and_can_be_read_where_nothing_can_be_written(tmp_path: Path) -> None:
    directory = tmp_path / "there"
    directory.mkdir()
    with create(directory / "j.db") as journal:
        for push in journal.pending(pushes(20)):
            journal.record(accepted(push))
    assert os.listdir(directory) == ["j.db"]
    directory.chmod(0o500)
    try:
        with JournalView(directory / "j.db") as view:
            assert rows(view) == list(range(1, 21))
    finally:
        directory.chmod(0o700)
    assert os.listdir(directory) == ["j.db"]


def test_a_view_that_is_no_longer_used_closes_its_file(tmp_path: Path) -> None:
    """From 3.13 on Python warns of a connection that is not closed; so `Journal.read(path).status()` closes its own."""
    with create(tmp_path / "j.db"):
        pass
    view = Journal.read(tmp_path / "j.db")
    view.itself = view  # type: ignore[attr-defined]  # a cycle, which any thread may collect
    file = view._store._file.sql
    file.execute("select 1")
    del view
    collector = threading.Thread(target=gc.collect)
    collector.start()
    collector.join()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        file.execute("select 1")


def test_looking_on_while_it_runs(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal, Journal.read(tmp_path / "j.db") as view:
        assert view.campaign_id == CAMPAIGN
        taken = list(journal.pending(pushes(30)))
        for push in taken[:20]:
            journal.record(accepted(push))
        journal.flush()
        assert rows(view) == rows(journal) == list(range(1, 21))
        status = view.status()
        assert (status.done, status.rows, status.ended) == (20, None, None)
        assert 30 <= status.started <= 40
        assert not status.complete
        results = view.results()
        assert next(results).row == 1
        for push in taken[20:]:
            journal.record(accepted(push))
        journal.finish()
        journal.flush()
        assert view.status().complete
        assert view.status() == journal.status()


def test_rows_that_are_no_pushes(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        for row in range(1, 26):  # none of which waits for a lease
            assert journal.note(row, "odd \udcff", "", "the row is odd")
        assert journal.note(26, "t", "fcm", "closed", Verdict.UNSENT)
        assert [push.row for push in journal.pending(pushes(28, first=27))] == [27, 28]
        with pytest.raises(JournalError, match="row 28 came after row 28"):
            journal.note(28, "t", "", "again")
    with JournalView(tmp_path / "j.db") as view:
        found = list(view.results())
    assert found[0] == Outcome(1, "odd \udcff", "", Verdict.INVALID, None, "the row is odd", None, None, 0)
    assert found[25] == Outcome(26, "t", "fcm", Verdict.UNSENT, None, "closed", None, None, 0)
    with Journal.open(tmp_path / "j.db") as journal:
        assert not journal.note(26, "t", "fcm", "closed", Verdict.UNSENT)


class NumberedMessage(Message):
    """A message that knows its row."""

    __slots__ = ("row",)

    row: int


class Rowless:
    """A push of a campaign that forgot its row."""


@pytest.mark.parametrize("row", [None, "1", 0, -1, float("nan"), 1 << 48, 10**400, Rowless])
def test_a_push_whose_row_is_no_number_is_named(tmp_path: Path, row: Any) -> None:
    push: Any = Rowless()
    if row is not Rowless:
        push.row = row

    async def wait(journal: Journal) -> None:
        async for _ in journal.pending_async([push]):
            pytest.fail("it was given out")

    words = "needs an attribute row, a whole number from 1 on; that of this Rowless is"
    with create(tmp_path / "j.db") as journal:
        with pytest.raises(JournalError, match=words):
            next(journal.pending([push]))
        with pytest.raises(JournalError, match=words):
            asyncio.run(wait(journal))
        assert next(journal.pending(pushes(1))).row == 1


def test_an_error_of_the_source_stays_its_own(tmp_path: Path) -> None:
    def broken() -> Iterator[Push]:
        yield from pushes(1)
        raise AttributeError("of the source")

    with create(tmp_path / "j.db") as journal, pytest.raises(AttributeError, match="of the source"):
        list(journal.pending(broken()))


def test_accepted_messages_are_kept_with_their_device_and_name(tmp_path: Path) -> None:
    """As the client makes nearly all results: the first of a class is looked at, those after it are recognised."""
    pushes = [
        NumberedMessage(token="a:b"),
        NumberedMessage(token="c:d"),
        NumberedMessage(fid="cFid"),
        NumberedMessage(topic="news"),
    ]
    for row, message in enumerate(pushes, 1):
        message.row = row
    with create(tmp_path / "journal") as journal:
        for push in journal.pending(pushes):
            result: Accepted[NumberedMessage] = Accepted()
            result.push, result.attempts, result._id = push, 1 + (push.row == 4), f"name {push.row}"
            result._find = None
            journal.record(result)
    with Journal.read(tmp_path / "journal") as view:
        outcomes = list(view.results())
    assert [
        (kept.row, kept.token, kept.platform, kept.status, kept.id, kept.attempts) for kept in outcomes
    ] == [
        (1, "a:b", "fcm", 200, "name 1", 1),
        (2, "c:d", "fcm", 200, "name 2", 1),
        (3, "cFid", "fcm", 200, "name 3", 1),
        (4, "news", "fcm", 200, "name 4", 2),
    ]


def test_results_reach_the_disk_by_themselves(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        journal.record(accepted(next(journal.pending(pushes(1)))))
        deadline = time.monotonic() + 10
        while journal.status().done == 0:
            assert time.monotonic() < deadline
            time.sleep(0.005)


# --- sources and campaigns --------------------------------------------------------------------------------------------


def test_a_changed_source_is_refused_unless_forced(tmp_path: Path) -> None:
    audience = tmp_path / "devices.csv"
    audience.write_bytes(b"token\n" + b"ab" * 100_000)
    source = Source.of_file(audience)
    Journal.create(tmp_path / "j.db", source).close()
    Journal.open(tmp_path / "j.db", Source.of_file(audience)).close()
    with audience.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"c")
    os.utime(audience, ns=(0, source.mtime or 0))  # only the end of it tells
    changed = Source.of_file(audience)
    assert (changed.size, changed.mtime) == (source.size, source.mtime)
    with pytest.raises(JournalError, match="has changed since"):
        Journal.open(tmp_path / "j.db", changed)
    Journal.open(tmp_path / "j.db", changed, force=True).close()
    Journal.open(tmp_path / "j.db", changed).close()  # which is the campaign's source from then on
    assert Journal.read(tmp_path / "j.db").campaign.source == changed
    assert Journal.read(tmp_path / "j.db").status().runs == 4


def test_a_journal_keeps_the_options_of_its_campaign(tmp_path: Path) -> None:
    clock = iter(range(1000, 2000))
    options = {"topic": "com.example.app", "retry": {"unknown": "resend"}}
    with Journal.create(
        tmp_path / "j.db", SOURCE, rows=7, options=options, clock=lambda: float(next(clock))
    ) as journal:
        name = journal.campaign_id
        assert journal.options == options
    with JournalView(tmp_path / "j.db") as view:
        assert (view.campaign_id, view.options, view.campaign.source) == (name, options, SOURCE)
        status = view.status()
    assert (status.rows, status.began, status.cut_short) == (7, 1000.0, 0)
    assert status.ended is not None
    assert status.ended == status.updated > 1000
    with pytest.raises(JournalError, match=f"is of the campaign {name}, not other"):
        Journal.open(tmp_path / "j.db", campaign_id="other")


@pytest.mark.parametrize(
    "options",
    [{"chunk_size": 0}, {"chunk_size": 10_001}, {"campaign_id": ""}, {"campaign_id": "é" * 33}, {"shard": 1}],
)
def test_wrong_options_create_no_journal(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        Journal.create(tmp_path / "j.db", SOURCE, **options)  # type: ignore[arg-type]  # options of the test's own
    assert os.listdir(tmp_path) == []


# --- misuse -----------------------------------------------------------------------------------------------------------


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        for order in ([5, 6, 6], [7, 3]):
            with pytest.raises(JournalError, match=f"row {order[-1]} came after row"):
                list(journal.pending(map(Push, order)))


def test_a_row_that_is_recorded_twice_keeps_its_first_outcome(tmp_path: Path) -> None:
    journal = create(tmp_path / "j.db")
    for push in journal.pending(pushes(4)):
        journal.record(accepted(push))
    journal.record(Result(Push(2), Verdict.INVALID, 400, 1))  # with the first one, or later
    with pytest.raises(JournalError, match="row 2 was recorded twice; its first outcome is kept"):
        journal.flush()
    with pytest.raises(JournalError, match="row 2 was recorded twice"):
        journal.record(accepted(Push(3)))
    with pytest.raises(JournalError, match="row 3 was recorded twice"):
        journal.close()
    with JournalView(tmp_path / "j.db") as view:
        assert [(each.row, each.verdict) for each in view.results()] == [
            (row, Verdict.ACCEPTED) for row in range(1, 5)
        ]


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = create(tmp_path / "j.db")
    source = journal.pending(pushes(3))
    push = next(source)
    journal.close()
    journal.close()
    with pytest.raises(ClosedError):
        journal.record(accepted(push))
    with pytest.raises(ClosedError):
        journal.flush()
    with pytest.raises(ClosedError):
        list(journal.pending(pushes(200, first=100)))


def test_an_error_of_the_sender_is_not_hidden_by_one_of_the_journal(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), create(tmp_path / "j.db") as journal:  # noqa: PT012  # what fails is inside
        for push in journal.pending(pushes(2)):
            journal.record(accepted(push))
            journal.record(accepted(push))
        raise ZeroDivisionError


def test_a_push_without_a_row_is_the_senders_error(tmp_path: Path) -> None:
    with create(tmp_path / "j.db") as journal:
        push = next(journal.pending(pushes(1)))
        del push.row
        with pytest.raises(AttributeError):
            journal.record(accepted(push))
        journal.record(accepted(Push(1)))
        journal.flush()
        assert journal.status().done == 1


# --- in an event loop -------------------------------------------------------------------------------------------------


async def test_an_event_loop_goes_on_while_rows_are_awaited(tmp_path: Path) -> None:
    async def slowly() -> AsyncIterator[Push]:
        for push in pushes(60):
            await asyncio.sleep(0)
            yield push

    with create(tmp_path / "j.db") as journal:
        assert [push.row async for push in journal.pending_async(pushes(60))] == list(range(1, 61))
        journal.flush()
        path = killed(journal, tmp_path / "killed.db")
    with Journal.open(path, unknown="resend") as journal:
        taken = []
        async for push in journal.pending_async(slowly()):
            taken.append(push.row)
            journal.record(accepted(push))
        await journal.committed()
        assert taken == list(range(1, 61))
        assert journal.status().done == 60


@pytest.mark.uvloop
async def test_room_for_a_burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with create(tmp_path / "j.db") as journal:
        source = journal.pending(pushes(100))
        taken = []
        for _ in range(10):
            await journal.room(10)
            with monkeypatch.context() as patched:
                patched.setattr(type(journal._writer), "wait", None)  # nobody blocks
                taken += [next(source).row for _ in range(10)]
            for row in taken[-10:]:
                journal.record(accepted(Push(row)))
        assert taken == list(range(1, 101))
        assert next(source, None) is None
        await journal.room(10)  # at the end of the source it waits for nothing


async def test_an_error_reaches_who_waits_in_an_event_loop(tmp_path: Path) -> None:
    journal = create(tmp_path / "j.db")
    source = journal.pending(pushes(30))
    await journal.room(5)
    push = next(source)
    journal.record(accepted(push))
    journal.record(accepted(push))
    with pytest.raises(JournalError, match="recorded twice"):
        await journal.committed()
    with pytest.raises(JournalError, match="recorded twice"):
        await journal.room(10)
    with pytest.raises(JournalError, match="recorded twice"):
        journal.close()


@pytest.mark.parametrize("waits", [True, False])
async def test_rows_of_other_shards_and_rows_with_outcomes_are_passed_over_in_an_event_loop(
    tmp_path: Path, waits: bool
) -> None:
    path = tmp_path / "j.db"
    with Journal.create(path, SOURCE, chunk_size=2, campaign_id=CAMPAIGN, shard=0, shards=2) as journal:
        (push,) = journal.pending(pushes(1))
        journal.record(accepted(push))

    async def source() -> AsyncIterator[Push]:
        for push in pushes(6):
            yield push

    with Journal.open(path) as journal:
        rows = [push.row async for push in journal.pending_async(source() if waits else pushes(6))]
    assert rows == [2, 5, 6]
