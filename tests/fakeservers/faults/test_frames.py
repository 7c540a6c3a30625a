"""HTTP/2 that goes wrong on libnghttp2's connections: GOAWAY, resets, limits, SETTINGS, PING, cuts and silence."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import ChangeStreamLimit, Cut, FaultPlan, Goaway, HalfOpen, Ping, Reset, Settings
from fakeservers.faults.names import ERROR_CODES
from tests.fakeservers.client import Client, headers_for, provider_token, soon
from tests.fakeservers.faults_client import (
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    RawClient,
    goaway_of,
    settings_of,
)
from tests.fakeservers.faults_support import plan_of
from tests.fakeservers.fcm_client import send_body, send_headers

STREAMS_SETTING, WINDOW_SETTING = 3, 4
HIGHEST = 0x7FFFFFFF

pytestmark = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])


@contextlib.asynccontextmanager
async def raw(
    plan: FaultPlan, **options: Any
) -> AsyncIterator[tuple[FakeApns, RawClient, list[tuple[str, str]]]]:
    """A fake, an open connection to it that is known already, and the headers of a push in order."""
    async with FakeApns(faults=plan, **options) as fake, RawClient(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        await client.answer(client.request(headers))
        yield fake, client, headers


@pytest.mark.parametrize("code", [*ERROR_CODES, 99, 0xFFFFFFFF])
async def test_resets_of_any_code(code: str | int, loop: str) -> None:
    async with raw(plan_of(Reset(code=code), nth=2)) as (fake, client, headers):
        (reset,) = await client.answer(client.request(headers))
        assert reset.kind == RST_STREAM
        assert int.from_bytes(reset.payload, "big") == (ERROR_CODES[code] if isinstance(code, str) else code)
        assert fake.counts == {(200, ""): 1, (0, "x"): 1}
        assert (await client.answer(client.request(headers)))[0].kind == HEADERS


async def test_a_reset_of_what_was_processed(loop: str) -> None:
    async with raw(plan_of(Reset(processed=True), nth=2)) as (fake, client, headers):
        assert (await client.answer(client.request(headers)))[0].kind == RST_STREAM
        assert fake.counts == {(200, ""): 2}


async def test_goaway_with_code_and_debug_text(loop: str) -> None:
    what = Goaway(code="ENHANCE_YOUR_CALM", debug='{"reason":"TooManyRequests"}')
    async with raw(plan_of(what, nth=2)) as (_, client, headers):
        assert (await client.answer(client.request(headers)))[0].kind == HEADERS  # what came is answered
        await client.to_the_end()
        (goaway,) = client.of(GOAWAY)
        assert goaway_of(goaway) == (3, 0xB, b'{"reason":"TooManyRequests"}')


@pytest.mark.parametrize(
    ("last", "seen", "answered"),
    [("all", 9, {3, 5, 7, 9}), ("before", 5, {3, 5}), ("none", 0, set()), (3, 3, {3}), (7, 7, {3, 5, 7})],
)
async def test_goaway_with_any_last_stream_id(
    last: str | int, seen: int, answered: set[int], loop: str
) -> None:
    """Four requests in one read, and the third of them meets it."""
    async with raw(plan_of(Goaway(last=last), nth=4), delay=0.05) as (fake, client, headers):
        for _ in range(4):
            client.request(headers)
        await client.to_the_end()
        (goaway,) = client.of(GOAWAY)
        assert goaway_of(goaway) == (seen, 0, b"")
        assert {frame.stream for frame in client.of(HEADERS)} - {1} == answered
        taken = sum(record.status == 200 for record in fake.received)
        # What came before it had been taken already, whatever it claims.
        assert taken == 1 + len(answered | {3, 5})


async def test_goaway_max_takes_what_comes_after_it(loop: str) -> None:
    async with raw(plan_of(Goaway(last="max"), nth=2), delay=0.05) as (_, client, headers):
        client.request(headers)
        await client.until(lambda: bool(client.of(GOAWAY)))
        assert goaway_of(client.of(GOAWAY)[0])[0] == HIGHEST
        client.request(headers)
        await client.to_the_end()
        assert {frame.stream for frame in client.of(HEADERS)} == {1, 3, 5}


async def test_goaway_with_notice(loop: str) -> None:
    async with raw(plan_of(Goaway(notice=0.1, debug="bye"), nth=2)) as (_, client, headers):
        client.request(headers)
        await client.until(lambda: bool(client.of(GOAWAY)))
        last = client.request(headers)
        assert (await client.answer(last))[0].kind == HEADERS
        await client.to_the_end()
        assert [goaway_of(frame) for frame in client.of(GOAWAY)] == [(HIGHEST, 0, b""), (last, 0, b"bye")]


async def test_goaway_with_grace(loop: str) -> None:
    async with FakeApns(faults=plan_of(Goaway(grace=0.1)), delay=30.0) as fake, RawClient(fake) as client:
        client.request(headers_for(fake, provider_token(fake)))
        await client.to_the_end()
        assert len(client.of(GOAWAY)) == 1
        assert not client.of(HEADERS)


async def test_stream_limits_that_move(loop: str) -> None:
    async with raw(plan_of(ChangeStreamLimit(limits=(1, 1, 500)), nth="2-5")) as (_, client, headers):
        for _ in range(4):
            await client.answer(client.request(headers))
        limits = [settings_of(frame).get(STREAMS_SETTING) for frame in client.of(SETTINGS) if not frame.flags]
        assert limits == [1, 1000, 1, 500, 1]  # Apple's two, and then 1, (1), 500, 1


async def test_a_limit_that_comes_back(loop: str) -> None:
    async with raw(plan_of(ChangeStreamLimit(limits=(3,), restore=0.05), nth=2)) as (_, client, headers):
        await client.answer(client.request(headers))
        await client.until(lambda: len([1 for frame in client.of(SETTINGS) if not frame.flags]) == 4)
        limits = [settings_of(frame).get(STREAMS_SETTING) for frame in client.of(SETTINGS) if not frame.flags]
        assert limits == [1, 1000, 3, 1000]


async def test_streams_beyond_a_lowered_limit_are_refused(loop: str) -> None:
    async with raw(plan_of(ChangeStreamLimit(limits=(2,)), nth=2), delay=0.1) as (_, client, headers):
        await client.answer(client.request(headers))
        await client.until(lambda: settings_of(client.of(SETTINGS)[-1]) == {STREAMS_SETTING: 2})
        await client.answer(client.request(headers))  # by now the limit is acknowledged
        for _ in range(4):
            client.request(headers)
        await client.until(lambda: bool(client.of(GOAWAY) or client.of(RST_STREAM)))


async def test_settings_in_mid_flight(loop: str) -> None:
    values = (("INITIAL_WINDOW_SIZE", 10), ("HEADER_TABLE_SIZE", 0), ("MAX_HEADER_LIST_SIZE", 500))
    async with raw(plan_of(Settings(values=values), nth=2)) as (_, client, headers):
        await client.answer(client.request(headers))
        sent = [settings_of(frame) for frame in client.of(SETTINGS) if not frame.flags]
        assert sent[-1] == {4: 10, 1: 0, 6: 500}


async def test_a_window_that_shrinks_holds_an_honest_client_up_and_no_longer(loop: str) -> None:
    """python-hyper/h2 sends in parts what does not fit."""
    plan = plan_of(Settings(values=(("INITIAL_WINDOW_SIZE", 0),)), nth=1)
    async with FakeApns(faults=plan) as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        await client.push(headers)
        await client.until(lambda: client.h2.remote_settings.initial_window_size == 0)
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, headers)
        assert client.h2.local_flow_control_window(stream) == 0
        fake.update_settings({WINDOW_SETTING: 65_535})
        await client.until(lambda: client.h2.local_flow_control_window(stream) > 0)


async def test_pings(loop: str) -> None:
    async with raw(plan_of(Ping(count=5), nth=2)) as (_, client, headers):
        await client.answer(client.request(headers))
        await client.until(lambda: len(client.of(PING)) == 5)


@pytest.mark.parametrize("provider", ["apns", "fcm"])
@pytest.mark.parametrize("how", ["reset", "close", "frame"])
async def test_cuts(how: str, provider: str, loop: str) -> None:
    plan = plan_of(Cut(how=how), nth=3)
    fake: Any = FakeApns(faults=plan) if provider == "apns" else FakeFcm(faults=plan)
    async with fake, RawClient(fake) as client:
        headers = headers_for(fake, provider_token(fake)) if provider == "apns" else send_headers(fake)
        body = b'{"aps":{}}' if provider == "apns" else send_body()
        await client.answer(client.request(headers, body))
        for _ in range(3):  # the first is answered before, the third comes too late
            client.request(headers, body)
        await client.to_the_end()
        assert not client.of(GOAWAY)
        answered = {frame.stream for frame in client.of(HEADERS)}
        if how == "reset":
            assert isinstance(client.broken, ConnectionResetError)
            assert answered == {1}
            assert fake.counts == {(200, ""): 2, (0, "x"): 1}
        elif how == "close":
            assert answered == {1, 3}
            assert not client.data
            assert fake.counts == {(200, ""): 2, (0, "x"): 1}
        else:
            assert 3 in answered
            assert client.data  # a frame without its end
            assert fake.counts == {(200, ""): 3}
        assert len(fake.received) == 3


@pytest.mark.parametrize("provider", ["apns", "fcm"])
async def test_a_connection_that_dies_in_silence(provider: str, loop: str) -> None:
    plan = plan_of(HalfOpen(), nth=2)
    fake: Any = FakeApns(faults=plan) if provider == "apns" else FakeFcm(faults=plan)
    async with fake:
        async with RawClient(fake) as client:
            headers = headers_for(fake, provider_token(fake)) if provider == "apns" else send_headers(fake)
            body = b'{"aps":{}}' if provider == "apns" else send_body()
            await client.answer(client.request(headers, body))
            seen = len(client.frames)
            client.request(headers, body)
            await soon(lambda: fake.faults.hits["x"] == 1)
            client.send(b"\0\0\x08\6\0\0\0\0\0" + b"pingping")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.to_the_end()
            assert not [frame for frame in client.frames[seen:] if frame.kind != PING or frame.flags]
            assert fake.connections == 1
        await soon(lambda: fake.connections == 0)


async def test_a_fin_and_then_silence(loop: str) -> None:
    async with raw(plan_of(HalfOpen(how="eof"), nth=2)) as (fake, client, headers):
        client.request(headers)
        await client.to_the_end()
        assert not [frame for frame in client.frames if frame.stream == 3]
        assert fake.connections <= 1


async def test_the_end_does_not_wait_for_the_silent(loop: str) -> None:
    async with asyncio.timeout(0.8):
        async with FakeApns(faults=plan_of(HalfOpen())) as fake:
            client = RawClient(fake)
            await client.__aenter__()
            client.request(headers_for(fake, provider_token(fake)))
            await soon(lambda: fake.faults.hits["x"] == 1)
        await client.__aexit__()


async def test_answers_end_as_google_ends_them_with_faults_too(loop: str) -> None:
    async with FakeFcm(faults=plan_of(Ping(), nth=1)) as fake, RawClient(fake) as client:
        frames = await client.answer(client.request(send_headers(fake), send_body()))
        assert [frame.kind for frame in frames] == [HEADERS, DATA, DATA]
        assert frames[-1].payload == b""
