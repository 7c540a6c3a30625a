"""One process's run: what becomes of rows, signals and errors, and what the caller is told in the end."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.shards import Shard
from pushcore.cli.report.notices import MeteredNotices
from pushcore.cli.report.results_file import ResultCounter, ResultsFile
from pushcore.cli.run import campaign
from pushcore.cli.run.campaign import ABORTED, ABORTED_JOURNAL, STOPPING, CampaignRun, warn
from pushcore.cli.run.client_options import Clients
from pushcore.cli.run.exit_report import ExitReport
from pushcore.cli.run.journals import RowJournal
from pushcore.cli.run.sending import UNLIMITED, SendingOptions
from pushcore.errors import BreakerOpen, ClosedError, ConfigurationError, ConnectError, JournalError
from pushcore.journal.journal import Journal, Source
from pushcore.results import Result, Verdict

from .scripted import APNS, ScriptedEngine, accepted, audience_of, report_at, rows_of

Engine = type[ScriptedEngine]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A run leaves the signals as it has found them."""
    before = [signal.getsignal(number) for number in campaign.SIGNALS]
    yield
    assert [signal.getsignal(number) for number in campaign.SIGNALS] == before


def journal_at(place: Path, shard: Shard = Shard()) -> RowJournal:  # noqa: B008  # it cannot be changed
    path = place / "c.db"
    return RowJournal.create(
        path, Source("a"), chunk_size=shard.chunk, campaign_id="c", shard=shard.number, shards=shard.parts
    )


def send(place: Path, audience: str, *, shard: Shard = Shard(), **options: Any) -> tuple[ExitReport, Any]:  # noqa: B008
    """Run a campaign; how it ended, and the report."""
    with Audience(audience) as source:
        report = options.pop("report", None) or report_at(place)
        rows = rows_of(source, shard)
        sending = options.pop("sending", SendingOptions())
        options.setdefault("quiet", True)
        return CampaignRun(APNS, source, rows, report, sending, **options).send(), report


def results(place: Path) -> list[tuple[str, str]]:
    with (place / "results.csv").open(newline="") as file:
        return [(row["row"], row["verdict"]) for row in csv.DictReader(file)]


def signalling(at: int, times: int = 1, number: int = signal.SIGTERM) -> Callable[[Any], Result]:
    """Answers, and sends this process a signal when the row is due."""

    def answer(push: Any) -> Result:
        if at <= push.row < at + times:
            os.kill(os.getpid(), number)
        return accepted(push)

    return answer


def yielding_to_the_loop(engine: Engine) -> Any:
    """As the real engine, this one lets the event loop go on now and then."""
    send_many = engine.send_many

    async def turns(self: ScriptedEngine, source: Any, journal: Any = None) -> Any:
        async for result in send_many(self, source, journal):
            yield result
            for _ in range(3):
                await asyncio.sleep(0)

    return turns


# --- to the end -------------------------------------------------------------------------------------------------------


def test_every_row_has_its_result_in_the_file(engine: Engine, tmp_path: Path) -> None:
    ending, report = send(tmp_path, audience_of(tmp_path, 3, '"bad"row', f"{9:064x}"))
    assert results(tmp_path) == [
        *(("1", "ACCEPTED"), ("2", "ACCEPTED"), ("3", "ACCEPTED"), ("4", "INVALID"), ("5", "ACCEPTED")),
    ]
    assert (ending.rows, ending.upto, ending.ended, ending.unserved) == (5, 5, True, 0)
    assert (ending.signalled, ending.trips, ending.problem) == (False, {}, None)
    assert ending.seconds > 0
    assert report.counts.total == 5


def test_the_engine_gets_what_the_options_say(engine: Engine, tmp_path: Path) -> None:
    shared = {"apns": object()}
    sending = SendingOptions(retry="none", rate="5/s", window=7)
    send(tmp_path, audience_of(tmp_path, 1), sending=sending, shared=shared)
    (made,) = engine.made
    assert made.clients == tuple(APNS.values())
    assert (made.options["retry"], made.options["window"], made.options["shared"]) == (None, 7, shared)
    assert made.options["rate"] == sending.limit()
    assert made.closed


