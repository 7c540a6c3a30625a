"""One `send_many` without a network: how far the source is read, who waits for whom, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pushcore.arguments import kind
from pushcore.engine.gate import UNPROVEN
from pushcore.engine.rate import Rate
from pushcore.engine.retry import RetryPolicy
from pushcore.engine.run import BURST, Run
from pushcore.errors import JournalError
from pushcore.results import Verdict
from tests.support import virtual
from tests.support.scripted import (
    STEADY,
    OtherScriptedPush,
    ScriptedClient,
    ScriptedJournal,
    ScriptedPush,
    pushes,
    rules,
)


class Source:
    """So many pushes, and how many of them have been read. `error`: raised after the last."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.read = 0
        self._count = count
        self._error = error

    def __iter__(self) -> Iterator[ScriptedPush]:
        for push in pushes(self._count):
            self.read += 1
            yield push
        if self._error is not None:
            raise self._error


async def turn(times: int = 5) -> None:
    """Let every task that can go on do so."""
    for _ in range(times):
        await asyncio.sleep(0)


def begin(source: Any, *clients: ScriptedClient, window: int = 100, journal: Any = None, **given: Any) -> Run:
    run = Run(clients, window, rules(**given), journal)
    run.begin(source, set())
    return run


def take(run: Run, count: int | None = None) -> list[Any]:
    """What the caller takes, as `send_many` does."""
    taken = run.ready[:count]
    del run.ready[: len(taken)]
    run.outstanding -= len(taken)
    run.wake_feeder()
    return [result.push.row for result in taken]


async def end(run: Run) -> None:
    await run.end()
    assert run.feeder is not None
    assert run.feeder.done()


async def test_every_push_of_the_source_comes_to_its_end() -> None:
    client = ScriptedClient()
    run = begin(pushes(50), client)
    await turn()
    assert client.sent == list(range(1, 51))
    client.answer()
    assert take(run) == client.sent
    assert run.done
    await run.wait_for_results()
    await end(run)
    assert run.error is None


async def test_the_source_is_read_no_further_than_the_window_ahead_of_the_caller() -> None:
    client, source = ScriptedClient(), Source(1000)
    run = begin(source, client, window=20)
    await turn()
    assert source.read == 20
    client.answer(1, 2, 3, 4, 5)
    await turn()
    assert source.read == 20  # the caller has not taken them
    assert take(run, 3) == [1, 2, 3]
    await turn()
    assert source.read == 23
    assert take(run) == [4, 5]
    await turn()
    assert source.read == 25
    client.answer()
    await end(run)


def test_before_the_start_a_whole_window_is_read_and_at_the_start_a_thousand_leave_at_once() -> None:
    async def work() -> None:
        client, source = ScriptedClient(), Source(20_000)
        begun = asyncio.get_running_loop().time()
        run = begin(source, client, window=5000, start=begun + 5.0, breaker=True)
        await asyncio.sleep(4.9)
        assert (source.read, client.sent) == (5000, [])
        await asyncio.sleep(0.1)
        assert client.sent == list(range(1, UNPROVEN + 1))
        client.answer()
        take(run)
        await turn()
        # From now on no more wait for their turn than before there was a start.
        assert len(run.lanes[0].pending) <= 5000 - UNPROVEN
        while not run.done:
            client.answer()
            take(run)
            await turn()
        assert sorted(client.sent) == list(range(1, 20_001))
        await end(run)

    virtual.run(work())


