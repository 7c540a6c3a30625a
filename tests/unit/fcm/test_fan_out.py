"""Many requests from one source, over a pool that the test answers: how many at a time, how fast, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import pytest

from pushcore.errors import ClosedError
from pushcore.fcm.change_rate import ChangeRateLimiter
from pushcore.fcm.fan_out import BURST, FanOut
from pushcore.http2.exchange import Exchange, Sink, deliver, request
from pushcore.http2.pool import Pool
from pushcore.results import Result, Verdict
from tests.support.http2 import TEMPLATE
from tests.support.virtual import run


class ScriptedPool:
    """Keeps what is submitted; `answer` ends the oldest."""

    def __init__(self) -> None:
        self.open: list[Exchange] = []
        self.submitted = 0
        self.cancelled: list[int] = []

    def submit(self, exchange: Exchange) -> None:
        self.submitted += 1
        self.open.append(exchange)

    def cancel(self, exchange: Exchange) -> None:
        self.cancelled.append(exchange.context)
        self.open.remove(exchange)

    def finish(self, count: int, status: int = 200) -> None:
        finished, self.open = self.open[:count], self.open[count:]
        for exchange in finished:
            exchange.status = status
        deliver(finished)


class Stage:
    """A run over `count` items; numbers below 0 are refused before they are sent."""

    def __init__(
        self,
        count: int = 10,
        *,
        rate: float = 1e9,
        concurrency: int = 100,
        error: Exception | None = None,
        weigh: Callable[[Any], int] = lambda item: 1,
        first: int = 0,
        collect: bool = True,
    ) -> None:
        self.pool = ScriptedPool()
        self.read = 0
        self.opened = True
        self.closed = False
        self.results: list[int] = []
        self.raised: BaseException | None = None

        async def source() -> AsyncGenerator[int, None]:
            try:
                for item in range(first, first + count):
                    self.read += 1
                    yield item
                if error is not None:
                    raise error
            finally:
                self.closed = True

        def build(item: int, sink: Sink) -> tuple[Exchange | None, list[Result]]:
            if item < 0:
                return None, [Result(item, Verdict.INVALID)]
            return request(TEMPLATE, b"/", b"", (), sink, item), []

        def finish(exchange: Exchange) -> list[Result] | None:
            if exchange.status == 401:
                self.pool.submit(exchange)
                return None
            return [Result(exchange.context, Verdict.ACCEPTED, exchange.status)]

        fan = FanOut(
            cast(Pool, self.pool),
            build,
            finish,
            limiter=ChangeRateLimiter(rate, asyncio.get_running_loop().time),
            concurrency=concurrency,
            opened=lambda: self.opened,
            check_loop=lambda: None,
            weigh=weigh,
        )
        self.generator = fan.run(source())
        if collect:
            self.task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            async for result in self.generator:
                self.results.append(result.push)
        except ClosedError as error:
            self.raised = error


async def turn() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_results_come_in_order_of_completion_and_it_ends_with_the_last() -> None:
    stage = Stage(5)
    await turn()
    assert stage.pool.submitted == 5
    stage.pool.open.reverse()
    stage.pool.finish(2)
    await turn()
    assert stage.results == [4, 3]
    assert not stage.task.done()
    stage.pool.finish(3)
    await stage.task
    assert stage.results == [4, 3, 2, 1, 0]
    assert stage.closed


async def test_no_more_requests_at_a_time_than_allowed() -> None:
    stage = Stage(20, concurrency=3)
    await turn()
    assert (stage.pool.submitted, stage.read) == (3, 3)
    stage.pool.finish(1)
    await turn()
    assert stage.pool.submitted == 4
    while not stage.task.done():
        stage.pool.finish(3)
        assert len(stage.pool.open) <= 3
        await turn()
    assert sorted(stage.results) == list(range(20))


async def test_the_source_waits_for_a_caller_who_does_not_take_results() -> None:
    stage = Stage(1000, concurrency=4, first=-1000, collect=False)  # none of them needs a request
    assert (await anext(stage.generator)).push == -1000
    await turn()
    assert stage.read == 4
    for _ in range(3):
        await anext(stage.generator)
    await turn()
    assert stage.read == 8  # four more than were taken
    await stage.generator.aclose()
    assert stage.closed


async def test_an_invalid_item_has_a_result_and_no_request() -> None:
    stage = Stage(6, first=-3)
    await turn()
    assert stage.results == [-3, -2, -1]
    assert stage.pool.submitted == 3
    stage.pool.finish(3)
    await stage.task


async def test_a_retried_request_is_still_open() -> None:
    stage = Stage(1)
    await turn()
    stage.pool.finish(1, status=401)
    await turn()
    assert (stage.results, stage.task.done()) == ([], False)
    stage.pool.finish(1)
    await stage.task
    assert stage.results == [0]


async def test_the_event_loop_runs_between_bursts() -> None:
    stage = Stage(10 * BURST, concurrency=10_000)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert stage.pool.submitted <= 2 * BURST
    await turn()
    await turn()
    stage.pool.finish(10 * BURST)
    await stage.task


@pytest.mark.parametrize(("weight", "seconds"), [(1, 0.9), (3, 2.7)])
def test_each_item_counts_for_the_rate_as_it_weighs(weight: int, seconds: float) -> None:
    async def paced() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        stage = Stage(10, rate=10.0, weigh=lambda item: weight)
        while stage.pool.submitted < 10:
            await asyncio.sleep(0.01)
        took = loop.time() - start
        stage.pool.finish(10)
        await stage.task
        return took

    assert run(paced()) == pytest.approx(seconds, abs=0.1)


async def test_an_error_of_the_source_follows_the_last_result() -> None:
    stage = Stage(3, error=ClosedError("of the source"))
    await turn()
    assert stage.raised is None
    stage.pool.finish(3)
    await stage.task
    assert (stage.results, str(stage.raised)) == ([0, 1, 2], "of the source")


async def test_a_client_that_closes_ends_the_run_after_what_is_open() -> None:
    stage = Stage(10, concurrency=2)
    await turn()
    stage.opened = False
    stage.pool.finish(2)
    await stage.task
    assert (stage.results, str(stage.raised)) == ([0, 1], "the client was closed")
    assert stage.pool.submitted == 2


async def test_leaving_early_cancels_what_is_open_and_closes_the_source() -> None:
    stage = Stage(10, concurrency=4)
    await turn()
    stage.task.cancel()
    await asyncio.gather(stage.task, return_exceptions=True)
    await stage.generator.aclose()
    assert stage.pool.cancelled == [0, 1, 2, 3]
    assert stage.closed
