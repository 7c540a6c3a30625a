"""The engine's own part: what it is made of, whom it opens and closes, and how a run that was left is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pushcore.engine.engine import LARGEST_WINDOW, TAKEN_TOGETHER, PushEngine
from pushcore.engine.rate import Rate
from pushcore.errors import ClosedError, ConfigurationError, EventLoopError
from pushcore.metrics import Metrics
from tests.support.scripted import (
    EventLog,
    OtherScriptedPush,
    ScriptedClient,
    ScriptedJournal,
    ScriptedPush,
    pushes,
    until_closed,
)
from tests.unit.engine.test_run import Source, turn


class Answering(ScriptedClient):
    """Accepts every push a turn of the loop after it was sent."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pump, self.scripted.pump = self.scripted.pump, self._pump  # type: ignore[method-assign]

    def _pump(self) -> None:
        self.pump()
        if self.scripted.in_flight:
            asyncio.get_running_loop().call_soon(self.answer)


@pytest.mark.parametrize(
    ("clients", "options", "words"),
    [
        ([], {}, "at least one client"),
        ([ScriptedClient(), ScriptedClient()], {}, "one client per kind of push"),
        ([ScriptedClient(), ScriptedClient(topics=frozenset({"a"}))], {}, "one client per kind"),
        ([ScriptedClient()], {"window": 0}, "window must be a whole number of at least 1, not 0"),
    ],
)
def test_wrong_options_are_rejected_in_one_sentence(
    clients: list[ScriptedClient], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        PushEngine(*clients, **options)


def test_a_client_for_some_topics_may_stand_before_one_for_all() -> None:
    PushEngine(ScriptedClient(topics=frozenset({"a"})), ScriptedClient(), ScriptedClient(OtherScriptedPush))


@pytest.mark.parametrize(
    ("sizes", "window", "expected"),
    [
        ([(100, 2)], None, 400),
        ([(100, 2), (10, 1)], None, 420),
        ([(1000, 100)], None, LARGEST_WINDOW),
        ([(1000, 100)], 7, 7),
    ],
)
def test_the_window_is_twice_what_the_connections_carry(
    sizes: list[tuple[int, int]], window: int | None, expected: int
) -> None:
    clients = [
        ScriptedClient(kind, streams=streams, max_connections=connections)
        for kind, (streams, connections) in zip((ScriptedPush, OtherScriptedPush), sizes, strict=False)
    ]
    assert PushEngine(*clients, window=window).window == expected


async def test_clients_that_are_not_open_are_opened_and_closed_and_others_are_left_alone() -> None:
    closed, opened = ScriptedClient(), ScriptedClient(OtherScriptedPush)
    await opened.open()
    async with PushEngine(closed, opened):
        assert closed.calls == ["open"]
    assert closed.calls == ["open", "close"]
    assert opened.calls == ["open"]


async def test_an_engine_can_be_opened_again() -> None:
    client = Answering()
    engine = PushEngine(client)
    for _ in range(2):
        async with engine:
            assert len([result async for result in engine.send_many(pushes(3))]) == 3
    assert client.calls == ["open", "close"] * 2


async def test_an_engine_is_opened_and_closed_without_a_block_too() -> None:
    client = Answering()
    engine = PushEngine(client)
    await engine.open()
    with pytest.raises(ClosedError, match="open already"):
        await engine.open()
    assert len([result async for result in engine.send_many(pushes(3))]) == 3
    await engine.close()
    assert client.calls == ["open", "close"]
    with pytest.raises(ClosedError, match="async with"):
        engine.send_many([])


async def test_an_engine_that_could_not_be_opened_leaves_nothing_open() -> None:
    class Broken(ScriptedClient):
        async def open(self) -> None:
            raise ConfigurationError("no")

    log, first = EventLog(), Answering()
    engine = PushEngine(first, Broken(OtherScriptedPush), listener=log)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no"):
            await engine.open()
    assert first.calls == ["open", "close"] * 2
    first.scripted.events.rate_limited("apns", 1.0)
    assert log.events == []
    with pytest.raises(ClosedError):
        engine.send_many([])


async def test_a_stream_that_is_left_has_ended_when_its_block_has() -> None:
    client, source = ScriptedClient(), Source(100)
    async with PushEngine(client, window=10) as engine:
        async with engine.stream(source) as results:
            taking = asyncio.create_task(anext(results))
            await turn()
            client.answer(1)
            assert (await taking).push.row == 1
            asyncio.get_running_loop().call_soon(client.answer)
        assert not client.scripted.in_flight  # what was in flight has been waited for
        assert not client.scripted.listeners
        assert not engine._active
        assert client.sent == list(range(1, len(client.sent) + 1))
        assert source.read < 100
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_a_stream_gives_all_results_and_raises_what_the_source_does() -> None:
    def source() -> Iterator[ScriptedPush]:
        yield from pushes(3)
        raise LookupError("the file ends here")

    rows: list[int] = []

    async def take(engine: PushEngine) -> None:
        async with engine.stream(source()) as results:
            async for result in results:
                rows.append(result.push.row)

    async with PushEngine(Answering()) as engine:
        with pytest.raises(LookupError, match="the file ends here"):
            await take(engine)
        assert rows == [1, 2, 3]
        async with engine.stream(pushes(2), journal=ScriptedJournal(known=[1])) as results:
            assert [result.push.row async for result in results] == [2]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("100/s", Rate(100)),
        ("600_000/min", Rate(600_000, 60.0)),
        (Rate(5), Rate(5)),
        (None, None),
        ("none", Rate.parse("none")),
    ],
)
def test_a_rate_is_given_as_on_the_command_line(rate: Any, expected: Rate | None) -> None:
    assert PushEngine(ScriptedClient(), rate=rate)._rules.rate == expected


