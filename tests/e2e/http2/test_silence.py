"""After a long silence, over a network that has forgotten the connections: what a burst then loses.

The relay swallows all that is sent on the connections of before. The silence itself is not waited for: the clients are made to
believe that they have heard nothing for an hour.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns, FakeFcm
from pushcore import Verdict
from tests.e2e import fcm_support
from tests.e2e.fcm_support import RUNS, fcm_of, message
from tests.e2e.support import client_of, push, send_all, soon, using, verdicts
from tests.support.relay import ForgetfulRelay

pytestmark = pytest.mark.usefixtures("clean")

BURST = {"fast": 3000, "reference": 500}
"""Pushes at once; python-hyper/h2 takes its time."""
HOUR = 3600.0


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def fall_silent(client: Any) -> None:
    """Let the client believe that its connections have been silent for nearly an hour, when an idle PING is due."""
    pool = client._dispatcher.pool
    await soon(lambda: not pool._dials)  # a connection that is new is not silent
    for link in pool.links:
        link.connection.last_received -= HOUR - 60.0


async def forget(client: Any, relay: ForgetfulRelay) -> None:
    """A long silence, in which the network forgets all connections."""
    await fall_silent(client)
    relay.forget()


@pytest.mark.deadline(60.0)
@pytest.mark.parametrize("http2", RUNS)
async def test_a_burst_to_apns_into_dead_connections_loses_nothing(http2: str, certs: Certificates) -> None:
    burst = BURST[http2]
    async with FakeApns(certs=certs) as fake, ForgetfulRelay(port_of(fake.url)) as relay:
        options: dict[str, Any] = {"max_connections": 2, "timeout": 20.0, "http2": http2}
        async with using(client_of(fake, url=relay.url, **options)) as client:
            assert verdicts(await send_all(client, map(push, range(burst)))) == {Verdict.ACCEPTED: burst}
            before = relay.accepted
            await forget(client, relay)
            results = await send_all(client, map(push, range(burst)))
            assert verdicts(results) == {Verdict.ACCEPTED: burst}
            assert {result.attempts for result in results} == {1}
            assert relay.accepted > before
            assert len(fake.received) <= 2 * burst
            assert relay.swallowed < 1000  # PING, GOAWAY, and how TLS ends
    assert fake.counts == {(200, ""): 2 * burst}


@pytest.mark.deadline(60.0)
@pytest.mark.parametrize("http2", RUNS)
async def test_a_burst_to_fcm_into_dead_connections_loses_one_push_for_each(
    http2: str, certs: Certificates
) -> None:
    burst = BURST[http2]
    async with FakeFcm(certs=certs) as fake, ForgetfulRelay(port_of(fake.url)) as relay:
        options: dict[str, Any] = {"max_connections": 4, "timeout": 20.0, "http2": http2}
        async with fcm_support.using(fcm_of(fake, url=relay.url, **options)) as client:
            results = await fcm_support.send_all(client, map(message, range(burst)))
            assert verdicts(results) == {Verdict.ACCEPTED: burst}
            connections = len(client._dispatcher.pool.links)
            await forget(client, relay)
            sending = [asyncio.create_task(client.send(message(number))) for number in range(burst)]
            await soon(lambda: sum(task.done() for task in sending) >= burst - connections, 30.0)
            relay.cut()  # so that the test need not wait for the timeout of those that were lost
            results = await asyncio.gather(*sending)
            assert set(verdicts(results)) <= {Verdict.ACCEPTED, Verdict.UNKNOWN}
            assert 1 <= verdicts(results)[Verdict.UNKNOWN] <= connections


@pytest.mark.parametrize("http2", RUNS)
async def test_connections_that_live_are_kept_after_a_silence(http2: str, certs: Certificates) -> None:
    async with (
        FakeApns(certs=certs) as apns,
        FakeFcm(certs=certs) as fcm,
        using(client_of(apns, http2=http2, max_connections=2)) as one,
        fcm_support.using(fcm_of(fcm, http2=http2, max_connections=2)) as two,
    ):
        for silences in range(3):
            assert verdicts(await send_all(one, map(push, range(500)))) == {Verdict.ACCEPTED: 500}
            results = await fcm_support.send_all(two, map(message, range(500)))
            assert verdicts(results) == {Verdict.ACCEPTED: 500}
            if not silences:
                accepted = apns.accepted, fcm.accepted
            await fall_silent(one)
            await fall_silent(two)
        assert (apns.accepted, fcm.accepted) == accepted


@pytest.mark.parametrize("http2", RUNS)
async def test_the_system_probes_silent_connections(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        assert (await client.send(push())).ok
        (link,) = client._dispatcher.pool.links
        assert link._transport is not None
        sock = link._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        for name, value in zip(names, (60, 15, 4), strict=True):
            if hasattr(socket, name):
                assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
