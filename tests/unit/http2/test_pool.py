"""The pool against connections whose transport is a list: who takes what, when it dials, what it sends again."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from pushcore.errors import AlpnError, ConnectError, ConnectionLost, ResponseTimeout
from pushcore.http2 import dialer, frames, pool
from pushcore.http2.dialer import Attempt, Dialer
from pushcore.http2.exchange import NO_FIELDS, Exchange, request
from pushcore.http2.headers import HeaderTemplate
from pushcore.http2.pool import BATCH, DIALS, MAX_REFUSALS, REFUSAL_ROUNDS, Pool
from pushcore.http2.protocol import Link
from pushcore.http2.streams import ConnectionState, Limits
from tests.support import virtual

TEMPLATE = HeaderTemplate([(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"example.com")])
ROUND_TRIP = 0.1
ANSWER = b"\x20\x88"  # a table size update to 0, then status 200


class Wire(asyncio.Transport):
    """A transport that keeps what is written and lets the test answer."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link
        self.closed = False
        self.polite = False
        """Whether closing takes until `hung_up` is called, as TLS's does."""
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if not self.polite:
                self.hung_up()

    def abort(self) -> None:
        self.polite = False
        self.closed = True
        self.hung_up()

    def hung_up(self) -> None:
        """The peer has said goodbye, too."""
        asyncio.get_running_loop().call_soon(self.link.connection_lost, None)

    def settings(self, streams: int, window: int = 65_535) -> None:
        """The server's SETTINGS arrive."""
        pairs = [(frames.MAX_CONCURRENT_STREAMS, streams), (frames.INITIAL_WINDOW_SIZE, window)]
        self.link.data_received(frames.encode_settings(pairs))

    def answer(self, *stream_ids: int) -> None:
        """Status 200 for these streams."""
        for stream_id in stream_ids:
            self.link.data_received(frames.encode_frame(frames.HEADERS, 0x5, stream_id, ANSWER))

    def send(self, frame: bytes) -> None:
        """Any frame of the server."""
        self.link.data_received(frame)


