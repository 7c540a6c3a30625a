"""The conformance suite for adapters: checks that run against a server, for pytest or any asyncio program.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_my_queue(check):
        await check(open_my_queue)

`open_my_queue(campaign, idle)` returns a `Broker` with its own connection, always to the same server. Each check makes its own
campaign and removes it. A check that fails raises `AssertionError` with a sentence. All checks take some seconds together;
they wait for events, and no measured time decides the outcome.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from ..chunk import Chunk
from ..protocol import Broker, DeliveredResult, Lease

Opener = Callable[[str, float], Awaitable[Broker]]
Check = Callable[[Opener], Awaitable[None]]

LONG: Final = 30.0
"""Seconds of a lease that must not expire."""
SHORT: Final = 0.3
"""Seconds of a lease that must expire."""
PATIENCE: Final = 10.0
"""Seconds to wait for an expected event before a check fails."""
ROWS: Final = 3


def chunks(count: int, start: int = 0) -> list[Chunk]:
    """`count` small chunks."""
    return [
        Chunk.inline(number, number * ROWS + 1, [{"token": f"{number:08x}{row:056x}"} for row in range(ROWS)])
        for number in range(start, start + count)
    ]


async def put_twice_is_put_once(opener: Opener) -> None:
    """Chunks that are put again in the same epoch are not added: a coordinator may be restarted after a crash."""
    async with _campaign(opener) as (one, two):
        _same(await one.put(chunks(5)), 5, "chunks that were added the first time")
        _same(await two.put(chunks(8)), 3, "chunks that were added when 5 of 8 were there")
        _same(sorted(_numbers(await _lease_all(one, 8))), list(range(8)), "the chunks that are leased")


async def what_is_done_comes_back_in_a_higher_epoch_only(opener: Opener) -> None:
    """A finished chunk can be put again in a higher epoch: `reconcile` does that."""
    async with _campaign(opener) as (one, two):
        await one.put(chunks(2))
        for lease in await _lease_all(one, 2):
            await one.done(lease, b"r")
        _same(await two.put(chunks(2)), 0, "chunks that were added again in the same epoch")
        epoch = await two.epoch() + 1
        _same(await two.put(chunks(2), epoch), 2, "chunks that were added in the next epoch")
        _same(await one.put(chunks(2), epoch), 0, "chunks that were added twice in it")
        _same(sorted(_numbers(await _lease_all(one, 2))), [0, 1], "the chunks that are leased")


async def nobody_gets_more_than_was_asked_for_or_what_another_has(opener: Opener) -> None:
    """A lease returns at most `n` chunks, and none that another worker has leased."""
    async with _campaign(opener) as (one, two):
        await one.put(chunks(7))
        first = await one.lease(3, PATIENCE)
        _must(1 <= len(first) <= 3, f"lease(3) gave {len(first)} of 7 chunks")
        rest = await _lease_all(two, 7 - len(first))
        _same(sorted(_numbers(first + rest)), list(range(7)), "the chunks that both have")
        _same(await one.lease(5, 0.0), [], "what is leased when all is leased")


async def bytes_come_through_unchanged(opener: Opener) -> None:
    """Chunks and results come back unchanged: all byte values, and half a megabyte."""
    async with _campaign(opener) as (one, two):
        data = bytes(range(256)) * 2000
        await one.put([Chunk(0, 1, ROWS, payload=data)])
        (lease,) = await two.lease(1, PATIENCE)
        _must(Chunk.decode(lease.data).payload == data, "a chunk's bytes were changed")
        await two.done(lease, data)
        (result,) = await _results(one, 1)
        _must(result.data == data, "a result's bytes were changed")


async def a_lease_waits_for_a_chunk(opener: Opener) -> None:
    """A lease waits until a chunk is put; after `wait` seconds without one it returns an empty list."""
    async with _campaign(opener) as (one, two):
        _same(await one.lease(2, 0.0), [], "what an empty queue gives at once")
        _same(await one.lease(2, 0.05), [], "what it gives after a while")
        waiting = asyncio.create_task(one.lease(2, PATIENCE))
        await asyncio.sleep(0.05)
        await two.put(chunks(1))
        _same(_numbers(await waiting), [0], "what is leased when it comes")


async def a_lease_without_a_sign_of_life_is_given_to_another(opener: Opener) -> None:
    """A lease that is not extended for `idle` seconds expires, and another worker gets the chunk."""
    async with _campaign(opener, SHORT) as (one, two):
        await one.put(chunks(2))
        first = await _lease_each(one, 2)
        _same([lease.attempt for lease in first], [1, 1], "attempts")
        again = await _lease_each(two, 2)
        _same(sorted(_numbers(again)), [0, 1], "the chunks that are given to another")
        _must(all(lease.attempt > 1 for lease in again), "a repeated lease says that it is the first")


async def a_lease_with_signs_of_life_is_kept(opener: Opener) -> None:
    """A lease that is extended is kept, here for three times `idle`."""
    async with _campaign(opener, SHORT) as (one, two):
        await one.put(chunks(2))
        last = time.monotonic()
        until = last + 3 * SHORT
        leases = await _lease_each(one, 2)
        while time.monotonic() < until:
            lost = await one.extend(leases)
            stolen = await two.lease(2, SHORT / 6)
            if time.monotonic() - last > SHORT * 0.8:
                return  # the machine was too busy to extend in time
            last = time.monotonic()
            _same(lost, [], "leases that were lost")
            _must(not stolen, "a chunk was given to another in spite of extend")


async def a_lost_lease_does_no_harm(opener: Opener) -> None:
    """If two workers finish a chunk because the first lease expired, both results are kept, and the chunk is removed."""
    async with _campaign(opener, SHORT) as (one, two):
        await one.put(chunks(1))
        (old,) = await _lease_each(one, 1)
        (new,) = await _lease_each(two, 1)
        _must(await one.extend([old]) in ([], [old]), "extend tells of leases that it was not asked about")
        await one.done(old, b"old")
        await two.done(new, b"new")
        actual = sorted(result.data for result in await _results(one, 2))
        _same(actual, [b"new", b"old"], "the results")
        _same(await one.present(), set(), "the chunks that are there")
        await asyncio.sleep(SHORT * 1.5)
        _same(await two.lease(1, 0.0), [], "what is leased when all is done")


async def done_may_be_repeated(opener: Opener) -> None:
    """`done` may be called again, after the first response was lost."""
    async with _campaign(opener) as (one, two):
        await one.put(chunks(2))
        lease, other = await _lease_all(one, 2)
        await one.done(lease, b"r")
        await one.done(lease, b"r")
        _must({result.data for result in await _results(two, 1)} == {b"r"}, "the result is not there")
        _same(await two.present(), set(_numbers([other])), "the chunks that are there")


async def a_chunk_is_gone_when_it_is_done_and_its_result_is_there(opener: Opener) -> None:
    """`done` removes the chunk and keeps the result until it is collected."""
    async with _campaign(opener) as (one, two):
        await one.put(chunks(3))
        for lease in await _lease_all(one, 3):
            await one.done(lease, b"%d" % Chunk.decode(lease.data).number)
        await one.report(b"part", "nonce")
        actual = await _results(two, 4)
        _same(sorted(result.data for result in actual), [b"0", b"1", b"2", b"part"], "the results")
        await two.collected(actual)
        _same(await two.results(10, 0.05), [], "the results after they were collected")
        stats = await one.stats()
        _same((stats.depth, stats.leased, stats.results), (0, 0, 0), "depth, leased, results")


async def what_is_released_is_for_the_next(opener: Opener) -> None:
    """A released chunk can be leased again at once, or after the delay."""
    async with _campaign(opener) as (one, two):
        await one.put(chunks(2))
        first, second = await _lease_all(one, 2)
        await one.release(first)
        (again,) = await _lease_each(two, 1)
        _same(_numbers([again]), _numbers([first]), "what was released")
        began = time.monotonic()
        await one.release(second, 0.5)
        (again,) = await _lease_each(two, 1)
        _same(_numbers([again]), _numbers([second]), "what was released with a delay")
        _must(time.monotonic() - began >= 0.4, "a chunk was given out before its delay was over")


async def a_cancelled_lease_loses_nothing(opener: Opener) -> None:
    """If a task is cancelled while it waits for a lease, no chunk is lost."""
    async with _campaign(opener, SHORT) as (one, two):
        for number in range(10):
            waiting = asyncio.create_task(one.lease(1, PATIENCE))
            await asyncio.sleep(0.001 * number)
            putting = asyncio.create_task(two.put(chunks(1, number)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await putting
        actual = await _lease_each(two, 10)
        _same(sorted(_numbers(actual)), list(range(10)), "the chunks that are leased in the end")


async def the_figures_are_right(opener: Opener) -> None:
    """The figures of `stats` (depth, leased, results, age) and the chunks of `present` are right."""
    async with _campaign(opener) as (one, two):
        stats = await two.stats()
        _same((stats.depth, stats.leased, stats.results, stats.oldest), (0, 0, 0, 0.0), "an empty queue")
        await one.put(chunks(6))
        leases = [lease for _ in range(2) for lease in await one.lease(1, PATIENCE)]
        stats = await two.stats()
        _same((stats.depth, stats.leased), (4, 2), "depth and leased of 6 of which 2 are leased")
        _must(0.0 <= stats.oldest < 60.0, f"the oldest of new chunks is {stats.oldest:g} seconds old")
        await one.done(leases[0], b"r")
        stats = await two.stats()
        _same(
            (stats.depth, stats.leased, stats.results), (4, 1, 1), "depth, leased, results after one is done"
        )
        _same(await two.present(), set(range(6)) - set(_numbers(leases[:1])), "the chunks that are there")


async def many_chunks_are_all_told(opener: Opener) -> None:
    """`present` returns all chunks, also if there are more than one page of the server's response."""
    async with _campaign(opener) as (one, two):
        _same(await one.put(chunks(450)), 450, "chunks that were added")
        _same(await two.present(), set(range(450)), "the chunks that are there")


