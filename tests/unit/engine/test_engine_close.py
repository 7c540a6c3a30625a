"""Closing an engine while its runs are iterated: from inside, from several tasks, and cancelled at each of its steps."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import pytest

from pushcore.engine.engine import PushEngine
from pushcore.errors import ClosedError
from pushcore.results import Result
from tests.support.scripted import (
    EventLog,
    OtherScriptedPush,
    ScriptedClient,
    ScriptedPush,
    pushes,
    until_closed,
)
from tests.unit.engine.test_engine import SlowToClose, cancel
from tests.unit.engine.test_run import turn

WINDOW = 8

complaints: list[dict[str, Any]] = []
"""What the event loop heard of exceptions that nobody took."""


@pytest.fixture(autouse=True)
def no_complaints() -> Iterator[None]:
    complaints.clear()
    yield
    assert not complaints


async def opened(*clients: ScriptedClient, **options: Any) -> PushEngine[Any]:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    engine = PushEngine(*clients, window=WINDOW, **options)
    await engine.open()
    return engine


async def rest_of(results: AsyncGenerator[Result, None]) -> list[int]:
    """The rows that are left; the iteration must end with `ClosedError`."""
    return [result.push.row for result in await until_closed(results)]


def assert_closed(*clients: ScriptedClient) -> None:
    for client in clients:
        assert not client.opened
        assert client.calls == ["open", "close"]
        assert client.scripted.listeners == []


@pytest.mark.parametrize("answered", ["before the iteration goes on", "after it"])
async def test_a_consumer_that_closed_in_vain_still_gets_every_result(answered: str) -> None:
    """It closes inside its loop and gives up, because responses are not there yet."""
    client = ScriptedClient()
    engine = await opened(client)
    results = engine.send_many(pushes(100))
    first = asyncio.create_task(anext(results))
    await turn()
    client.answer(1)
    rows = [(await first).push.row]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await engine.close()
    if answered == "after it":
        rest = asyncio.create_task(rest_of(results))
        await turn()
        client.answer()
        rows += await rest
    else:
        client.answer()
        rows += await rest_of(results)
    assert sorted(rows) == sorted(client.sent)
    await engine.close()
    assert_closed(client)


async def test_closing_inside_the_loop_waits_for_what_is_in_flight_and_the_loop_gets_it() -> None:
    client = ScriptedClient()
    engine = await opened(client)
    rows = []

    async def consume() -> None:
        async for result in engine.send_many(pushes(100)):
            rows.append(result.push.row)
            if len(rows) == 1:
                asyncio.get_running_loop().call_soon(client.answer)
                await engine.close()
                assert_closed_but_for_listeners()

    def assert_closed_but_for_listeners() -> None:
        assert client.calls == ["open", "close"]

    consumer = asyncio.create_task(consume())
    await turn()
    client.answer(1)
    with pytest.raises(ClosedError, match="the engine was closed"):
        await consumer
    assert sorted(rows) == sorted(client.sent)
    assert_closed(client)


async def test_several_consumers_that_all_close_from_inside_all_end() -> None:
    clients = ScriptedClient(), ScriptedClient(OtherScriptedPush)
    engine = await opened(*clients)
    rows: list[int] = []

    async def consume(kind: type[ScriptedPush], first: int) -> None:
        async for result in engine.send_many(kind(row) for row in range(first, first + 99)):
            rows.append(result.push.row)
            await engine.close()

    consumers = [
        asyncio.create_task(consume(kind, first))
        for kind in (ScriptedPush, OtherScriptedPush)
        for first in (1, 101)
    ]
    await turn()
    for client in clients:
        client.answer(1, 101)
    await turn()
    for client in clients:
        client.answer()
    for consumer in consumers:
        with pytest.raises(ClosedError, match="the engine was closed"):
            await consumer
    assert sorted(rows) == sorted(row for client in clients for row in client.sent)
    assert_closed(*clients)


async def test_a_slow_consumer_loses_no_result_when_another_task_closes() -> None:
    """Its generator is suspended in the loop's body at that moment."""
    client = ScriptedClient()
    engine = await opened(client)
    rows: list[int] = []
    may_go_on = asyncio.Event()

    async def consume() -> None:
        async for result in engine.send_many(pushes(100)):
            rows.append(result.push.row)
            await may_go_on.wait()

    consumer = asyncio.create_task(consume())
    await turn()
    client.answer(1, 2)
    await turn()
    closing = asyncio.create_task(engine.close())
    await turn()
    assert not closing.done()
    client.answer()
    await closing
    assert_closed(client)
    may_go_on.set()
    with pytest.raises(ClosedError, match="the engine was closed"):
        await consumer
    assert sorted(rows) == sorted(client.sent)


STEPS = range(12)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "beside"])
async def test_closing_that_was_cancelled_at_any_step_is_finished_by_the_next(
    steps: int, inside: bool
) -> None:
    clients = SlowToClose(), ScriptedClient(OtherScriptedPush)
    engine = await opened(*clients)
    rows: list[list[int]] = [[], [], []]

    async def consume(number: int, kind: type[ScriptedPush]) -> None:
        first = 100 * number + 1
        async for result in engine.send_many(kind(row) for row in range(first, first + 99)):
            rows[number].append(result.push.row)
            if inside and number == 0 and len(rows[0]) == 1:
                closing.append(asyncio.create_task(engine.close()))
                await asyncio.wait(closing)

    closing: list[asyncio.Task[None]] = []
    kinds = ScriptedPush, OtherScriptedPush, ScriptedPush
    consumers = [asyncio.create_task(consume(number, kind)) for number, kind in enumerate(kinds)]
    await turn()
    clients[0].answer(1)
    clients[1].answer(101)
    await turn(3)
    if not inside:
        closing.append(asyncio.create_task(engine.close()))
    await turn(steps)
    if steps % 2:
        for client in clients:
            client.answer()
    await turn(2)
    await cancel(closing[0])
    for client in clients:
        client.answer()
    again = asyncio.create_task(engine.close())
    await turn()
    clients[0].may_close.set()
    await again
    for consumer in consumers:
        with pytest.raises(ClosedError, match="the engine was closed"):
            await consumer
    assert sorted(row for some in rows for row in some) == sorted(
        row for client in clients for row in client.sent
    )
    assert clients[0].calls[-1] == clients[1].calls[-1] == "close"
    assert not any(client.scripted.listeners for client in clients)