async def test_a_burst_is_bounded_and_half_as_long_with_a_journal() -> None:
    for journal, burst in ((None, BURST), (ScriptedJournal(), BURST // 2)):
        source = Source(2000)
        client = ScriptedClient()
        run = begin(source, client, window=10_000, journal=journal)
        await asyncio.sleep(0)
        assert source.read == burst
        await turn(20)
        assert source.read == 2000
        client.answer()
        await end(run)


async def test_the_source_waits_while_no_connection_takes_anything() -> None:
    client, source = ScriptedClient(), Source(5000)
    client.scripted.connected = False
    run = begin(source, client, window=10_000)
    await turn()
    assert source.read == BURST
    client.scripted.connected = True
    client.scripted.pump()
    client.scripted.notify()
    await turn(30)
    assert source.read == 5000
    client.answer()
    await end(run)


async def test_each_push_goes_to_the_client_of_its_class() -> None:
    apns, fcm = ScriptedClient(ScriptedPush), ScriptedClient(OtherScriptedPush, name="fcm")
    mixed = [OtherScriptedPush(row) if row % 3 == 0 else ScriptedPush(row) for row in range(1, 13)]
    run = begin(mixed, apns, fcm)
    await turn()
    assert apns.sent == [1, 2, 4, 5, 7, 8, 10, 11]
    assert fcm.sent == [3, 6, 9, 12]
    apns.answer()
    fcm.answer()
    assert len(take(run)) == 12
    await end(run)


async def test_of_several_clients_of_a_class_the_first_that_takes_a_push_gets_it() -> None:
    class Special(ScriptedPush):
        """Of no class that a client names."""

    news, chat = ScriptedClient(topics=frozenset({"news"})), ScriptedClient(name="chat")
    source = [
        ScriptedPush(1, topic="chat"),
        ScriptedPush(2, topic="news"),
        Special(3, topic="news"),
        ScriptedPush(4),
    ]
    run = begin(source, news, chat)
    await turn()
    assert (news.sent, chat.sent) == ([2, 3], [1, 4])
    news.answer()
    chat.answer()
    await end(run)


async def test_a_push_for_no_client_goes_to_the_last_one() -> None:
    news, sport = (ScriptedClient(topics=frozenset({name})) for name in ("news", "sport"))
    run = begin([ScriptedPush(1, topic="chat")], news, sport)
    await turn()
    assert (news.sent, sport.sent) == ([], [1])
    sport.answer()
    await end(run)


async def test_an_error_of_the_source_is_kept_until_everything_before_it_has_its_result() -> None:
    client, error = ScriptedClient(), LookupError("the database is gone")
    run = begin(Source(3, error), client)
    await turn()
    assert run.error is error
    assert (client.sent, run.done) == ([1, 2, 3], False)
    client.answer()
    assert take(run) == [1, 2, 3]
    assert run.done
    await end(run)


@pytest.mark.parametrize("foreign", [None, "abc", 7, [], object()], ids=type)
async def test_an_object_that_is_no_push_ends_the_run_and_says_where_it_was(foreign: Any) -> None:
    client = ScriptedClient()
    before = pushes(700)
    for source in ([*before, foreign, *pushes(5)], _asynchronous([*before, foreign])):
        run = begin(source, client, window=2000)
        await turn(30)
        client.answer()
        if isinstance(foreign, list) and not isinstance(
            source, list
        ):  # a list of pushes, of which there are none
            assert run.error is None
        else:
            assert type(run.error) is TypeError
            assert str(run.error) == (
                f"this engine sends ScriptedPush, not {'None' if foreign is None else type(foreign).__name__}; "
                "pushes before it: 700"
            )
        assert len(take(run)) == 700
        await end(run)


async def _asynchronous(source: list[Any]) -> AsyncIterator[Any]:
    for push in source:
        yield push


async def test_rows_that_the_journal_knows_are_passed_over_and_it_is_asked_for_room_first() -> None:
    client, journal = ScriptedClient(), ScriptedJournal(known=[1, 2, 4])
    run = begin(pushes(6), client, window=50, journal=journal)
    await turn(10)
    assert client.sent == [3, 5, 6]
    assert journal.log[0] == ("room", 50)
    client.answer()
    assert take(run) == [3, 5, 6]
    assert run.done
    await end(run)


async def test_a_journal_that_cannot_be_written_ends_the_run_with_its_error() -> None:
    client, journal = ScriptedClient(), ScriptedJournal()
    journal.error = JournalError("the disk is full")
    run = begin(pushes(3), client, journal=journal)
    await turn()
    client.answer(1)
    assert run.error is journal.error
    assert run.stopping
    client.answer()
    assert take(run) == [1, 2, 3]
    await end(run)


# --- asynchronous sources -----------------------------------------------------------------------------------------


async def test_an_asynchronous_source_sends_each_push_as_it_comes() -> None:
    more = asyncio.Event()
    client = ScriptedClient()

    async def source() -> AsyncIterator[ScriptedPush]:
        yield ScriptedPush(1)
        await more.wait()
        yield ScriptedPush(2)

    run = begin(source(), client)
    await turn()
    assert client.sent == [1]
    client.answer()
    assert take(run) == [1]
    assert not run.done
    more.set()
    await turn()
    client.answer()
    assert take(run) == [2]
    assert run.done
    await end(run)


async def test_pushes_from_an_async_source_without_a_pause_are_a_burst() -> None:
    client, sent_before = ScriptedClient(), []

    async def source() -> AsyncIterator[ScriptedPush]:
        for push in pushes(BURST + 10):
            sent_before.append(len(client.sent))
            yield push
        await asyncio.sleep(0)
        for push in pushes(2, first=BURST + 11):
            sent_before.append(len(client.sent))
            yield push

    run = begin(source(), client, window=10_000)
    await turn(10)
    assert sent_before == [0] * BURST + [BURST] * 10 + [BURST + 10] * 2
    assert client.sent == list(range(1, BURST + 13))
    client.answer()
    assert take(run) == client.sent
    assert run.done
    await end(run)


async def test_rows_of_an_asynchronous_source_that_the_journal_knows_are_passed_over() -> None:
    client, journal = ScriptedClient(), ScriptedJournal(known=[2, 5])

    async def source() -> AsyncIterator[Any]:
        yield ScriptedPush(1)
        yield pushes(3, first=2)
        yield ScriptedPush(5)

    run = begin(source(), client, journal=journal)
    await turn(10)
    assert client.sent == [1, 3, 4]
    client.answer()
    await end(run)


async def test_a_list_of_an_asynchronous_source_is_as_many_pushes() -> None:
    client = ScriptedClient()

    async def source() -> AsyncIterator[Any]:
        yield ScriptedPush(1)
        yield pushes(3, first=2)
        yield []
        yield ScriptedPush(5)
        yield [ScriptedPush(6), "no push", ScriptedPush(7)]
        yield ScriptedPush(8)

    run = begin(source(), client)
    await turn(10)
    assert client.sent == [1, 2, 3, 4, 5, 6]
    assert str(run.error) == "this engine sends ScriptedPush, not str; pushes before it: 6"
    client.answer()
    assert take(run) == client.sent
    assert run.done
    await end(run)


async def test_a_list_of_an_asynchronous_source_is_read_no_further_than_the_window() -> None:
    client = ScriptedClient()

    async def source() -> AsyncIterator[list[ScriptedPush]]:
        yield pushes(10)

    run = begin(source(), client, window=4)
    await turn(10)
    assert client.sent == [1, 2, 3, 4]
    client.answer()
    take(run)
    await turn(10)
    assert len(client.sent) == 8
    client.answer()
    await end(run)


@pytest.mark.parametrize(
    ("other", "asynchronous"),
    [(None, False), (None, True), ([ScriptedPush(2)], False), ("no push", False), ("no push", True)],
)
async def test_an_object_that_is_no_push_ends_the_run_after_the_pushes_before_it(
    other: Any, asynchronous: bool
) -> None:
    client = ScriptedClient()

    async def source() -> AsyncIterator[Any]:
        yield ScriptedPush(1)
        yield other
        yield ScriptedPush(3)

    run = begin(source() if asynchronous else [ScriptedPush(1), other, ScriptedPush(3)], client)
    await turn()
    assert client.sent == [1]
    assert str(run.error) == f"this engine sends ScriptedPush, not {kind(other)}; pushes before it: 1"
    client.answer()
    assert take(run) == [1]
    assert run.done
    await end(run)


async def test_pushes_that_were_read_and_not_sent_when_the_run_stops_have_their_results() -> None:
    client = ScriptedClient()

    async def source() -> AsyncIterator[ScriptedPush]:
        asyncio.get_running_loop().call_soon(run.stop, LookupError("before these are sent"))
        yield ScriptedPush(1)
        yield ScriptedPush(2)
        await asyncio.sleep(0)
        yield ScriptedPush(3)

    run = begin(source(), client, rate=Rate(1.0))
    await turn()
    assert [(result.push.row, result.verdict) for result in run.ready] == [(2, Verdict.UNSENT)]
    client.answer()
    await end(run)
    assert take(run) == [2, 1]
    assert isinstance(run.error, LookupError)


async def test_an_error_of_an_asynchronous_source_is_kept_until_those_before_it_are_sent() -> None:
    client = ScriptedClient()

    async def source() -> AsyncIterator[ScriptedPush]:
        yield ScriptedPush(1)
        raise LookupError("the database is gone")

    run = begin(source(), client)
    await turn()
    assert client.sent == [1]
    assert isinstance(run.error, LookupError)
    client.answer()
    await end(run)


async def test_an_asynchronous_source_is_read_no_further_than_the_window() -> None:
    client = ScriptedClient()
    read: list[int] = []

    async def source() -> AsyncIterator[ScriptedPush]:
        for push in pushes(20):
            read.append(push.row)
            yield push

    run = begin(source(), client, window=4)
    await turn(30)
    assert len(read) == 4
    client.answer()
    take(run)
    await turn(30)
    assert len(read) == 8
    client.answer()
    await end(run)


# --- time and the end ---------------------------------------------------------------------------------------------


async def test_a_waiting_caller_is_woken_by_a_result_and_by_the_end() -> None:
    client = ScriptedClient()
    run = begin(pushes(1), client)
    await turn()
    waiting = asyncio.create_task(run.wait_for_results())
    await turn()
    assert not waiting.done()
    client.answer()
    await turn()
    assert waiting.done()
    take(run)
    await run.wait_for_results()
    await end(run)


async def test_stopping_begins_nothing_more_and_waits_for_what_is_in_flight() -> None:
    client, source = ScriptedClient(), Source(1000)
    run = begin(source, client, window=10, retry=STEADY)
    await turn()
    client.answer(1, verdict=Verdict.THROTTLED, reason="TooManyRequests")
    closing = run.end()
    await turn()
    assert not closing.done()
    read = source.read
    client.answer(2, verdict=Verdict.THROTTLED, reason="TooManyRequests")
    client.answer()
    await turn()
    assert closing.done()
    assert (source.read, len(client.sent)) == (read, read)
    assert sorted(result.push.row for result in run.ready) == list(range(1, read + 1))


async def test_the_first_error_stays() -> None:
    run = begin(pushes(1), client := ScriptedClient())
    first = JournalError("first")
    run.stop(first)
    run.stop(JournalError("second"))
    assert run.error is first
    await end(run)
    assert client.sent == []
    run = begin(Source(0, LookupError("of the source")), client)
    await turn()
    run.stop(JournalError("second"))
    assert isinstance(run.error, LookupError)
    await end(run)


def test_a_lane_is_called_when_its_rate_or_a_retry_lets_something_out() -> None:
    async def paced(**given: Any) -> list[int]:
        client = ScriptedClient()
        run = begin(pushes(3), client, **given)
        await turn()
        client.answer(1, verdict=Verdict.THROTTLED, reason="TooManyRequests")
        seen = []
        for _ in range(5):
            await asyncio.sleep(0.5)
            seen.append(len(client.sent))
        client.answer()
        await end(run)
        return seen

    assert virtual.run(paced(rate=Rate(1.0))) == [1, 1, 2, 2, 3]
    assert virtual.run(paced(retry=RetryPolicy(jitter=0.0, apns_device_wait=1.2))) == [3, 3, 4, 4, 4]
