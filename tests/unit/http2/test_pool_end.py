"""What a pool does when time is over: deadlines, closing, an event loop that has ended; and what it tells of its connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pushcore.errors import ConnectError, ConnectionLost, GoAway, ResponseTimeout
from pushcore.http2 import dialer, frames
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import NO_FIELDS, Exchange, request
from pushcore.http2.pool import BATCH, Pool
from pushcore.http2.protocol import Link
from pushcore.http2.streams import Limits
from pushcore.metrics import Listener, Listeners
from tests.support import virtual
from tests.unit.http2.test_pool import TEMPLATE, Stage, until
from tests.unit.http2.test_pool_silence import frames_in

HOST = "127.0.0.1"


def in_virtual_time(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Stage], Awaitable[None]],
    timeout: float = 5.0,
    max_connections: int = 3,
) -> None:
    """Run a test of a pool in virtual time."""

    async def addresses(*_: Any, **__: Any) -> Any:
        return [(0, 0, 0, "", (HOST, 1))]

    async def staged() -> None:
        await work(Stage(monkeypatch, timeout=timeout, max_connections=max_connections))

    monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", addresses)
    virtual.run(staged())


def now() -> float:
    return asyncio.get_running_loop().time()


# --- deadlines ----------------------------------------------------------------------------------------------------


def test_a_request_without_a_connection_ends_at_its_deadline_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(stage: Stage) -> None:
        heard: list[int] = []
        stage.pool.listeners.append(lambda: heard.append(len(stage.finished)))
        monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
        stage.failures = [ConnectError("nobody listens")]
        begun = now()
        first, second = stage.submit(seconds=1.0)[0], stage.submit(seconds=2.0)[0]
        await until(lambda: bool(stage.finished))
        assert 1.0 <= now() - begun < 1.3
        assert stage.finished == [first]
        assert heard == [1]
        assert isinstance(first.error, ResponseTimeout)
        assert first.error.unprocessed
        assert str(first.error) == f"the request was not written in time: nobody listens ({HOST})"
        assert first.attempts == 0
        await until(lambda: len(stage.finished) == 2)
        assert 2.0 <= now() - begun < 2.3
        assert second.attempts == 0
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_a_request_that_waits_for_a_server_that_is_going_away_ends_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(stage: Stage) -> None:
        monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
        stage.failures = [GoAway(frames.INTERNAL_ERROR, b"", unprocessed=False, reason="Shutdown")]
        (exchange,) = stage.submit(seconds=1.0)
        await until(lambda: bool(stage.finished))
        assert isinstance(exchange.error, GoAway)
        assert (exchange.error.code, exchange.error.reason) == (frames.INTERNAL_ERROR, "Shutdown")
        assert exchange.error.unprocessed
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


@pytest.mark.parametrize(
    ("timeout", "seconds", "late"), [(60.0, 1.1, 0.5), (60.0, 1.6, 0.5), (5.0, 1.1, 0.25), (0.1, 0.055, 0.01)]
)
def test_a_request_without_a_response_ends_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch, timeout: float, seconds: float, late: float
) -> None:
    async def work(stage: Stage) -> None:
        (exchange,) = stage.submit(seconds=seconds)
        begun = now()
        await until(lambda: bool(stage.finished))
        assert seconds <= now() - begun < seconds + late + 0.002
        assert isinstance(exchange.error, ResponseTimeout)
        assert not exchange.error.unprocessed
        await stage.pool.close()

    in_virtual_time(monkeypatch, work, timeout)


# --- closing ------------------------------------------------------------------------------------------------------


def test_deadlines_hold_while_a_pool_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        (exchange,) = stage.submit(seconds=2.0)
        await until(lambda: stage.open_streams() == [1])
        begun = now()
        await stage.pool.close()
        assert now() - begun < 2.5
        assert isinstance(exchange.error, ResponseTimeout)

    in_virtual_time(monkeypatch, work)


def test_a_pool_hangs_up_at_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        (exchange,) = stage.submit(seconds=60.0)
        await until(lambda: stage.open_streams() == [1])
        assert not stage.pool.closed
        (wire,) = stage.wires
        begun = now()
        closing = asyncio.create_task(stage.pool.close())
        await until(lambda: frames_in(wire.written)[frames.PING] == 1)
        wire.send(frames.encode_ping(b"pushcore", ack=True))
        await closing
        assert 5.0 <= now() - begun < 5.5
        assert wire.closed
        assert frames_in(wire.written)[frames.GOAWAY] == 1
        assert stage.finished == [exchange]
        assert exchange.error is not None
        assert not exchange.error.unprocessed
        assert stage.pool.closed
        assert stage.pool.links == []

    in_virtual_time(monkeypatch, work)


def test_a_pool_without_open_requests_closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        stage.submit(1)
        await until(lambda: stage.open_streams() == [1])
        stage.wires[0].answer(1)
        begun = now()
        await stage.pool.close()
        assert now() == begun
        assert stage.wires[0].closed

    in_virtual_time(monkeypatch, work)


def test_what_is_submitted_to_a_closed_pool_is_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        await stage.pool.close()
        (exchange,) = stage.submit()
        assert stage.finished == []
        stage.pool.pump()
        assert not stage.pool._dials
        await until(lambda: bool(stage.finished))
        assert str(exchange.error) == "the client was closed before this request was sent"
        assert exchange.attempts == 0
        assert stage.pool.dialled == 0

    in_virtual_time(monkeypatch, work)


def test_what_waits_when_a_pool_closes_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        _, _, third = stage.submit(3)
        await until(lambda: stage.open_streams() == [2])
        begun = now()
        closing = asyncio.create_task(stage.pool.close())
        await until(lambda: stage.finished == [third])
        assert now() - begun < 0.1
        stage.wires[0].answer(1, 3)
        await closing

    in_virtual_time(monkeypatch, work, max_connections=1)


def test_a_close_that_is_cancelled_ends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
        stage.failures = [ConnectError("nobody listens")]
        (exchange,) = stage.submit()
        await until(lambda: not stage.failures and bool(stage.pool._dials))  # the second dial pauses
        closing = asyncio.create_task(stage.pool.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert stage.finished == [exchange]
        assert str(exchange.error) == "the client was closed before this request was sent"

    in_virtual_time(monkeypatch, work)


def test_what_a_server_refuses_while_a_pool_closes_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        refused, answered = stage.submit(2)
        await until(lambda: stage.open_streams() == [2])
        closing = asyncio.create_task(stage.pool.close())
        await asyncio.sleep(0.1)
        stage.wires[0].send(frames.encode_rst_stream(1, frames.REFUSED_STREAM))
        assert stage.finished == [refused]
        assert refused.error is not None
        assert refused.error.unprocessed
        stage.wires[0].answer(3)
        await closing
        assert answered.status == 200
        assert stage.pool.dialled == 1

    in_virtual_time(monkeypatch, work)


def test_nothing_is_kept_of_connections_whose_sockets_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        for number in range(3):
            stage.submit()
            await until(lambda number=number: len(stage.wires) > number and stage.open_streams()[number] == 1)  # type: ignore[misc]
            wire = stage.wires[number]
            wire.polite = True
            wire.send(frames.encode_goaway(1, frames.NO_ERROR))
            wire.answer(1)
            assert (stage.pool.links, stage.pool._leaving) == ([], {wire.link})
            wire.hung_up()
            await until(lambda: not stage.pool._leaving)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_closing_ends_a_dial_and_leaves_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        monkeypatch.setattr(dialer, "FIRST_PAUSE", 60.0)
        stage.failures = [ConnectError("nobody listens")]
        (exchange,) = stage.submit(seconds=60.0)
        await until(lambda: stage.pool.last_error is not None)
        await asyncio.sleep(0.1)  # the next dial pauses
        begun = now()
        await stage.pool.close()
        assert now() == begun
        timers: list[asyncio.TimerHandle] = vars(asyncio.get_running_loop())["_scheduled"]
        assert [timer for timer in timers if not timer.cancelled()] == []
        assert str(exchange.error) == "the client was closed before this request was sent"

    in_virtual_time(monkeypatch, work)


async def test_a_failure_that_nobody_waits_for_is_not_reported_by_the_event_loop() -> None:
    """The dial may have been cancelled."""
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    link = Link(Connection(Limits(), 0.0), lambda link: None)
    link.connection_lost(None)
    assert link.ready.done()
    del link
    gc.collect()
    assert reports == []


@pytest.mark.parametrize("leaving", [False, True])
def test_the_sockets_of_a_pool_whose_event_loop_has_ended_are_closed(leaving: bool) -> None:
    """Without a ResourceWarning, which is an error here."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    progress: list[Link] = []

    async def connect() -> tuple[Pool, Link]:
        pool = Pool(
            host=HOST, port=1, context=ssl.create_default_context(), limits=Limits(), max_connections=1
        )
        loop = asyncio.get_running_loop()
        _, link = await loop.create_connection(
            lambda: Link(Connection(Limits(), loop.time()), progress.append), sock=ours
        )
        if leaving:
            pool._leaving.add(link)
        else:
            pool.links.append(link)
        return pool, link

    loop = asyncio.new_event_loop()
    pool, link = loop.run_until_complete(connect())
    loop.close()
    progress.clear()
    ended: list[Exchange] = []
    unsent, unanswered = (request(TEMPLATE, b"/x", b"{}", NO_FIELDS, ended.extend) for _ in range(2))
    pool.waiting.append(unsent)
    link.connection.streams[1] = unanswered
    link.connection.next_id = link.connection.written_id = 3
    for _ in range(2):  # the second time there is nothing to do
        pool.abandon()
        assert ours.fileno() == -1
        assert (pool.closed, pool.links, pool._leaving) == (True, [], set())
        assert not pool.waiting
        assert ended == []  # the tasks of their sinks have ended with the loop
    assert theirs.recv(10_000).startswith(frames.PREFACE)
    with contextlib.suppress(ConnectionResetError):
        assert theirs.recv(1) == b""
    theirs.close()
    assert progress == []
    assert "call_soon" not in vars(loop)
    link.abort()  # nothing is left to abort