async def the_store_sees_every_change(opener: Opener) -> None:
    """Compare-and-set loses no change of two connections that write at the same time."""
    async with _campaign(opener) as (one, two):
        _same(tuple(await one.read("n")), (b"", 0), "a value that was never set")
        _must(await one.write("n", b"0", 0), "a first value was refused")
        _must(not await two.write("n", b"x", 0), "a first value was set a second time")

        async def count(queue: Broker, times: int) -> None:
            while times:
                value, revision = await queue.read("n")
                times -= await queue.write("n", b"%d" % (int(value) + 1), revision)

        await asyncio.gather(count(one, 20), count(two, 20))
        _same((await one.read("n")).value, b"40", "40 increments from two sides")
        _must(await one.write("binary", bytes(range(256)), 0), "a value was refused")
        _same((await two.read("binary")).value, bytes(range(256)), "every byte")


async def campaigns_do_not_touch_each_other(opener: Opener) -> None:
    """Campaigns are separate, and a destroyed one can be made again."""
    async with _campaign(opener) as (one, _), _campaign(opener) as (other, _):
        for queue in (one, other):
            await queue.put(chunks(2))
            await queue.write("n", b"1", 0)
        (lease, *_) = await one.lease(1, PATIENCE)
        await one.done(lease, b"r")
        await one.destroy()
        _same(await other.present(), {0, 1}, "the chunks of the other campaign")
        _same((await other.read("n")).value, b"1", "the value of the other campaign")
        again = await opener(one.campaign, LONG)
        try:
            _same(await again.put(chunks(2)), 2, "chunks that were added after all was removed")
            _same(await again.results(1, 0.0), [], "results after all was removed")
            _same((await again.read("n")).revision, 0, "the revision of a value that was removed")
        finally:
            await again.close()