@pytest.mark.parametrize("rate", ["fast", "0/s", "", "100", "5/day"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(ConfigurationError):
        PushEngine(ScriptedClient(), rate=rate)


async def test_an_engine_that_is_not_open_says_so_at_once() -> None:
    engine = PushEngine(ScriptedClient())
    with pytest.raises(ClosedError, match="async with"):
        engine.send_many([])
    async with engine:
        pass
    with pytest.raises(ClosedError):
        engine.send_many([])


async def test_a_listener_hears_of_the_pools_while_the_engine_is_open() -> None:
    log, client = EventLog(), ScriptedClient()
    async with PushEngine(client, listener=log):
        client.scripted.events.rate_limited("apns", 1.0)
    client.scripted.events.rate_limited("apns", 2.0)
    assert log.events == [("rate_limited", "apns", 1.0)]


async def test_metrics_look_at_the_pools_while_the_engine_is_open() -> None:
    metrics, client = Metrics(), ScriptedClient()
    client.scripted.connected = False
    async with PushEngine(client, listener=metrics) as engine:
        run = engine.send_many(pushes(5))
        first = asyncio.create_task(anext(run))
        await turn()
        assert ["apns", "pool", 5] in metrics.snapshot()["queue_depth"]
        client.scripted.connected = True
        client.scripted.pump()
        client.answer()
        assert (await first).ok
        await run.aclose()
    assert metrics.snapshot()["queue_depth"] in ([], [["apns", "retry", 0]])


async def test_pools_that_fail_to_close_do_not_keep_the_listener() -> None:
    class Failing(ScriptedClient):
        async def close(self) -> None:
            raise OSError("no")

    log, client = EventLog(), Failing()
    engine = PushEngine(client, listener=log)
    await engine.__aenter__()
    with pytest.raises(OSError, match="no"):
        await engine.close()
    client.scripted.events.rate_limited("apns", 2.0)
    assert log.events == []


async def test_results_are_counted_as_taken_by_the_share_and_the_source_follows() -> None:
    source = Source(10_000)
    client = ScriptedClient()
    async with PushEngine(client, window=4 * TAKEN_TOGETHER) as engine:
        run = engine.send_many(source)
        first = asyncio.create_task(anext(run))
        await turn()
        assert source.read == 4 * TAKEN_TOGETHER
        client.answer()
        await first
        for _ in range(TAKEN_TOGETHER - 1):
            await anext(run)
        await turn()
        assert source.read == 4 * TAKEN_TOGETHER  # all but a share are still between source and caller
        for _ in range(2 * TAKEN_TOGETHER):
            await anext(run)
        await turn()
        assert source.read > 4 * TAKEN_TOGETHER
        client.answer()
        await run.aclose()


async def test_an_error_of_the_source_is_raised_after_the_results() -> None:
    async with PushEngine(Answering()) as engine:
        run = engine.send_many(Source(3, LookupError("gone")))
        assert [(await anext(run)).push.row for _ in range(3)] == [1, 2, 3]
        with pytest.raises(LookupError, match="gone"):
            await anext(run)


async def test_leaving_early_tells_the_listener_of_what_was_in_flight() -> None:
    log, client = EventLog(), Answering()
    async with PushEngine(client, listener=log, window=8) as engine:
        async for _ in engine.send_many(pushes(1000)):
            break
    told = [row for event in log.events if event[0] == "results" for row in event[2]]
    assert sorted(told) == sorted(client.sent)
    assert len(told) < 100
    assert client.scripted.listeners == []


async def test_closing_ends_the_run_of_another_task_with_its_results() -> None:
    client = ScriptedClient()
    engine = PushEngine(client, window=10)
    seen: list[int] = []

    async def read() -> None:
        async for result in engine.send_many(pushes(1000)):
            seen.append(result.push.row)

    async with engine:
        reader = asyncio.create_task(read())
        await turn()
        closing = asyncio.create_task(engine.close())
        await turn()
        assert not closing.done()  # ten are in flight
        client.answer()
        await closing
        with pytest.raises(ClosedError, match="the engine was closed"):
            await reader
    assert seen == list(range(1, 11))
    assert client.calls == ["open", "close"]


async def test_closing_ends_a_run_that_was_left_without_being_closed() -> None:
    client = Answering()
    async with PushEngine(client, window=4) as engine:
        left = engine.send_many(pushes(100))
        rows = [(await anext(left)).push.row]
    assert len(client.sent) < 100
    rows += [result.push.row for result in await until_closed(left)]
    assert sorted(rows) == sorted(client.sent)


class SlowToClose(ScriptedClient):
    """Closes when the test says so, or when it is cancelled, as clients do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.may_close = asyncio.Event()

    async def close(self) -> None:
        self.calls.append("closing")
        await self.may_close.wait()
        await super().close()


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_closing_that_was_cancelled_while_clients_close_goes_on_when_it_is_called_again() -> None:
    slow, other = SlowToClose(), ScriptedClient(OtherScriptedPush)
    engine = PushEngine(slow, other)
    await engine.open()
    closing = asyncio.create_task(engine.close())
    await turn()
    await cancel(closing)
    assert slow.calls == ["open", "closing"]
    assert other.calls == ["open", "close"]
    slow.may_close.set()
    await engine.close()
    assert slow.calls == ["open", "closing", "closing", "close"]
    assert other.calls == ["open", "close"]
    await engine.close()
    assert slow.calls[4:] == []


async def test_closing_that_was_cancelled_while_others_take_results_lets_them_end() -> None:
    clients = ScriptedClient(), ScriptedClient(OtherScriptedPush)
    engine = PushEngine(*clients, window=10)
    seen: list[int] = []

    async def read(kind: type[ScriptedPush]) -> None:
        async for result in engine.send_many(kind(row) for row in range(1, 1000)):
            seen.append(result.push.row)

    await engine.open()
    readers = [asyncio.create_task(read(kind)) for kind in (ScriptedPush, OtherScriptedPush)]
    await turn()
    closing = asyncio.create_task(engine.close())
    await turn()
    await cancel(closing)
    again = asyncio.create_task(engine.close())
    await turn()
    assert not again.done()
    for client in clients:
        client.answer()
    await again
    for reader in readers:
        with pytest.raises(ClosedError, match="the engine was closed"):
            await reader
    assert sorted(seen) == sorted([*range(1, 11)] * 2)
    assert [client.calls for client in clients] == [["open", "close"]] * 2
    assert not any(client.scripted.listeners for client in clients)


async def test_closing_that_was_cancelled_still_reports_what_a_run_left_early_had_in_flight() -> None:
    log, client = EventLog(), ScriptedClient()
    engine = PushEngine(client, window=4, listener=log)
    await engine.open()
    left = engine.send_many(pushes(100))
    first = asyncio.create_task(anext(left))
    await turn()
    client.answer(1)
    await first
    closing = asyncio.create_task(engine.close())
    await turn()
    await cancel(closing)
    await turn()
    sent = client.sent.copy()
    client.answer()
    await engine.close()
    assert [row for event in log.events if event[0] == "results" for row in event[2]] == sent
    assert client.calls == ["open", "close"]


async def test_a_client_of_another_loop_is_refused_before_anything_is_opened_or_sent() -> None:
    client, other = ScriptedClient(), ScriptedClient(OtherScriptedPush)
    engine = PushEngine(client, other)
    other.loop = asyncio.new_event_loop()
    with pytest.raises(EventLoopError):
        await engine.open()
    assert client.calls == other.calls == []
    loop, other.loop = other.loop, None
    async with engine:
        other.loop = loop
        with pytest.raises(EventLoopError):
            await anext(engine.send_many(pushes(1)))
        assert client.sent == []
    loop.close()


async def test_two_runs_of_an_engine_each_get_their_own_results() -> None:
    async with PushEngine(Answering()) as engine:

        async def rows(first: int) -> list[int]:
            return [each.push.row async for each in engine.send_many(pushes(50, first))]

        one, two = await asyncio.gather(rows(1), rows(1001))
    assert sorted(one) == list(range(1, 51))
    assert sorted(two) == list(range(1001, 1051))
