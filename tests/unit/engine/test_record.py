"""Where results go: the journal before the listeners, the listeners before the caller, each once."""

from __future__ import annotations

import pytest

from pushcore.engine.record import Record
from pushcore.errors import ClosedError, JournalError
from pushcore.metrics import Listener
from pushcore.results import Result, Verdict
from tests.support.scripted import EventLog, ScriptedJournal, ScriptedPush, rules


def result(row: int, verdict: Verdict = Verdict.ACCEPTED) -> Result:
    return Result(ScriptedPush(row), verdict)


class Sheet:
    """A record, what came out of it, and the errors that it stopped its run with."""

    def __init__(self, journal: ScriptedJournal | None = None, listener: Listener | None = None) -> None:
        self.ready: list[Result] = []
        self.stops: list[BaseException] = []
        self.record = Record("apns", self.ready, rules(listener=listener), journal, self.stops.append)

    def rows(self) -> list[int]:
        return [outcome.push.row for outcome in self.ready]


def test_the_caller_has_a_result_at_once_if_there_is_no_listener() -> None:
    sheet = Sheet()
    assert sheet.record.results is sheet.ready
    sheet.record.emit(result(1))
    assert sheet.rows() == [1]
    sheet.record.flush()
    assert sheet.rows() == [1]
    assert not sheet.record.journaled


def test_the_journal_has_a_batch_before_the_listeners_and_these_before_the_caller() -> None:
    journal, log = ScriptedJournal(), EventLog()
    log.events = journal.log
    sheet = Sheet(journal, log)
    assert sheet.record.journaled
    sheet.record.emit(result(1))
    sheet.record.results.append(result(2))
    assert (sheet.rows(), journal.log) == ([], [])
    sheet.record.flush()
    assert journal.log == [("record", [1, 2]), ("results", "apns", [1, 2])]
    assert sheet.rows() == [1, 2]
    sheet.record.flush()
    assert len(journal.log) == 2


def test_listeners_without_a_journal_have_each_batch_before_the_caller() -> None:
    log = EventLog()
    sheet = Sheet(listener=log)
    sheet.record.emit(result(1))
    assert sheet.rows() == []
    sheet.record.flush()
    assert (log.events, sheet.rows()) == ([("results", "apns", [1])], [1])


def test_a_journal_that_cannot_be_written_stops_the_run_and_the_results_are_delivered() -> None:
    journal = ScriptedJournal()
    journal.error = JournalError("the disk is full")
    sheet = Sheet(journal)
    sheet.record.emit(result(1))
    sheet.record.flush()
    assert (sheet.stops, sheet.rows()) == ([journal.error], [1])


async def test_a_temporary_result_is_delivered_and_put_back_but_not_recorded() -> None:
    journal, log = ScriptedJournal(), EventLog()
    sheet = Sheet(journal, log)
    rejected = result(3, Verdict.THROTTLED)
    sheet.record.put_back(rejected.push, 2)
    sheet.record.deliver([rejected])
    sheet.record.flush()
    assert (log.events, sheet.rows()) == ([("results", "apns", [3])], [3])
    assert journal.log == [("put back", 3, 2)]
    sheet.record.take_back(rejected.push, 2)
    await sheet.record.committed()
    assert journal.log == [("put back", 3, 2), ("take back", 3, 2), ("committed",)]


async def test_without_a_journal_there_is_nothing_to_put_back_and_nothing_to_wait_for() -> None:
    sheet = Sheet()
    sheet.record.put_back(ScriptedPush(1), 1)
    sheet.record.take_back(ScriptedPush(1), 1)
    await sheet.record.committed()
    assert sheet.ready == []


async def test_an_error_of_a_commit_reaches_the_caller() -> None:
    journal = ScriptedJournal()
    journal.error = JournalError("the disk is full")
    with pytest.raises(JournalError):
        await Sheet(journal).record.committed()


def test_a_journal_that_the_caller_closed_stops_the_run_and_the_caller_has_its_results() -> None:
    """The pool calls this: what it raised would end a connection."""
    journal = ScriptedJournal()
    journal.error = ClosedError("the journal is closed")
    sheet = Sheet(journal)
    sheet.record.emit(result(1))
    sheet.record.flush()
    assert (sheet.rows(), sheet.stops) == ([1], [journal.error])