CHECKS: Final[tuple[Check, ...]] = (
    put_twice_is_put_once,
    what_is_done_comes_back_in_a_higher_epoch_only,
    nobody_gets_more_than_was_asked_for_or_what_another_has,
    bytes_come_through_unchanged,
    a_lease_waits_for_a_chunk,
    a_lease_without_a_sign_of_life_is_given_to_another,
    a_lease_with_signs_of_life_is_kept,
    a_lost_lease_does_no_harm,
    done_may_be_repeated,
    a_chunk_is_gone_when_it_is_done_and_its_result_is_there,
    what_is_released_is_for_the_next,
    a_cancelled_lease_loses_nothing,
    the_figures_are_right,
    many_chunks_are_all_told,
    the_store_sees_every_change,
    campaigns_do_not_touch_each_other,
)


# --- helpers --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _campaign(opener: Opener, idle: float = LONG) -> AsyncIterator[tuple[Broker, Broker]]:
    """Two connections to a new campaign, which is removed at the end."""
    name = f"check-{secrets.token_hex(6)}"
    one = await opener(name, idle)
    try:
        two = await opener(name, idle)
        try:
            yield one, two
            await two.destroy()
        finally:
            await two.close()
    finally:
        await one.close()


async def _lease_all(queue: Broker, count: int) -> list[Lease]:
    """Lease the `count` waiting chunks, of which no lease expires, and see that there are no more.

    A server may confirm a chunk just before it can be leased, so that a lease without waiting returns less. NATS does.
    """
    actual: list[Lease] = []
    deadline = time.monotonic() + PATIENCE
    while len(actual) < count and time.monotonic() < deadline:
        actual += await queue.lease(count - len(actual), 0.1)
    _same(_numbers(await queue.lease(count, 0.0)), [], f"the chunks that are leased beyond {count}")
    return actual


async def _lease_each(queue: Broker, count: int) -> list[Lease]:
    """The first lease of each of `count` chunks. Leases may expire meanwhile, and their chunks be leased again."""
    actual: dict[int, Lease] = {}
    deadline = time.monotonic() + PATIENCE
    while len(actual) < count and time.monotonic() < deadline:
        for lease in await queue.lease(count - len(actual), 0.1):
            actual.setdefault(Chunk.decode(lease.data).number, lease)
        await queue.extend(list(actual.values()))
    return list(actual.values())


async def _results(queue: Broker, count: int) -> list[DeliveredResult]:
    actual: dict[object, DeliveredResult] = {}
    deadline = time.monotonic() + PATIENCE
    while len(actual) < count and time.monotonic() < deadline:
        for result in await queue.results(100, 0.1):
            actual[result.handle] = result
    return list(actual.values())


def _numbers(leases: list[Lease]) -> list[int]:
    return [Chunk.decode(lease.data).number for lease in leases]


def _must(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


def _same(actual: object, expected: object, description: str) -> None:
    if actual != expected:
        raise AssertionError(f"{description}: {actual!r} instead of {expected!r}")
