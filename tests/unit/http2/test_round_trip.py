"""One request and its response, over a pool that responds as told."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from pushcore.errors import ConnectionLost
from pushcore.http2.exchange import Exchange, deliver
from pushcore.http2.pool import Pool
from pushcore.http2.round_trip import round_trip
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

    def respond(self, status: int, error: ConnectionLost | None = None) -> None:
        """The newest request gets its response."""
        exchange = self.submitted[-1]
        exchange.status, exchange.error = status, error
        deliver([exchange])


class Call:
    """A call in flight."""

    def __init__(self, resend: object = None) -> None:
        self.pool = ScriptedPool()
        self.task = asyncio.create_task(
            round_trip(
                cast(Pool, self.pool),
                TEMPLATE,
                b"/token",
                b"body",
                5.0,
                resend,  # type: ignore[arg-type]  # a callable or None
                ((b"x", b"y"),),
            )
        )


async def test_the_request_is_as_it_was_given_and_ends_within_its_time() -> None:
    call = Call()
    await asyncio.sleep(0)
    (exchange,) = call.pool.submitted
    assert (exchange.template, exchange.path, exchange.body) == (TEMPLATE, b"/token", b"body")
    assert exchange.own_fields == ((b"x", b"y"),)
    now = asyncio.get_running_loop().time()
    assert now + 4.0 < exchange.deadline <= now + 5.0
    call.pool.respond(404)
    assert await call.task is exchange
    assert exchange.status == 404


async def test_an_error_is_in_the_exchange_and_not_raised() -> None:
    resend_calls: list[Exchange] = []
    call = Call(resend_calls.append)
    await asyncio.sleep(0)
    call.pool.respond(0, ConnectionLost("gone"))
    assert isinstance((await call.task).error, ConnectionLost)
    assert resend_calls == []  # there is no response to look at


async def test_an_exchange_that_was_sent_again_is_not_finished() -> None:
    statuses: list[int] = []

    def resend(exchange: Exchange) -> bool:
        statuses.append(exchange.status)
        return exchange.status == 401

    call = Call(resend)
    await asyncio.sleep(0)
    call.pool.respond(401)
    await asyncio.sleep(0)
    assert not call.task.done()
    call.pool.respond(200)
    assert (await call.task).status == 200
    assert statuses == [401, 200]


async def test_cancellation_cancels_the_request_and_a_late_response_is_ignored() -> None:
    call = Call()
    await asyncio.sleep(0)
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert call.pool.cancelled == call.pool.submitted
    call.pool.respond(200)