def test_a_part_counts_its_own_rows(engine: Engine, tmp_path: Path) -> None:
    ending, _ = send(tmp_path, audience_of(tmp_path, 7), shard=Shard(1, 2, 2))
    assert [row for row, _ in results(tmp_path)] == ["3", "4", "7"]
    assert (ending.rows, ending.upto, ending.ended) == (3, 7, True)


def test_a_pipe_is_read_by_a_thread_and_every_row_is_sent(engine: Engine, tmp_path: Path) -> None:
    sent: list[int] = []

    class Waiting(ScriptedEngine):
        async def send_many(self, source: Any, journal: Any = None) -> Any:
            async for push in source:
                sent.append(push.row)
                yield accepted(push)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "PushEngine", Waiting)
        with Audience(audience_of(tmp_path, 5)) as source:
            source.size = None
            ending = CampaignRun(
                APNS, source, rows_of(source), report_at(tmp_path), SendingOptions(), quiet=True
            ).send()
    assert sent == [1, 2, 3, 4, 5]
    assert (ending.rows, ending.ended) == (5, True)


# --- before the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGHUP, 9)]
)
def test_a_signal_ends_it_with_what_has_been_sent(
    engine: Engine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    times: int,
) -> None:
    """A shell repeats the SIGHUP of its terminal, so that more of these are no order to stop at once."""
    monkeypatch.setattr(engine, "send_many", yielding_to_the_loop(engine))
    monkeypatch.setattr(engine, "answer", staticmethod(signalling(3, times, number)))
    ending, _ = send(tmp_path, audience_of(tmp_path, 100))
    assert ending.signalled
    assert not ending.ended
    assert ending.problem is None
    assert 3 <= len(results(tmp_path)) < 100
    assert capsys.readouterr().err == f"pushcore: {STOPPING}\n"