class Stage:
    """A pool whose dials are answered by the test."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        max_connections: int = 3,
        timeout: float = 5.0,
        idle_ping: float | None = 3600.0,
    ) -> None:
        self.wires: list[Wire] = []
        self.streams = 2
        self.failures: list[Exception] = []
        self.finished: list[Exchange] = []
        stage = self

        async def open_address(self: Dialer, attempt: Attempt, seconds: float) -> Link:
            if stage.failures:
                raise stage.failures.pop(0)
            link = self.new_link()
            wire = Wire(link)
            stage.wires.append(wire)
            link.connection_made(wire)
            wire.settings(stage.streams)
            await link.ready
            return link

        monkeypatch.setattr(Dialer, "_open_address", open_address)
        monkeypatch.setattr(dialer, "FIRST_PAUSE", 0.01)
        self.pool = Pool(
            host="127.0.0.1",
            port=1,
            context=ssl.create_default_context(),
            limits=Limits(timeout=timeout, idle_ping=idle_ping),
            max_connections=max_connections,
            rng=random.Random(1),
        )

    def submit(self, count: int = 1, body: bytes = b"{}", seconds: float = 5.0) -> list[Exchange]:
        """New exchanges, submitted."""
        deadline = asyncio.get_running_loop().time() + seconds
        new = [
            request(TEMPLATE, b"/x", body, NO_FIELDS, self.finished.extend, None, deadline)
            for _ in range(count)
        ]
        for exchange in new:
            self.pool.submit(exchange)
        return new

    def open_streams(self) -> list[int]:
        """How many streams each connection has open."""
        return [len(wire.link.connection.streams) for wire in self.wires]

    def is_open(self, exchange: Exchange) -> bool:
        """Whether a connection has a stream for it now."""
        return any(exchange in wire.link.connection.streams.values() for wire in self.wires)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Let the loop run until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


async def test_first_request_dials_and_later_ones_share_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    stage.submit(2)
    await until(lambda: stage.open_streams() == [2])
    assert stage.pool.dialled == 1
    stage.wires[0].answer(1, 3)
    assert [exchange.status for exchange in stage.finished] == [200, 200]
    await stage.pool.close()


async def test_dials_more_only_when_all_are_full_and_never_more_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, max_connections=2)
    stage.submit(10)
    await until(lambda: stage.open_streams() == [2, 2])
    assert len(stage.pool.waiting) == 6
    stage.wires[1].answer(1)
    assert stage.open_streams() == [2, 2]  # the free stream was taken at once
    assert stage.pool.dialled == 2
    for exchange in list(stage.pool.waiting):
        stage.pool.cancel(exchange)
    stage.wires[0].answer(1, 3)
    stage.wires[1].answer(3, 5)
    await stage.pool.close()
    assert len(stage.finished) == 5


async def test_connection_at_its_unauthenticated_limit_is_no_reason_to_dial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    stage.streams = 1
    stage.submit(5)
    await until(lambda: stage.open_streams() == [1])
    await asyncio.sleep(0)
    assert stage.pool.dialled == 1
    # The limit is raised in earnest, everything fits.
    stage.wires[0].settings(4)
    assert stage.open_streams() == [4]
    await until(lambda: stage.open_streams() == [4, 1])
    stage.wires[0].settings(1)  # lowered: throttled, however many wait
    stage.submit(20)
    stage.pool.pump()
    assert stage.pool.dialled == 2
    for exchange in list(stage.pool.waiting):
        stage.pool.cancel(exchange)
    stage.wires[0].answer(1, 3, 5, 7)
    stage.wires[1].answer(1)
    await stage.pool.close()


def gated(monkeypatch: pytest.MonkeyPatch) -> asyncio.Semaphore:
    """From now on each dial but the next waits for a permit."""
    permits = asyncio.Semaphore(1)
    open_address = Dialer._open_address

    async def wait_and_open(self: Dialer, attempt: Attempt, seconds: float) -> Link:
        await permits.acquire()
        return await open_address(self, attempt, seconds)

    monkeypatch.setattr(Dialer, "_open_address", wait_and_open)
    return permits


async def test_four_are_dialled_at_a_time_once_the_server_knows_us_and_a_batch_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, max_connections=7, timeout=0.5)
    permits = gated(monkeypatch)
    stage.submit(2 * BATCH)
    await until(lambda: stage.open_streams() == [2])
    await until(lambda: len(stage.pool._dials) == 1)  # nothing has been accepted yet
    stage.wires[0].answer(1)
    await until(lambda: len(stage.pool._dials) == 4)
    assert DIALS == 4
    for _ in range(DIALS):
        permits.release()
    await until(lambda: len(stage.wires) == 1 + DIALS)
    await until(lambda: len(stage.pool._dials) == 2)  # seven in all
    for exchange in list(stage.pool.waiting)[5:]:
        stage.pool.cancel(exchange)
    for _ in range(2):
        permits.release()
    await until(lambda: not stage.pool._dials)
    assert len(stage.wires) <= 7
    await stage.pool.close()


async def test_one_is_dialled_while_fewer_wait_or_what_we_are_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for count, refused in ((10, False), (BATCH + 10, True)):
        with monkeypatch.context() as patch:
            stage = Stage(patch, max_connections=7, timeout=0.5)
            gated(patch)
            stage.submit(count)
            await until(lambda: stage.open_streams() == [2])  # noqa: B023
            block = b"\x20\x08\x03403" if refused else ANSWER
            stage.wires[0].send(frames.encode_frame(frames.HEADERS, 0x5, 1, block))
            await until(lambda: len(stage.finished) == 1)  # noqa: B023
            assert stage.finished[0].status == (403 if refused else 200)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(stage.pool._dials) == 1
            await stage.pool.close()


async def test_after_a_failure_one_is_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=7, timeout=0.5)
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 100.0)
    permits = gated(monkeypatch)
    stage.submit(BATCH + 10)
    await until(lambda: stage.open_streams() == [2])
    stage.wires[0].answer(1)
    await until(lambda: len(stage.pool._dials) == DIALS)
    stage.failures = [ConnectError("refused")] * DIALS
    for _ in range(DIALS):
        permits.release()
    await until(lambda: not stage.failures)
    await until(lambda: len(stage.pool._dials) == 1)
    stage.wires[0].answer(3)
    await asyncio.sleep(0)
    assert len(stage.pool._dials) == 1
    await stage.pool.close()


class FarWire(Wire):
    """Answers the first request of a connection a round trip later, and allows more only then, as APNs does."""

    accepted = False

    def write(self, data: Any) -> None:
        super().write(data)
        streams = self.link.connection.streams
        if streams and not self.accepted:
            self.accepted = True
            asyncio.get_running_loop().call_later(ROUND_TRIP, self.respond, *streams)

    def respond(self, *stream_ids: int) -> None:
        self.answer(*stream_ids)
        self.settings(1000)


@pytest.mark.parametrize(("connections", "seconds"), [(8, 2.0), (16, 5.0)])
def test_many_connections_to_a_far_server_are_soon_there(
    monkeypatch: pytest.MonkeyPatch, connections: int, seconds: float
) -> None:
    """In virtual time: three round trips for TCP, TLS and SETTINGS, and one until the server accepts the credentials."""

    async def open_address(self: Dialer, attempt: Attempt, seconds: float) -> Link:
        await asyncio.sleep(3 * ROUND_TRIP)
        link = self.new_link()
        wire = FarWire(link)
        link.connection_made(wire)
        wire.settings(1)
        await link.ready
        return link

    async def addresses(*_: Any, **__: Any) -> Any:
        return [(0, 0, 0, "", ("192.0.2.1", 443))]

    async def work() -> None:
        stage = Stage(monkeypatch, max_connections=connections, timeout=60.0)
        monkeypatch.setattr(Dialer, "_open_address", open_address)
        monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", addresses)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        stage.submit(connections * 1000, seconds=60.0)
        while sum(link.connection.capacity > 1 for link in stage.pool.links) < connections:
            await asyncio.sleep(ROUND_TRIP / 10)
        assert loop.time() - begun <= seconds
        assert stage.pool.dialled == connections
        for link in list(stage.pool.links):
            link.abort()
        await stage.pool.close()

    virtual.run(work())


async def test_connections_are_opened_ahead_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=5, timeout=0.5)
    await stage.pool.open_ahead(4)
    assert stage.open_streams() == [0, 0, 0, 0]
    assert stage.pool.dialled == 4
    stage.submit(8)
    await until(lambda: sum(stage.open_streams()) == 8)
    assert stage.pool.dialled == 4
    stage.failures = [ConnectError("refused")]
    with pytest.raises(ConnectError, match="refused"):
        await stage.pool.open_ahead(5)
    await stage.pool.close()


async def test_a_pool_has_the_expiries_of_its_credentials() -> None:
    expiries: dict[str, float] = {}
    pools = [
        Pool(
            host="127.0.0.1",
            port=1,
            context=ssl.create_default_context(),
            limits=Limits(),
            max_connections=1,
            expiries=given,
        )
        for given in (expiries, None)
    ]
    expiries["certificate"] = 1.0  # known later, and changed when it is renewed
    assert [pool.expiries for pool in pools] == [{"certificate": 1.0}, {}]


async def test_requests_of_one_tick_are_written_together(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.streams = 100
    stage.submit()
    await until(lambda: stage.open_streams() == [1])
    stage.wires[0].answer(1)
    await asyncio.sleep(0)
    writes = len(stage.wires[0].written)
    stage.submit(20)
    assert stage.open_streams() == [0]
    await asyncio.sleep(0)
    assert stage.open_streams() == [20]
    assert len(stage.wires[0].written) == writes + 1
    stage.wires[0].answer(*range(3, 43, 2))
    await stage.pool.close()


async def test_a_connection_that_is_not_authorised_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    allowed = False
    monkeypatch.setattr(stage.pool, "_authorize", lambda link: allowed)
    stage.submit(2)
    await until(lambda: stage.open_streams() == [0])  # it is dialled all the same
    assert len(stage.pool.waiting) == 2
    await asyncio.sleep(0.01)
    assert stage.pool.dialled == 1
    allowed = True
    stage.pool.pump()
    assert stage.open_streams() == [2]
    stage.wires[0].answer(1, 3)
    await stage.pool.close()
    assert [exchange.status for exchange in stage.finished] == [200, 200]


async def test_a_body_without_credit_goes_to_another_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.streams = 100
    body = b"{" + b" " * 15_000 + b"}"
    stage.submit(5, body)  # four times 15 002 bytes fit a window of 65 535
    await until(lambda: stage.open_streams() == [4, 1])
    stage.wires[0].answer(1, 3, 5, 7)
    stage.wires[1].answer(1)
    await stage.pool.close()
    assert len(stage.finished) == 5


async def test_refused_requests_are_sent_again_elsewhere_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.streams = 3
    sent = stage.submit(3)
    await until(lambda: stage.open_streams() == [3])
    stage.wires[0].send(frames.encode_goaway(1, frames.NO_ERROR))
    await until(lambda: len(stage.wires) == 2 and stage.open_streams() == [1, 2])
    assert list(stage.wires[1].link.connection.streams.values()) == sent[1:]
    stage.wires[0].answer(1)
    stage.wires[1].answer(1, 3)
    assert [exchange.attempts for exchange in sent] == [1, 2, 2]
    assert all(exchange.error is None for exchange in sent)
    await stage.pool.close()
    assert sorted(map(id, stage.finished)) == sorted(map(id, sent))


async def test_refused_five_times_ends_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    (exchange,) = stage.submit()
    for attempt in range(MAX_REFUSALS):
        stream_id = 1 + 2 * attempt

        def is_open(stream_id: int = stream_id) -> bool:
            return bool(stage.wires) and stream_id in stage.wires[0].link.connection.streams

        await until(is_open)
        stage.wires[0].send(frames.encode_rst_stream(stream_id, frames.REFUSED_STREAM))
    assert stage.finished == [exchange]
    assert exchange.attempts == MAX_REFUSALS == 5
    assert exchange.error is not None
    assert exchange.error.unprocessed
    await stage.pool.close()


async def test_refusals_count_only_where_nothing_else_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream refused again and again while others are answered is sent until its deadline; four refusals without
    progress among them are not five."""
    stage = Stage(monkeypatch, max_connections=1)
    (refused,) = stage.submit()
    refusals = MAX_REFUSALS - 1
    for number in range(3 * MAX_REFUSALS):
        await until(lambda: stage.is_open(refused))
        if number < 2 * MAX_REFUSALS or number % 2:
            (other,) = stage.submit()
            await until(lambda other=other: stage.is_open(other))  # type: ignore[misc]
            stage.wires[0].answer(other.stream_id)
        stage.wires[0].send(frames.encode_rst_stream(refused.stream_id, frames.REFUSED_STREAM))
        assert refused not in stage.finished
        assert refused.refusals <= refusals
    await until(lambda: stage.is_open(refused))
    stage.wires[0].answer(refused.stream_id)
    assert (refused.status, refused.error, refused.attempts) == (200, None, 3 * MAX_REFUSALS + 1)
    await stage.pool.close()