# --- which connection takes the next request, and when ----------------------------------------------------------------------


def test_the_connection_that_took_the_last_request_takes_the_next_whatever_another_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(stage: Stage) -> None:
        stage.submit(6)
        await until(lambda: stage.open_streams() == [2, 2, 2])
        for wire in stage.wires:
            wire.answer(1, 3)
        last = next(wire for wire in stage.wires if wire.link is stage.pool._current)
        other, gone = [wire for wire in stage.wires if wire is not last]
        if stage.wires.index(other) > stage.wires.index(last):
            other, gone = gone, other
        assert stage.wires.index(other) < stage.wires.index(last)
        gone.abort()
        await until(lambda: len(stage.pool.links) == 2)
        stage.submit()
        await until(lambda: sum(stage.open_streams()) == 1)
        assert len(last.link.connection.streams) == 1
        last.abort()
        await until(lambda: stage.pool.links == [other.link])
        stage.submit()
        await until(lambda: len(other.link.connection.streams) == 1)
        other.answer(5)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_each_connection_is_asked_once_for_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        asked: list[Link] = []

        def authorize(link: Link) -> bool:
            asked.append(link)
            return False

        stage.submit(3)
        await until(lambda: stage.open_streams() == [2, 1])
        first, second = stage.wires
        first.answer(1)
        stage.pool._authorize = authorize
        stage.submit()
        await asyncio.sleep(0)
        assert asked == [second.link, first.link]  # that of the last request comes first
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_a_connection_that_can_take_nothing_is_not_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without window for the body: the one that took the last request is still first."""

    async def work(stage: Stage) -> None:
        stage.submit(3)
        await until(lambda: stage.open_streams() == [2, 1])
        first, second = stage.wires
        first.answer(1)
        assert stage.pool._current is second.link
        for wire in stage.wires:
            connection = wire.link.connection
            assert isinstance(connection, Connection)
            connection.window = 1
        (large,) = stage.submit(body=b"{}")
        await asyncio.sleep(0)
        assert list(stage.pool.waiting) == [large]
        stage.pool.cancel(large)
        stage.submit(body=b"1")
        await until(lambda: stage.open_streams() == [1, 2])
        first.answer(3)
        second.answer(1, 3)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work, max_connections=2)


def test_a_connection_that_drains_changes_nothing_for_the_preferred_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(stage: Stage) -> None:
        stage.submit(5)
        await until(lambda: stage.open_streams() == [2, 2, 1])
        first, second, _ = stage.wires
        first.answer(1)
        second.send(frames.encode_goaway(3, frames.NO_ERROR))
        stage.submit()
        await until(lambda: stage.open_streams() == [1, 2, 2])
        for wire in stage.wires:
            wire.answer(*wire.link.connection.streams)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_a_connection_that_was_opened_ahead_is_pinged_when_it_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(stage: Stage) -> None:
        await stage.pool.open_ahead(1)
        (wire,) = stage.wires
        await asyncio.sleep(3590.0)
        assert frames_in(wire.written)[frames.PING] == 0
        await asyncio.sleep(20.0)
        assert frames_in(wire.written)[frames.PING] == 1
        await stage.pool.close()

    in_virtual_time(monkeypatch, work, timeout=100.0)


def test_a_batch_of_requests_is_written_before_the_tick_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        stage.streams = 1000
        stage.submit()
        await until(lambda: stage.open_streams() == [1])
        await asyncio.sleep(0)
        (wire,) = stage.wires
        wire.written.clear()
        stage.submit(BATCH - 1)
        assert wire.written == []
        stage.submit()
        assert frames_in(wire.written)[frames.HEADERS] == BATCH
        stage.submit(3)
        assert frames_in(wire.written)[frames.HEADERS] == BATCH
        await asyncio.sleep(0)
        assert frames_in(wire.written)[frames.HEADERS] == BATCH + 3
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_a_waiting_request_that_is_cancelled_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        heard: list[int] = []
        first, second = stage.submit(2)
        stage.pool.listeners.append(lambda: heard.append(len(stage.pool.waiting)))
        stage.pool.cancel(first)
        assert (list(stage.pool.waiting), heard) == ([second], [1])
        stage.pool.cancel(first)  # it is not there any more
        assert (list(stage.pool.waiting), heard) == ([second], [1])
        await until(lambda: stage.open_streams() == [1])
        assert stage.is_open(second)
        await stage.pool.close()
        assert stage.finished == [second]

    in_virtual_time(monkeypatch, work)


def test_listeners_hear_that_a_response_has_freed_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        heard: list[list[int]] = []
        stage.submit(2)
        await until(lambda: stage.open_streams() == [2])
        stage.pool.listeners.append(lambda: heard.append(stage.open_streams()))
        stage.wires[0].answer(1)
        assert heard == [[1]]
        stage.wires[0].answer(3)
        assert heard == [[1], [0]]
        stage.pool.listeners.clear()
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_one_connection_that_leaves_after_one_request_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        stage.streams = 20
        stage.submit(60)
        await until(lambda: stage.open_streams() == [20, 20, 20])
        stage.wires[0].send(frames.encode_goaway(1, frames.NO_ERROR))
        stage.wires[0].answer(1)
        await until(lambda: len(stage.wires) == 4 and stage.open_streams()[3] == 19)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_what_a_new_connection_takes_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        stage.streams = 1
        begun = now()
        stage.submit()
        await until(lambda: bool(stage.wires) and frames_in(stage.wires[0].written)[frames.HEADERS] == 1)
        assert now() - begun < 0.1
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_what_waits_is_written_at_once_by_a_connection_that_can_take_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While another one reports progress."""

    async def work(stage: Stage) -> None:
        stage.submit(5)
        await until(lambda: stage.open_streams() == [2, 2, 1])
        stage.submit(2)
        await until(lambda: stage.open_streams() == [2, 2, 2])
        assert len(stage.pool.waiting) == 1
        first, second, _ = stage.wires
        second.link.connection.cancel(next(iter(second.link.connection.streams.values())))
        second.written.clear()
        first.link.tick(now())
        await asyncio.sleep(0)
        assert not stage.pool.waiting
        assert frames_in(second.written)[frames.HEADERS] == 1
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_connections_that_are_leaving_are_replaced_until_they_are_as_many_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that sends GOAWAY and answers slowly holds sockets; what waits is no reason for any number of them."""

    async def work(stage: Stage) -> None:
        stage.submit(20, seconds=60.0)
        for number in range(6):
            await until(lambda number=number: len(stage.wires) > number and stage.open_streams()[number] == 2)  # type: ignore[misc]
            stage.wires[number].send(frames.encode_goaway(3, frames.NO_ERROR))
        await asyncio.sleep(1.0)
        assert stage.pool.dialled == 6
        stage.wires[0].answer(1, 3)
        await until(lambda: len(stage.wires) == 7)
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


# --- what is told of connections ----------------------------------------------------------------------------------


class Events(Listener):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def connection_opened(self, provider: str, host: str) -> None:
        self.told.append(("opened", provider, host))

    def connection_failed(self, provider: str, host: str, error: Exception) -> None:
        self.told.append(("failed", provider, host, str(error)))

    def connection_closed(self, provider: str, host: str, error: Exception | None) -> None:
        self.told.append(("closed", provider, host, error and type(error)))

    def goaway(self, provider: str, host: str, code: int, reason: str | None) -> None:
        self.told.append(("goaway", provider, host, code, reason))


def test_listeners_hear_of_a_goaway_instead_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(stage: Stage) -> None:
        events = Events()
        stage.pool.events = Listeners(events)
        stage.failures = [GoAway(frames.ENHANCE_YOUR_CALM, b"", unprocessed=False, reason="Overload")]
        with pytest.raises(GoAway) as caught:
            await stage.pool.open_ahead(1)
        assert events.told == [
            ("goaway", HOST, HOST, frames.ENHANCE_YOUR_CALM, "Overload"),
            ("failed", HOST, HOST, str(caught.value)),
        ]
        await stage.pool.close()

    in_virtual_time(monkeypatch, work)


def test_listeners_and_the_log_hear_of_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(stage: Stage) -> None:
        events = Events()
        stage.pool.events = Listeners(events)

        def told() -> tuple[list[tuple[Any, ...]], list[tuple[str, str]]]:
            lines = [(record.levelname, record.getMessage()) for record in caplog.records]
            caplog.clear()
            told, events.told = events.told, []
            return told, lines

        stage.failures = [ConnectError("nobody listens")]
        first, second = stage.submit(2)
        await until(lambda: stage.open_streams() == [2])
        assert told() == (
            [("failed", HOST, HOST, f"nobody listens ({HOST})"), ("opened", HOST, HOST)],
            [
                ("WARNING", f"cannot connect to {HOST} port 1: nobody listens ({HOST})"),
                ("INFO", f"connected to {HOST} port 1"),
            ],
        )
        reason = b'{"reason":"Shutdown"}'
        stage.wires[0].send(frames.encode_goaway(3, frames.NO_ERROR, reason))
        stage.wires[0].answer(1, 3)
        closed, lines = told()
        assert closed == [
            ("goaway", HOST, HOST, frames.NO_ERROR, "Shutdown"),
            ("closed", HOST, HOST, type(stage.wires[0].link.connection.error)),
        ]
        assert lines == [("INFO", f"the server sent GOAWAY: {stage.wires[0].link.connection.error}")]
        stage.submit()
        await until(lambda: stage.open_streams() == [0, 1])
        told()
        stage.wires[1].answer(1)
        stage.wires[1].abort()
        await until(lambda: not stage.pool.links)
        assert told() == (
            [("closed", HOST, HOST, ConnectionLost)],
            [("INFO", "connection ended: the server closed the connection")],
        )
        stage.submit()
        await until(lambda: stage.open_streams() == [0, 0, 1])
        told()
        stage.wires[2].answer(1)
        await stage.pool.close()
        assert told() == ([("closed", HOST, HOST, None)], [])
        assert [first.status, second.status] == [200, 200]

    caplog.set_level(logging.INFO, "pushcore.http2")
    in_virtual_time(monkeypatch, work)
