"""The pool after a long silence: connections are probed before they get requests, and no more of them than are needed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from pushcore.http2 import frames
from pushcore.http2.exchange import Exchange
from pushcore.http2.protocol import Link
from pushcore.http2.streams import LONG_SILENCE
from tests.unit.http2.test_pool import Stage, Wire, until

PING, HEADERS = frames.PING, frames.HEADERS
ACK = frames.encode_ping(b"pushcore", ack=True)


def frames_in(written: list[bytes]) -> Counter[int]:
    """How many frames of each kind were written."""
    raw, kinds = b"".join(written).removeprefix(frames.PREFACE), Counter[int]()
    while raw:
        word = frames.HEAD.unpack_from(raw)[0]
        kinds[word & 0xFF] += 1
        raw = raw[frames.HEAD_SIZE + (word >> 8) :]
    return kinds


async def silent(
    monkeypatch: pytest.MonkeyPatch, connections: int, idle_ping: float | None = 3600.0
) -> Stage:
    """A pool whose connections have two streams each, all free, and have heard nothing for a long time."""
    stage = Stage(monkeypatch, max_connections=connections, timeout=1.0, idle_ping=idle_ping)
    stage.submit(2 * connections)
    await until(lambda: [frames_in(wire.written)[HEADERS] for wire in stage.wires] == [2] * connections)
    for wire in stage.wires:
        wire.answer(1, 3)
        wire.written.clear()
    stage.finished.clear()
    fall_silent(stage)
    return stage


def fall_silent(stage: Stage) -> None:
    for wire in stage.wires:
        wire.link.connection.last_received -= LONG_SILENCE


def unknown(finished: list[Exchange]) -> int:
    return sum(exchange.error is not None and not exchange.error.unprocessed for exchange in finished)


def answer_all(stage: Stage) -> None:
    """Every server but the first answers what it has."""
    for wire in stage.wires[1:]:
        wire.answer(*wire.link.connection.streams)


async def test_a_ping_goes_first_and_the_requests_follow_its_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 1)
    (wire,) = stage.wires
    stage.submit(5)
    await until(lambda: bool(wire.written))
    assert frames_in(wire.written) == {PING: 1}
    wire.send(ACK)
    await until(lambda: stage.open_streams() == [2])
    assert stage.pool.dialled == 1
    await stage.pool.close()


async def test_one_connection_is_probed_for_as_many_requests_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 3)
    stage.submit(2)
    await asyncio.sleep(0)
    assert sum(link.connection.probing for link in stage.pool.links) == 1
    await stage.pool.close()


async def test_a_ping_leaves_in_the_same_tick_however_requests_came(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine appends to `waiting` and calls `pump`, which does not write by itself."""
    stage = await silent(monkeypatch, 1)
    (wire,) = stage.wires
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # what the last responses had scheduled is over
    monkeypatch.setattr(stage.pool, "submit", stage.pool.waiting.append)
    stage.submit(1)
    stage.pool.pump()
    assert wire.written == []
    await asyncio.sleep(0)
    assert frames_in(wire.written) == {PING: 1}
    await stage.pool.close()


async def test_a_burst_into_a_dead_connection_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = await silent(monkeypatch, 1)
    stage.streams = 3000
    exchanges = stage.submit(3000)
    await until(lambda: stage.open_streams() == [0, 3000])
    assert frames_in(stage.wires[0].written)[HEADERS] == 0
    answer_all(stage)
    assert stage.finished == exchanges
    assert unknown(stage.finished) == 0
    assert {exchange.attempts for exchange in exchanges} == {1}
    assert len(stage.pool.links) == 1
    await stage.pool.close()


async def test_a_peer_that_must_not_be_pinged_gets_one_request_until_its_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 1, idle_ping=None)
    (wire,) = stage.wires
    stage.submit(5)
    await until(lambda: stage.open_streams() == [1])
    assert frames_in(wire.written) == {HEADERS: 1, frames.DATA: 1}
    wire.answer(5)
    await until(lambda: stage.open_streams() == [2])
    assert stage.pool.dialled == 1
    await stage.pool.close()


async def test_a_burst_into_dead_connections_that_must_not_be_pinged_loses_one_request_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 3, idle_ping=None)
    stage.streams = 3000
    stage.submit(3000)
    await until(lambda: sum(stage.open_streams()[3:]) == 2997)
    assert stage.open_streams()[:3] == [1, 1, 1]
    answer_all(stage)
    await until(lambda: len(stage.finished) == 3000)
    assert unknown(stage.finished) <= 3
    assert all(frames_in(wire.written)[HEADERS] == 1 for wire in stage.wires[:3])
    await stage.pool.close()