async def test_a_retry_for_another_reason_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that an engine has repeated five times is not given up at its first refusal."""
    stage = Stage(monkeypatch)
    (exchange,) = stage.submit()
    exchange.attempts = 10
    await until(lambda: stage.open_streams() == [1])
    stage.wires[0].send(frames.encode_rst_stream(1, frames.REFUSED_STREAM))
    await until(lambda: stage.open_streams() == [1])
    assert exchange.stream_id == 3
    stage.wires[0].answer(3)
    assert (exchange.status, exchange.attempts) == (200, 11)
    await stage.pool.close()


async def leave_after(stage: Stage, number: int, requests: int) -> list[int]:
    """The n-th connection, once it has requests, takes some, says so by GOAWAY and answers them; its stream ids."""
    await until(lambda: len(stage.wires) > number and bool(stage.wires[number].link.connection.streams))
    wire = stage.wires[number]
    opened = list(wire.link.connection.streams)
    wire.send(frames.encode_goaway(2 * requests - 1, frames.NO_ERROR))
    wire.answer(*(stream_id for stream_id in opened if stream_id < 2 * requests))
    return opened


async def test_a_server_that_leaves_after_some_requests_gets_no_more_on_each_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """nginx's `keepalive_requests` below its stream limit: all are accepted, and from the third connection on none is
    refused."""
    stage = Stage(monkeypatch, max_connections=1)
    stage.streams = 20
    sent = stage.submit(40)
    opened = [await leave_after(stage, number, 3) for number in range(13)]
    assert [len(streams) for streams in opened] == [20, 20, *[3] * 11]
    await leave_after(stage, 13, 1)
    assert [exchange.status for exchange in sent] == [200] * 40
    assert max(exchange.attempts for exchange in sent) == 3
    assert max(getattr(exchange, "refusals", 0) for exchange in sent) == 0
    await stage.pool.close()


async def test_as_many_are_dialled_as_what_waits_needs_where_each_takes_a_known_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, max_connections=7, timeout=0.5)
    stage.streams = 20
    permits = gated(monkeypatch)
    permits.release()
    stage.submit(2 * 3 + 7)
    for number in range(2):
        await leave_after(stage, number, 3)
    await until(lambda: len(stage.pool._dials) == 1 + 7 // 3)
    for _ in range(1 + 7 // 3):
        permits.release()
    await until(lambda: sum(stage.open_streams()) == 7)
    assert sorted(stage.open_streams()[2:]) == [1, 3, 3]
    await stage.pool.close()


async def test_a_server_that_takes_one_request_per_connection_is_dialled_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It allows one stream for that reason, and not because it does not know us yet."""
    stage = Stage(monkeypatch, max_connections=5)
    stage.streams = 1
    stage.submit(5)
    for number in range(2):
        await leave_after(stage, number, 1)
    await until(lambda: sorted(stage.open_streams()[2:]) == [0, 1, 1, 1] and not stage.pool._dials)
    stage.submit(2)  # one for the connection that is free, one for a new one
    await asyncio.sleep(0)
    assert len(stage.pool._dials) == 1
    await until(lambda: stage.open_streams()[2:] == [1] * 5)
    for wire in stage.wires[2:]:
        wire.answer(1)
    await stage.pool.close()