def test_a_hangup_that_is_ignored_stays_so(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `nohup` has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(engine, "send_many", yielding_to_the_loop(engine))
        monkeypatch.setattr(engine, "answer", staticmethod(signalling(3, 1, signal.SIGHUP)))
        ending, _ = send(tmp_path, audience_of(tmp_path, 9))
        assert (ending.signalled, ending.ended) == (False, True)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_standard_error_that_cannot_be_written_keeps_no_signal_from_being_obeyed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(campaign, "say", broken)
    monkeypatch.setattr(engine, "send_many", yielding_to_the_loop(engine))
    monkeypatch.setattr(engine, "answer", staticmethod(signalling(3)))
    ending, _ = send(tmp_path, audience_of(tmp_path, 100))
    assert (ending.signalled, ending.ended, ending.problem) == (True, False, None)


def test_a_signal_before_the_event_loop_runs_is_not_lost(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "relax_collector", lambda: os.kill(os.getpid(), signal.SIGINT))
    ending, report = send(tmp_path, audience_of(tmp_path, 100))
    assert ending.signalled
    assert report.counts.total == 0


@pytest.mark.parametrize("journal", [False, True])
def test_a_second_signal_ends_the_process_at_once(
    engine: Engine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    journal: bool,
) -> None:
    ends: list[object] = []
    monkeypatch.setattr(os, "_exit", ends.append)
    with Audience(audience_of(tmp_path, 5)) as source:
        mine = CampaignRun(
            APNS,
            source,
            rows_of(source),
            ResultCounter("x"),
            SendingOptions(),
            journal=journal_at(tmp_path) if journal else None,
            on_abort=lambda: ends.append("abort"),
        )
        monkeypatch.setattr(mine, "_end", lambda: ends.append("end"))
        mine._on_signal()
        assert ends == ["end"]
        mine._on_signal()
        assert ends[:3] == ["end", "abort", 1]
        assert (ABORTED_JOURNAL if journal else ABORTED) in capsys.readouterr().err
        mine._close(None)


def test_when_every_push_would_fail_the_reason_is_told(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(push: Any) -> Result:
        if push.row == 3:
            engine.made[0].options["listener"].breaker_opened("apns", "the key is wrong")
            raise BreakerOpen("the key is wrong", "InvalidProviderToken")
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    ending, _ = send(tmp_path, audience_of(tmp_path, 9), journal=journal_at(tmp_path))
    assert ending.trips == {"apns": "the key is wrong"}
    assert (ending.ended, ending.problem) == (False, None)
    with Journal.read(tmp_path / "c.db") as view:
        assert view.status().problem == "every push to APNs would fail: the key is wrong"


# --- what breaks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(28, "No space left on device", "a\x1b.csv"),
            r"the run was cut short (a\x1b.csv: No space left",
        ),
        (OSError(5, "Input/output error"), "the run was cut short (Input/output error)"),
        (JournalError("the disk is full: \x1b"), r"the disk is full: \x1b"),
        (ConfigurationError("the credentials are gone"), "the credentials are gone"),
        (ValueError("odd\n"), r"the run was cut short by an internal failure (ValueError: odd\n)"),
        (
            MemoryError(),
            "the run was cut short: there is too little memory (see `ulimit -v`, or the limit of the container)",
        ),
        (RuntimeError("can't start new thread"), "the run was cut short: no thread can be started: "),
        (ClosedError("the engine was closed"), "internal failure (ClosedError: the engine was closed)"),
    ],
)
def test_an_error_is_told_with_what_has_a_result(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def answer(push: Any) -> Result:
        if push.row == 3:
            raise error
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    ending, _ = send(tmp_path, audience_of(tmp_path, 9))
    assert words in (ending.problem or "")
    assert len(results(tmp_path)) == 2
    assert not ending.ended


def test_bad_input_is_no_ending(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(push: Any) -> Result:
        raise BadInput("it cannot be")

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    with pytest.raises(BadInput, match="it cannot be"):
        send(tmp_path, audience_of(tmp_path, 1))


def test_results_that_cannot_be_written_in_the_end_are_the_problem(engine: Engine, tmp_path: Path) -> None:
    class Full(ResultsFile):
        def close(self) -> None:
            super().close()
            raise OSError(28, "No space left on device")

    report = Full.to_file(str(tmp_path / "results.csv"))
    ending, _ = send(tmp_path, audience_of(tmp_path, 1), report=report)
    assert ending.problem == f"{tmp_path}/results.csv cannot be written (No space left on device)"


# --- with a journal ---------------------------------------------------------------------------------------------------


def test_a_journal_has_every_row_of_its_part_good_and_bad(engine: Engine, tmp_path: Path) -> None:
    shard = Shard(0, 2, 2)
    audience = audience_of(tmp_path, 4, "bad,row", "bad,row", "bad,row", f"{8:064x}")
    ending, report = send(
        tmp_path, audience, shard=shard, journal=journal_at(tmp_path, shard), report=ResultCounter("j")
    )
    assert (ending.rows, ending.problem) == (4, None)
    assert report.counts.total == 4
    with Journal.read(tmp_path / "c.db") as view:
        assert [(each.row, each.verdict.name) for each in view.results()] == [
            *((1, "ACCEPTED"), (2, "ACCEPTED"), (5, "INVALID"), (6, "INVALID")),
        ]
        assert view.status().complete
        assert view.status().problem is None


def test_a_row_that_has_an_outcome_is_not_counted_again(engine: Engine, tmp_path: Path) -> None:
    audience = audience_of(tmp_path, 2, "bad,row")
    send(tmp_path, audience, journal=journal_at(tmp_path), report=ResultCounter("j"))
    again = RowJournal.open(tmp_path / "c.db")
    _, report = send(tmp_path, audience, journal=again, report=ResultCounter("j"))
    assert report.counts.total == 0


def test_a_journal_says_that_a_signal_ended_the_run(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "send_many", yielding_to_the_loop(engine))
    monkeypatch.setattr(engine, "answer", staticmethod(signalling(2)))
    send(tmp_path, audience_of(tmp_path, 50), journal=journal_at(tmp_path), report=ResultCounter("j"))
    with Journal.read(tmp_path / "c.db") as view:
        assert (view.status().problem, view.status().complete) == (
            "it was stopped by a signal or another process",
            False,
        )


def test_many_bad_rows_in_a_row_wait_for_the_journal(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_BAD_ROWS", 4)
    flushes: list[int] = []
    monkeypatch.setattr(RowJournal, "flush", lambda self: flushes.append(1))
    send(
        tmp_path,
        audience_of(tmp_path, 0, *["bad,row"] * 11),
        journal=journal_at(tmp_path),
        report=ResultCounter("j"),
    )
    assert len(flushes) == 2


# --- one of several processes -----------------------------------------------------------------------------------------


class Parent:
    """Hears what its child says, and keeps the way to stop it."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stop: Callable[[], None] | None = None
        self.seen: tuple[int, ...] | None = None

    def say(self, text: str) -> None:
        self.said.append(text)

    def watch(self, stop: Callable[[], None]) -> None:
        self.stop = stop

    async def run(self, seen: Callable[[], Any], listener: object) -> None:
        self.seen = tuple(seen())


def test_a_child_drains_however_often_it_is_told_to(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Parent()

    def answer(push: Any) -> Result:
        assert parent.stop is not None
        if push.row in (2, 3):
            parent.stop()
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    ending, _ = send(tmp_path, audience_of(tmp_path, 9), parent=parent, sending=SendingOptions(rate="none"))
    assert ending.signalled
    assert not ending.ended
    assert capsys.readouterr().err == ""
    assert parent.said == []


def test_lines_of_a_child_process_go_to_its_parent(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Parent()

    def answer(push: Any) -> Result:
        engine.made[0].options["listener"].rate_limited("apns", 30.0)
        return Result(push, Verdict.THROTTLED, 429, 1)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    send(tmp_path, audience_of(tmp_path, 1), parent=parent, quiet=False)
    assert parent.said == ["APNs asked for a pause of 30 s (429), so its pushes wait"]
    assert capsys.readouterr().err == ""


def test_a_child_with_a_metrics_port_counts_for_its_parent_and_listens_nowhere(
    engine: Engine, tmp_path: Path
) -> None:
    send(tmp_path, audience_of(tmp_path, 1), parent=Parent(), sending=SendingOptions(metrics_port=1))
    assert isinstance(engine.made[0].options["listener"], MeteredNotices)


# --- what is said before ----------------------------------------------------------------------------------------------


def test_an_fcm_project_without_a_rate_limit_is_warned_of_unless_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fcm = {"fcm": APNS["apns"]}
    warn(SendingOptions(rate="none"), fcm, quiet=True)
    warn(SendingOptions(rate="none"), APNS, quiet=False)
    warn(SendingOptions(rate="5/s"), fcm, quiet=False)
    assert capsys.readouterr().err == ""
    warn(SendingOptions(rate="none"), fcm, quiet=False)
    assert capsys.readouterr().err == f"pushcore: {UNLIMITED}\n"


@pytest.mark.parametrize("shards", [1, 2])
def test_an_audience_that_changes_meanwhile_is_never_complete(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    audience = audience_of(tmp_path, 9000)

    def answer(push: Any) -> Result:
        if push.row == 1:
            os.truncate(audience, os.stat(audience).st_size - 30)
        return accepted(push)

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    shard = Shard(0, shards, 1000)
    ending, _ = send(
        tmp_path, audience, shard=shard, journal=journal_at(tmp_path, shard), report=ResultCounter("j")
    )
    assert ending.problem == f"the run was cut short ({audience}: it was changed while it was read)"
    assert not ending.ended
    with Journal.read(tmp_path / "c.db") as view:
        status = view.status()
        assert (status.complete, status.rows, status.problem) == (False, None, ending.problem)
        assert all(len(outcome.token) == 64 for outcome in view.results())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("given_up", "signalled"), [(False, False), (True, True)])
def test_a_signal_after_the_last_row_is_none_unless_it_changed_a_result(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    given_up: bool,
    signalled: bool,
) -> None:
    """Pushes that wait for another try are given up by a signal, and are UNSENT without having been due."""

    async def send_many(self: ScriptedEngine, source: Any, journal: Any = None) -> Any:
        pushes = list(source)
        yield Result(pushes[0], Verdict.UNSENT, None, 1)  # as it would have been anyway
        os.kill(os.getpid(), number)
        while not mine._signalled:
            await asyncio.sleep(0)
        for push in pushes[1:]:
            yield Result(push, Verdict.UNSENT, None, 0) if given_up else accepted(push)

    monkeypatch.setattr(engine, "send_many", send_many)
    with Audience(audience_of(tmp_path, 5, '"bad"row')) as source:
        mine = CampaignRun(APNS, source, rows_of(source), report_at(tmp_path), SendingOptions(), quiet=True)
        ending = mine.send()
    assert (ending.ended, ending.signalled) == (True, signalled)
    assert len(results(tmp_path)) == 6


def test_how_many_rows_there_are_is_in_the_journal_as_soon_as_the_last_was_read(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []

    async def send_many(self: ScriptedEngine, source: Any, journal: Any = None) -> Any:
        pushes = list(journal.pending(source))
        journal.flush()
        with Journal.read(tmp_path / "c.db") as view:
            seen.append(view.status().rows)
        for push in pushes:
            journal.record(accepted(push))
            yield accepted(push)

    monkeypatch.setattr(engine, "send_many", send_many)
    journal = journal_at(tmp_path)
    send(tmp_path, audience_of(tmp_path, 5, '"bad"row'), journal=journal, report=ResultCounter("j"))
    assert seen == [6]


# --- a start at a time ------------------------------------------------------------------------------------------------


def test_a_run_that_starts_at_a_time_opens_its_connections_before_and_measures_from_then_on(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    async def open_connections(clients: Any) -> None:
        opened.append(clients)

    monkeypatch.setattr(campaign, "open_connections", open_connections)
    start = datetime.now(UTC) - timedelta(seconds=10)
    ending, _ = send(tmp_path, audience_of(tmp_path, 3), sending=SendingOptions(start_at=start), quiet=False)
    assert (ending.rows, ending.ended) == (3, True)
    assert 10 <= ending.first_result <= ending.last_result < 60
    assert opened == [APNS]
    assert f"everything is ready; waiting until {start.isoformat()}" in capsys.readouterr().err


def test_a_signal_ends_the_waiting_for_the_start(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(CampaignRun):
        async def _wait_until(self, before: float) -> None:
            if before == campaign.OPEN_BEFORE:  # the first of two times
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            await super()._wait_until(before)

    monkeypatch.setattr("tests.unit.cli.run.test_campaign.CampaignRun", Interrupted)
    start = datetime.now(UTC) + timedelta(days=1)
    ending, _ = send(tmp_path, audience_of(tmp_path, 3), sending=SendingOptions(start_at=start))
    assert (ending.signalled, ending.ended, ending.rows, ending.first_result) == (True, False, 0, 0.0)


class Transports:
    """In place of a client: how many of its connections are to be open, and why they cannot be."""

    def __init__(self, error: Exception | None = None) -> None:
        self.max_connections = 3
        self.opened: list[int] = []
        self._error = error
        self._dispatcher = SimpleNamespace(pool=self)

    async def open_ahead(self, count: int) -> None:
        self.opened.append(count)
        if self._error is not None:
            raise self._error


async def test_connections_that_cannot_be_opened_ahead_are_the_pushes_matter() -> None:
    one, two = Transports(ConnectError("nobody listens")), Transports()
    await campaign.open_connections(Clients({"apns": cast(Any, one), "fcm": cast(Any, two)}))
    assert (one.opened, two.opened) == ([3], [3])


# --- where systems differ ---------------------------------------------------------------------------------------------


def test_a_loop_that_takes_no_signals_leaves_ctrl_c_as_it_is(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As asyncio's is on Windows."""

    def refuse(self: object, *_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    monkeypatch.setattr(campaign, "loop_factory", lambda: asyncio.SelectorEventLoop)
    ending, _ = send(tmp_path, audience_of(tmp_path, 3))
    assert (ending.rows, ending.ended) == (3, True)


def test_without_uvloop_asyncios_own_loop_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert campaign.loop_factory() is asyncio.new_event_loop
    monkeypatch.undo()
    assert campaign.loop_factory().__module__ == "uvloop"


def test_an_engine_that_nobody_here_closed_is_an_error(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(push: Any) -> Result:
        raise ClosedError("the engine was closed")

    monkeypatch.setattr(engine, "answer", staticmethod(answer))
    ending, _ = send(tmp_path, audience_of(tmp_path, 3))
    assert not ending.ended
    assert "the engine was closed" in str(ending.problem)