async def test_no_more_connections_are_probed_than_could_take_what_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 3)
    for _ in range(2):  # in two ticks of the loop
        stage.submit(1)
        await until(lambda: any(wire.written for wire in stage.wires))
    assert sum((frames_in(wire.written) for wire in stage.wires), Counter()) == {PING: 1}
    stage.submit(1)
    await until(lambda: sum(bool(wire.written) for wire in stage.wires) == 2)
    assert sum((frames_in(wire.written) for wire in stage.wires), Counter()) == {PING: 2}
    assert stage.pool.dialled == 3
    for wire in stage.wires:
        if wire.written:
            wire.send(ACK)
    await until(lambda: sum(stage.open_streams()) == 3)
    await stage.pool.close()


async def test_a_connection_that_was_heard_of_takes_requests_while_others_are_probed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 3)
    alive = stage.wires[1]
    alive.send(frames.encode_ping(b"theirs!!"))
    alive.written.clear()
    stage.submit(2)
    await until(lambda: stage.open_streams() == [0, 2, 0])
    assert not alive.link.connection.probing
    await stage.pool.close()


async def test_requests_during_an_idle_ping_wait_for_its_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = await silent(monkeypatch, 1, idle_ping=30.0)
    (wire,) = stage.wires
    await until(lambda: bool(wire.written))  # at the next tick of the pool
    assert frames_in(wire.written) == {PING: 1}
    stage.submit(1)
    await asyncio.sleep(0)
    assert frames_in(wire.written) == {PING: 1}
    wire.send(ACK)
    await until(lambda: stage.open_streams() == [1])
    assert stage.pool.dialled == 1
    await stage.pool.close()


@pytest.mark.parametrize("idle_ping", [3600.0, None])
async def test_requests_that_may_not_be_sent_yet_probe_no_connection(
    idle_ping: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FCM's requests wait for an access token, and a connection whose token is refused is left."""
    stage = await silent(monkeypatch, 1, idle_ping)
    allowed = False

    def authorize(link: Link) -> bool:
        return allowed

    stage.pool._authorize = authorize
    (wire,) = stage.wires
    stage.submit(1)
    await asyncio.sleep(0.1)
    assert not wire.written
    allowed = True
    stage.pool.pump()
    await until(lambda: bool(wire.written))
    await stage.pool.close()


async def test_a_connection_that_is_left_for_its_token_is_not_probed(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = await silent(monkeypatch, 1)
    (wire,) = stage.wires

    def authorize(link: Link) -> None:
        if link is wire.link:
            link.connection.drain()

    stage.pool._authorize = authorize
    stage.submit(1)
    await until(lambda: stage.open_streams() == [0, 1])
    assert frames_in(wire.written)[PING] == 0
    await stage.pool.close()


async def test_a_connection_that_does_not_answer_its_first_request_is_no_reason_to_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server allows one stream until then, and no other connection is opened while it may yet allow more."""
    stage = Stage(monkeypatch, timeout=1.0)
    stage.streams = 1
    stage.submit(5)
    await until(lambda: stage.open_streams() == [1])
    stage.streams = 10
    await until(lambda: stage.open_streams() == [1, 4])
    assert frames_in(stage.wires[0].written)[PING] == 1
    answer_all(stage)
    assert len(stage.finished) == 4
    assert unknown(stage.finished) == 0
    await stage.pool.close()


async def test_the_pool_can_be_closed_while_it_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = await silent(monkeypatch, 2)
    exchanges = stage.submit(3)
    await until(lambda: bool(stage.wires[0].written))
    await stage.pool.close()
    assert len(stage.finished) == 3
    assert all(exchange.error is not None and exchange.error.unprocessed for exchange in exchanges)
    assert all(isinstance(wire, Wire) and wire.closed for wire in stage.wires)


@pytest.mark.parametrize("idle_ping", [3600.0, None])
async def test_a_machine_that_has_slept_probes_its_connections(
    monkeypatch: pytest.MonkeyPatch, idle_ping: float | None
) -> None:
    """The monotonic clock stands still meanwhile, so the connections seem to have heard something a moment ago."""
    stage = await silent(monkeypatch, 1, idle_ping)
    (wire,) = stage.wires
    wire.link.connection.last_received += LONG_SILENCE
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + LONG_SILENCE)
    await until(lambda: wire.link.connection.last_received < 0)
    stage.submit(5)
    await until(lambda: bool(wire.written))
    assert frames_in(wire.written)[PING] == (idle_ping is not None)
    assert frames_in(wire.written)[HEADERS] == (idle_ping is None)
    await stage.pool.close()