async def test_connections_that_leave_after_other_numbers_teach_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two restarts of a server are no limit."""
    stage = Stage(monkeypatch, max_connections=1)
    stage.streams = 20
    stage.submit(40)
    opened = [await leave_after(stage, number, requests) for number, requests in enumerate((3, 4, 5, 6))]
    assert [len(streams) for streams in opened] == [20] * 4
    await stage.pool.close()


async def test_a_limit_that_no_longer_holds_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third connection answers as many as the others took and goes on: it is given the rest."""
    stage = Stage(monkeypatch, max_connections=1)
    stage.streams = 20
    sent = stage.submit(20)
    for number in range(2):
        await leave_after(stage, number, 3)
    await until(lambda: len(stage.wires) == 3 and stage.open_streams()[2] == 3)
    stage.wires[2].answer(1, 3, 5)
    assert stage.pool._timer is not None
    stage.pool._timer.cancel()
    stage.pool._tick()  # it may still end, as the others did
    assert stage.open_streams()[2] == 0
    stage.wires[2].link.connection.last_received -= stage.pool._interval
    stage.pool._timer.cancel()
    stage.pool._tick()
    assert stage.open_streams()[2] == 11
    stage.wires[2].answer(*range(7, 29, 2))
    assert [exchange.status for exchange in sent] == [200] * 20
    await stage.pool.close()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_limit_counts_what_a_connection_has_taken_before(
    monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Also one that has been idle since: it has not shown that it takes more."""
    stage = Stage(monkeypatch, max_connections=1)
    stage.streams = 20
    stage.submit(3 + 3 + 1)
    for number in range(2):
        await leave_after(stage, number, 3)
    await until(lambda: len(stage.wires) == 3 and stage.open_streams()[2] == 1)
    if answered:
        stage.wires[2].answer(1)
        stage.wires[2].link.connection.last_received -= stage.pool._interval
        assert stage.pool._timer is not None
        stage.pool._timer.cancel()
        stage.pool._tick()
    stage.submit(10)
    await until(lambda: stage.open_streams()[2] > 1)
    assert stage.open_streams()[2] == 3 - answered
    assert len(stage.pool.waiting) == 8
    stage.pool.pump()  # it has had all that it will process
    assert (stage.open_streams()[2], len(stage.pool.waiting)) == (3 - answered, 8)
    stage.wires[2].abort()
    await stage.pool.close()


async def test_a_limit_above_the_free_streams_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=1)
    stage.streams = 20
    sent = stage.submit(3 + 3 + 7)
    for number in range(2):
        await leave_after(stage, number, 3)
    stage.streams = 2
    await until(lambda: len(stage.wires) == 3 and stage.open_streams()[2] == 2)
    assert list(stage.pool.waiting) == sent[8:]
    stage.wires[2].abort()
    await stage.pool.close()


async def test_a_server_that_resets_all_after_some_requests_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sends no GOAWAY: another connection takes the rest, and nothing ends UNSENT."""
    stage = Stage(monkeypatch, max_connections=1)
    sent = stage.submit(3 * MAX_REFUSALS)
    number = 0
    while len(stage.finished) < len(sent):
        await until(lambda number=number: len(stage.wires) > number and stage.open_streams()[number] > 0)  # type: ignore[misc]
        wire = stage.wires[number]
        wire.answer(next(iter(wire.link.connection.streams)))
        rounds = 0
        while (
            streams := wire.link.connection.streams
        ) and wire.link.connection.state is ConnectionState.OPEN:
            wire.send(b"".join(frames.encode_rst_stream(key, frames.REFUSED_STREAM) for key in streams))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            rounds += 1
        if number == 0:  # the last ones have fewer requests than rounds
            assert rounds == 1 + REFUSAL_ROUNDS
        number += 1
    assert number == len(sent)
    assert [exchange.status for exchange in sent] == [200] * len(sent)
    await stage.pool.close()


@pytest.mark.parametrize("last", [0, 1])
async def test_a_server_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """GOAWAY for everything on every connection ends after five; one that takes a request each time makes progress."""
    stage = Stage(monkeypatch, max_connections=1)
    monkeypatch.setattr(dialer, "LONGEST_PAUSE", 0.001)
    sent = stage.submit(2)
    number = 0
    while len(stage.finished) < 2:
        await until(lambda number=number: len(stage.wires) > number and stage.open_streams()[number] > 0)  # type: ignore[misc]
        stage.wires[number].send(frames.encode_goaway(last, frames.NO_ERROR))
        if last:
            stage.wires[number].answer(1)
        number += 1
    assert number == (2 if last else MAX_REFUSALS)
    assert [exchange.error is None for exchange in sent] == [bool(last)] * 2
    await stage.pool.close()


async def test_a_lost_connection_loses_what_was_written_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    written = stage.submit(2)
    await until(lambda: stage.open_streams() == [2])
    await until(lambda: stage.wires[0].link.connection.written_id == 5)
    waiting = stage.submit(1)
    stage.wires[0].abort()
    await until(lambda: len(stage.finished) == 2)
    assert {id(exchange) for exchange in stage.finished} == {id(exchange) for exchange in written}
    assert all(exchange.error and not exchange.error.unprocessed for exchange in written)
    await until(lambda: stage.open_streams()[-1] == 1 and len(stage.wires) == 2)
    stage.wires[1].answer(1)
    assert waiting[0].status == 200
    await stage.pool.close()


async def test_a_permanent_error_ends_all_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.failures = [AlpnError("no h2")]
    heard: list[int] = []
    stage.pool.listeners.append(lambda: heard.append(len(stage.finished)))
    sent = stage.submit(3)
    await until(lambda: len(stage.finished) == 3)
    assert heard == [3]
    assert all(isinstance(exchange.error, AlpnError) and exchange.attempts == 0 for exchange in sent)
    await stage.pool.close()


@pytest.mark.parametrize(
    "failure", [UnicodeError("label empty or too long"), MemoryError(), RuntimeError("a bug")]
)
async def test_a_dial_that_fails_for_any_reason_is_followed_by_a_pause(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It was dialled again at once, thousands of times a second. One without a name of ours is logged with its traceback."""
    stage = Stage(monkeypatch)
    stage.failures = [failure] * 1000
    (exchange,) = stage.submit(seconds=0.4)
    await until(lambda: bool(stage.finished))
    assert isinstance(exchange.error, ConnectError | ResponseTimeout)
    assert exchange.error.unprocessed
    assert stage.pool.dialled < 10
    named = isinstance(failure, UnicodeError)
    assert {record.exc_info is None for record in caplog.records if record.levelname == "ERROR"} == (
        set() if named else {False}
    )
    await stage.pool.close()


async def test_a_passing_error_is_dialled_again_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    stage.failures = [ConnectError("refused"), OSError(101, "Network is unreachable")]
    stage.submit(2)
    await until(lambda: stage.open_streams() == [2])
    assert stage.pool.dialled == 3
    assert stage.pool.last_error is None
    stage.wires[0].answer(1, 3)
    await stage.pool.close()
    assert len(stage.finished) == 2


@pytest.mark.slow
async def test_unwritten_at_its_deadline_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, timeout=0.2)
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
    stage.failures = [ConnectError("nobody listens")]
    (exchange,) = stage.submit(seconds=0.4)
    await until(lambda: bool(stage.finished))
    assert isinstance(exchange.error, ResponseTimeout)
    assert exchange.error.unprocessed
    assert "nobody listens" in str(exchange.error)
    assert exchange.attempts == 0
    await stage.pool.close()


async def test_a_connection_that_did_nothing_for_us_is_not_replaced_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
    stage.submit()
    await until(lambda: stage.open_streams() == [1])
    stage.wires[0].send(frames.encode_goaway(0, frames.ENHANCE_YOUR_CALM))
    await until(lambda: not stage.pool.links)
    assert stage.pool.dialer._not_before - asyncio.get_running_loop().time() > 20
    assert stage.pool.dialled == 1
    await stage.pool.close()
    assert len(stage.finished) == 1  # answered by close, as UNSENT
    assert stage.finished[0].error is not None
    assert stage.finished[0].error.unprocessed


async def test_a_connection_that_a_serving_server_sends_away_at_once_is_soon_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, max_connections=1)
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
    first, second = stage.submit(2)
    await until(lambda: stage.open_streams() == [2])
    stage.wires[0].send(frames.encode_goaway(1, frames.NO_ERROR))
    stage.wires[0].answer(1)
    await until(lambda: len(stage.wires) == 2 and stage.open_streams()[1] == 1)
    stage.wires[1].send(frames.encode_goaway(0, frames.NO_ERROR))
    await until(lambda: len(stage.wires) == 3 and stage.open_streams()[2] == 1, 2.0)
    stage.wires[2].send(frames.encode_goaway(0, frames.NO_ERROR))  # and once more
    await until(lambda: not stage.pool.links)
    assert stage.pool.dialer._not_before - asyncio.get_running_loop().time() > 20
    await stage.pool.close()
    assert first.status == 200
    assert second.error is not None


async def test_close_waits_for_answers_and_tells_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=1)
    stage.submit(3)
    await until(lambda: stage.open_streams() == [2])
    closing = asyncio.create_task(stage.pool.close())
    await until(lambda: len(stage.finished) == 1)
    assert isinstance(stage.finished[0].error, ConnectError)
    stage.wires[0].answer(1, 3)
    await closing
    assert len(stage.finished) == 3
    assert stage.wires[0].closed


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_close_waits_for_the_sockets(monkeypatch: pytest.MonkeyPatch, says_goodbye: bool) -> None:
    """Whoever closes a client may end the event loop next, and a socket would be left open."""
    monkeypatch.setattr(pool, "HANG_UP", 5.0 if says_goodbye else 0.01)
    stage = Stage(monkeypatch, max_connections=1)
    stage.submit(1)
    await until(lambda: stage.open_streams() == [1])
    (wire,) = stage.wires
    wire.polite = True
    wire.answer(1)
    closing = asyncio.create_task(stage.pool.close())
    await until(lambda: wire.closed)
    assert not stage.pool.links
    if says_goodbye:
        await asyncio.sleep(0)
        assert not closing.done()
        wire.hung_up()
    await closing
    assert wire.link.gone.done()


async def test_cancelling_resets_the_stream_and_frees_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=1)
    first, second, third = stage.submit(3)
    await until(lambda: stage.open_streams() == [2])
    stage.pool.cancel(first)
    assert list(stage.wires[0].link.connection.streams.values()) == [second, third]
    stage.wires[0].answer(3, 5)
    assert stage.finished == [second, third]
    await stage.pool.close()


async def test_renewed_connections_drain_and_new_ones_take_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, max_connections=2)
    stage.submit(6)
    await until(lambda: stage.open_streams() == [2, 2])
    old = stage.wires[:2]
    context = ssl.create_default_context()
    stage.pool.renew(context)
    assert all(wire.link.connection.retired for wire in old)  # their 403s are for the old credentials
    assert stage.pool.dialer._context is context
    await until(lambda: stage.open_streams() == [2, 2, 2])
    assert [wire.closed for wire in old] == [False, False]
    for wire in stage.wires:
        wire.answer(1, 3)
    await until(lambda: len(stage.finished) == 6)
    assert [exchange.error for exchange in stage.finished] == [None] * 6
    assert [exchange.attempts for exchange in stage.finished] == [1] * 6
    assert [wire.closed for wire in old] == [True, True]
    assert stage.pool.links == [stage.wires[2].link]
    await stage.pool.close()


async def test_a_renewed_connection_without_requests_is_closed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    stage.submit(1)
    await until(lambda: stage.open_streams() == [1])
    stage.wires[0].answer(1)
    stage.pool.renew(ssl.create_default_context())
    assert stage.wires[0].closed
    assert stage.pool.links == []
    await stage.pool.close()


async def test_a_dial_with_what_was_replaced_is_given_up_and_so_is_its_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch)
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 1000.0)
    stage.failures.append(ConnectionLost("the server closed the connection"))
    stage.submit(1)
    await until(lambda: stage.pool.last_error is not None and len(stage.pool._dials) > 0)
    assert not stage.wires
    stage.pool.renew(ssl.create_default_context())
    await until(lambda: stage.open_streams() == [1])
    await stage.pool.close()
