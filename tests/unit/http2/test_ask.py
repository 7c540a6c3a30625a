"""One request and its answer, over a pool that answers as told."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from pushcore.errors import ConnectionLost
from pushcore.http2.ask import ask
from pushcore.http2.exchange import Exchange, deliver
from pushcore.http2.pool import Pool
from tests.support.http2 import TEMPLATE


class ScriptedPool:
    """Keeps what is submitted."""

    def __init__(self) -> None:
        self.submitted: list[Exchange] = []
        self.cancelled: list[Exchange] = []

    def submit(self, exchange: Exchange) -> None:
        self.submitted.append(exchange)

    def cancel(self, exchange: Exchange) -> None:
        self.cancelled.append(exchange)

    def answer(self, status: int, error: ConnectionLost | None = None) -> None:
        """The newest request gets its answer."""
        exchange = self.submitted[-1]
        exchange.status, exchange.error = status, error
        deliver([exchange])


class Asking:
    """A question under way."""

    def __init__(self, again: object = None) -> None:
        self.pool = ScriptedPool()
        self.task = asyncio.create_task(
            ask(
                cast(Pool, self.pool),
                TEMPLATE,
                b"/token",
                b"body",
                5.0,
                again,  # type: ignore[arg-type]  # a callable or None
                ((b"x", b"y"),),
            )
        )


async def test_the_request_is_as_it_was_given_and_ends_within_its_time() -> None:
    asking = Asking()
    await asyncio.sleep(0)
    (exchange,) = asking.pool.submitted
    assert (exchange.template, exchange.path, exchange.body) == (TEMPLATE, b"/token", b"body")
    assert exchange.tail == ((b"x", b"y"),)
    now = asyncio.get_running_loop().time()
    assert now + 4.0 < exchange.deadline <= now + 5.0
    asking.pool.answer(404)
    assert await asking.task is exchange
    assert exchange.status == 404


async def test_an_error_stands_in_the_exchange_and_is_not_raised() -> None:
    seen: list[Exchange] = []
    asking = Asking(seen.append)
    await asyncio.sleep(0)
    asking.pool.answer(0, ConnectionLost("gone"))
    assert isinstance((await asking.task).error, ConnectionLost)
    assert seen == []  # there is no answer to look at


async def test_an_answer_that_was_sent_again_is_not_the_answer() -> None:
    times: list[int] = []

    def again(exchange: Exchange) -> bool:
        times.append(exchange.status)
        return exchange.status == 401

    asking = Asking(again)
    await asyncio.sleep(0)
    asking.pool.answer(401)
    await asyncio.sleep(0)
    assert not asking.task.done()
    asking.pool.answer(200)
    assert (await asking.task).status == 200
    assert times == [401, 200]


async def test_who_is_cancelled_cancels_the_request_and_a_late_answer_is_nobodys() -> None:
    asking = Asking()
    await asyncio.sleep(0)
    asking.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking.task
    assert asking.pool.cancelled == asking.pool.submitted
    asking.pool.answer(200)