async def test_two_tasks_that_close_at_once_both_return() -> None:
    client = SlowToClose()
    engine = await opened(client)
    closings = [asyncio.create_task(engine.close()) for _ in range(3)]
    await turn()
    client.may_close.set()
    await asyncio.gather(*closings)
    assert not client.opened
    await engine.close()


@pytest.mark.parametrize("end", ["break", "aclose", "abandoned", "collected"])
async def test_a_run_that_was_left_while_closing_was_cancelled_ends(end: str) -> None:
    log, client = EventLog(), ScriptedClient()
    engine = await opened(client, listener=log)
    results = engine.send_many(pushes(100))

    async def consume() -> None:
        async for _ in results:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await engine.close()
            break

    consumer = asyncio.create_task(consume())
    await turn()
    client.answer(1)
    await consumer
    del consume
    if end == "aclose":
        ending = asyncio.create_task(results.aclose())
        await turn()
        assert not ending.done()
        client.answer()
        await ending
        with pytest.raises(StopAsyncIteration):
            await anext(results)
    elif end == "collected":
        del results, consumer
        gc.collect()
        await turn()
        client.answer()
    else:
        client.answer()
    await engine.close()
    told = [row for event in log.events if event[0] == "results" for row in event[2]]
    assert sorted(told) == sorted(client.sent)
    await turn()
    assert_closed(client)


async def test_a_caller_that_leaves_a_run_is_cancelled_and_the_engine_closes_all_the_same() -> None:
    log, client = EventLog(), ScriptedClient()
    engine = await opened(client, listener=log)
    results = engine.send_many(pushes(100))
    first = asyncio.create_task(anext(results))
    await turn()
    client.answer(1)
    await first
    leaving = asyncio.create_task(results.aclose())
    await turn()
    await cancel(leaving)
    closing = asyncio.create_task(engine.close())
    await turn()
    assert not closing.done()  # what is in flight is still to be told
    client.answer()
    await closing
    told = [row for event in log.events if event[0] == "results" for row in event[2]]
    assert sorted(told) == sorted(client.sent)
    assert_closed(client)


async def test_two_engines_on_one_client_end_apart() -> None:
    client = ScriptedClient()
    await client.open()
    first, second = PushEngine(client, window=WINDOW), PushEngine(client, window=WINDOW)
    await first.open()
    await second.open()
    rows: list[list[int]] = [[], []]

    async def consume(number: int, engine: PushEngine[Any]) -> None:
        async for result in engine.send_many(pushes(20, 100 * number + 1)):
            rows[number].append(result.push.row)

    consumers = [asyncio.create_task(consume(*item)) for item in enumerate((first, second))]
    await turn()
    closing = asyncio.create_task(first.close())
    await turn()
    await cancel(closing)
    client.answer()
    await first.close()
    with pytest.raises(ClosedError, match="the engine was closed"):
        await consumers[0]
    while not consumers[1].done():
        client.answer()
        await turn()
    await consumers[1]
    assert (len(rows[0]), sorted(rows[1])) == (WINDOW, list(range(101, 121)))
    assert len(client.scripted.listeners) == 0
    await second.close()
    assert client.opened


async def test_a_run_of_a_closed_engine_does_not_begin() -> None:
    client = ScriptedClient()
    engine = await opened(client)
    results = engine.send_many(pushes(5))
    await engine.close()
    with pytest.raises(ClosedError, match="not open"):
        await anext(results)
    assert client.sent == []


async def test_an_engine_closes_after_a_client_that_was_closed_before_a_run_began() -> None:
    class Closed(ScriptedClient):
        @property
        def pool(self) -> Any:
            if not self.opened:
                raise ClosedError("the client is not open")
            return self.scripted

    first, second = Closed(), Closed(OtherScriptedPush)
    await first.open()
    await second.open()
    engine = await opened(first, second)
    await second.close()
    with pytest.raises(ClosedError):
        await anext(engine.send_many(pushes(5)))
    assert first.scripted.listeners == []
    async with asyncio.timeout(5):
        await engine.close()


@pytest.mark.parametrize("inside", ["source", "listener"])
async def test_an_engine_that_is_closed_by_its_source_or_listener_ends(inside: str) -> None:
    class Closing(EventLog):
        def results(self, provider: str, batch: Any) -> None:
            super().results(provider, batch)
            if inside == "listener" and not tasks:
                tasks.append(asyncio.create_task(engine.close()))

    async def source() -> AsyncIterator[ScriptedPush]:
        for push in pushes(4):
            yield push
        if inside == "source":
            await engine.close()
        for push in pushes(96, 5):
            yield push
            await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    client = ScriptedClient()
    engine = await opened(client, listener=Closing())
    consumer = asyncio.create_task(rest_of(engine.send_many(source())))
    while not consumer.done():
        await turn()
        client.answer()
    assert sorted(await consumer) == sorted(client.sent)
    await asyncio.gather(*tasks)
    await engine.close()
    assert_closed(client)
