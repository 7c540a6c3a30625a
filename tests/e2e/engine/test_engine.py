"""`PushEngine.send_many` over the wire: every push one result, the window kept, both sides able to hold it up."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fakeservers import FakeApns, fated_token
from pushcore import ApnsClient, ApnsKey, Notification, PushEngine, Result, Verdict
from pushcore.errors import ClosedError, ConfigurationError
from tests.support.scripted import until_closed

PAYLOAD = {"aps": {"alert": "Hi"}}


def client_of(fake: FakeApns, **options: Any) -> ApnsClient:
    key = ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)
    return ApnsClient(key, topic=fake.topic, url=fake.url, ca_file=fake.ca_file, **options)


def pushes(count: int) -> Iterator[Notification]:
    return (Notification(f"{number:064x}", PAYLOAD) for number in range(count))


@pytest.mark.uvloop
@pytest.mark.parametrize("http2", ["fast", "reference"])
async def test_every_push_has_one_result(http2: str) -> None:
    count = 3000 if http2 == "fast" else 300
    async with FakeApns(keep=5000) as fake, PushEngine(client_of(fake, http2=http2)) as engine:
        counts = Counter([result.push.token async for result in engine.send_many(pushes(count))])
        assert len(counts) == count
        assert set(counts.values()) == {1}
        assert fake.counts == {(200, ""): count}


async def test_results_come_in_order_of_completion_and_mixed() -> None:
    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        source = [
            Notification(fated_token("Slow", ms=150), PAYLOAD),
            Notification("zz", PAYLOAD),
            Notification(fated_token("Unregistered"), PAYLOAD),
            Notification("ab", {"aps": "x" * 5000}),
            Notification("cd", {"aps": {1, 2}}),
        ]
        results = [result async for result in engine.send_many(source)]
        assert results[-1].push is source[0]
        verdicts = {id(result.push): (result.verdict, result.reason) for result in results}
        assert [verdicts[id(push)] for push in source] == [
            (Verdict.ACCEPTED, None),
            (Verdict.INVALID, None),
            (Verdict.UNREGISTERED, "Unregistered"),
            (Verdict.INVALID, "PayloadTooLarge"),
            (Verdict.INVALID, None),
        ]


async def test_the_source_is_read_no_further_than_the_window() -> None:
    read = 0
    stalled = fated_token("Stall")

    def source() -> Iterator[Notification]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield Notification(stalled, PAYLOAD)

    async with FakeApns() as fake:
        fast = client_of(fake, timeout=0.5)
        async with PushEngine(fast, window=50) as engine:
            await fast.send(Notification("ab", PAYLOAD))
            generator = engine.send_many(source())
            first = await anext(generator)
            assert first.verdict is Verdict.UNKNOWN
            assert 50 <= read <= 101  # one window timed out together and was replaced by another at the most
            await generator.aclose()


async def test_a_slow_caller_stops_the_source() -> None:
    read = 0

    def source() -> Iterator[Notification]:
        nonlocal read
        for push in pushes(10_000):
            read += 1
            yield push

    async with FakeApns() as fake, PushEngine(client_of(fake), window=100) as engine:
        taken = 0
        async for _ in engine.send_many(source()):
            taken += 1
            if taken <= 5:
                while len(fake.received) < min(read, taken + 99):
                    await asyncio.sleep(0.001)  # everything in flight has been answered
                assert read <= taken + 100
        assert taken == 10_000


async def test_an_async_source_is_not_waited_for_by_results() -> None:
    gate = asyncio.Event()

    async def source() -> AsyncIterator[Notification]:
        yield Notification("ab", PAYLOAD)
        await gate.wait()
        yield Notification("cd", PAYLOAD)

    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        results: list[Result] = []
        async for result in engine.send_many(source()):
            results.append(result)
            gate.set()
        assert [result.push.token for result in results] == ["ab", "cd"]


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_an_error_of_the_source_comes_after_the_results(kind: str) -> None:
    def plain() -> Iterator[Notification]:
        yield from pushes(3)
        raise LookupError("the file ends here")

    async def asynchronous() -> AsyncIterator[Notification]:
        for push in plain():
            yield push

    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        generator = engine.send_many(plain() if kind == "plain" else asynchronous())
        assert [(await anext(generator)).ok for _ in range(3)] == [True, True, True]
        with pytest.raises(LookupError, match="the file ends here"):
            await anext(generator)


async def test_an_object_that_is_no_push_is_a_type_error() -> None:
    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        with pytest.raises(TypeError, match="Notification"):
            await anext(engine.send_many(["abc"]))  # type: ignore[type-var]


async def test_an_empty_source_has_no_results() -> None:
    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        source: list[Notification] = []
        assert [result async for result in engine.send_many(source)] == []


async def test_leaving_early_stops_the_source_and_waits_for_what_is_in_flight() -> None:
    async with FakeApns(delay=0.02) as fake:
        client = client_of(fake)
        async with PushEngine(client, window=40) as engine:
            async with contextlib.aclosing(engine.send_many(pushes(10_000))) as generator:
                async for _ in generator:
                    break
            assert not client._dispatcher.pool.waiting
            assert all(link.connection.idle for link in client._dispatcher.pool.links)
            assert fake.counts.total() <= 41
            again = [result async for result in engine.send_many(pushes(5))]
            assert len(again) == 5


async def test_two_runs_share_an_engine() -> None:
    async def run(engine: PushEngine, count: int) -> int:
        return len([result async for result in engine.send_many(pushes(count)) if result.ok])

    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        assert tuple(await asyncio.gather(run(engine, 700), run(engine, 300))) == (700, 300)


async def test_two_engines_and_single_sends_share_a_client() -> None:
    async with FakeApns() as fake, client_of(fake) as client:
        async with PushEngine(client) as engine:
            single = asyncio.gather(*(client.send(push) for push in pushes(50)))
            many = [result async for result in engine.send_many(pushes(200))]
            assert all(result.ok for result in [*many, *await single])
        assert (await client.send(Notification("ab", PAYLOAD))).ok  # the engine left the client open


async def test_misuse_is_named() -> None:
    async with FakeApns() as fake:
        client = client_of(fake)
        engine = PushEngine(client)
        with pytest.raises(ClosedError):
            engine.send_many([])
        with pytest.raises(ClosedError):
            await client.send(Notification("ab", PAYLOAD))
        with pytest.raises(ConfigurationError):
            PushEngine()
        with pytest.raises(ConfigurationError):
            PushEngine(client, client)
        with pytest.raises(ConfigurationError):
            PushEngine(client, window=0)


async def test_engine_closes_runs_that_were_left() -> None:
    async with FakeApns(delay=0.01) as fake:
        client = client_of(fake)
        async with PushEngine(client, window=20) as engine:
            generator = engine.send_many(pushes(10_000))
            accepted = [await anext(generator)]
        assert not client.opened
        accepted += await until_closed(generator)
        assert fake.counts == {(200, ""): len(accepted)}


async def test_a_client_that_is_closed_meanwhile_ends_the_run() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[Notification]:
        for number, push in enumerate(pushes(200)):
            if number == 100:
                await closed.wait()  # the responses to these may all come at once
            yield push

    results: list[Result] = []

    async def send(client: ApnsClient, engine: PushEngine) -> None:
        async for result in engine.send_many(source()):
            results.append(result)
            if len(results) == 20:
                await client.close()
                closed.set()

    async with FakeApns() as fake:
        client = client_of(fake)
        await client.open()
        async with asyncio.timeout(10), PushEngine(client) as engine:
            with pytest.raises(ClosedError, match="the apns client was closed"):
                await send(client, engine)
        accepted = {result.push.token for result in results if result.verdict is Verdict.ACCEPTED}
        assert {request.token for request in fake.received} == accepted


async def test_closing_ends_a_run_that_has_only_begun() -> None:
    """Its feeder is cancelled before its first step."""
    async with FakeApns() as fake, PushEngine(client_of(fake)) as engine:
        closing = asyncio.create_task(engine.close())
        with pytest.raises(ClosedError):
            async with asyncio.timeout(5):
                await anext(engine.send_many(pushes(10)))
        await closing
        assert not fake.received


async def test_closing_ends_a_run_of_another_task_with_its_results() -> None:
    async def run(engine: PushEngine, results: list[Result]) -> None:
        async for result in engine.send_many(pushes(1_000_000)):
            results.append(result)

    async with FakeApns(delay=0.005) as fake:
        engine = PushEngine(client_of(fake), window=20)
        await engine.__aenter__()
        results: list[Result] = []
        task = asyncio.create_task(run(engine, results))
        while not results:
            await asyncio.sleep(0.001)
        await engine.close()
        with pytest.raises(ClosedError):
            await task
        assert fake.counts == {(200, ""): len(results)}
