"""What a listener hears of real connections, and what is counted of them."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fakeservers import Certificates, FakeApns, fated_token
from pushcore import Notification
from pushcore.apns.reasons import REASONS
from pushcore.errors import GoAway, TransportError
from pushcore.http2 import dialer
from pushcore.metrics import Listener, Metrics
from tests.e2e.support import (
    PAYLOAD,
    RawServer,
    client_of,
    goaway,
    push,
    raw_client,
    send_all,
    settings,
    soon,
    using,
)

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ["fast", "reference"])]


class Recorder(Listener):
    """Everything that was told of connections."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def connection_opened(self, provider: str, host: str) -> None:
        self.events.append(("opened", provider, host))

    def connection_failed(self, provider: str, host: str, error: TransportError) -> None:
        self.events.append(("failed", provider, host, type(error).__name__))

    def connection_closed(self, provider: str, host: str, error: TransportError | None) -> None:
        self.events.append(("closed", provider, host, type(error).__name__))

    def goaway(self, provider: str, host: str, code: int, reason: str | None) -> None:
        self.events.append(("goaway", provider, host, code, reason))


async def test_a_connection_and_its_pushes(http2: str, certs: Certificates) -> None:
    recorder, metrics = Recorder(), Metrics(REASONS)
    async with FakeApns(certs=certs) as fake:
        async with using(client_of(fake, http2=http2)) as client:
            client.watch(recorder)
            client.watch(metrics)
            dead = Notification(fated_token("Unregistered"), PAYLOAD)
            await send_all(client, [push(1), push(2), dead])
            snapshot = metrics.snapshot()
        assert recorder.events == [
            ("opened", "apns", "127.0.0.1"),
            ("closed", "apns", "127.0.0.1", "NoneType"),
        ]
        assert snapshot["connections"] == [["apns", 1]]
        assert snapshot["in_flight"] == [["apns", 0]]
        assert snapshot["dials"] == [["apns", "opened", 1]]
        assert snapshot["sent"] == [["apns", "ACCEPTED", "", 2], ["apns", "UNREGISTERED", "Unregistered", 1]]


async def test_goaway_with_its_reason(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once after a good start, then to every new connection at once."""
    monkeypatch.setattr(dialer, "FIRST_PAUSE", 0.01)
    recorder, metrics = Recorder(), Metrics(REASONS)
    debug = b'{"reason":"BadCertificateEnvironment"}'

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings({3: 10}))
        if server.accepted == 1:
            await reader.readexactly(500)
        writer.write(goaway(0, 0, debug))
        await writer.drain()
        while await reader.read(65_536):
            pass

    server = RawServer(talk, certs.server_context())
    async with server, using(raw_client(certs, server.url, http2=http2, timeout=2.0)) as client:
        client._dispatcher.pool.events.add(recorder)
        client._dispatcher.pool.events.add(metrics)
        await send_all(client, [push(number) for number in range(5)])
    word = "BadCertificateEnvironment"
    assert recorder.events[:3] == [
        ("opened", "apns", "127.0.0.1"),
        ("goaway", "apns", "127.0.0.1", 0, word),
        ("closed", "apns", "127.0.0.1", GoAway.__name__),
    ]
    later = recorder.events[3:5]
    assert later == [
        ("goaway", "apns", "127.0.0.1", 0, word),
        ("failed", "apns", "127.0.0.1", GoAway.__name__),
    ]
    assert metrics.goaways["apns", word] >= 2


async def test_dials_that_fail(http2: str, certs: Certificates) -> None:
    recorder = Recorder()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{bound.getsockname()[1]}"
        async with using(raw_client(certs, url, http2=http2, timeout=0.5)) as client:
            client._dispatcher.pool.events.add(recorder)
            await send_all(client, [push()])
            await soon(lambda: recorder.events)
    assert set(recorder.events) == {("failed", "apns", "127.0.0.1", "ConnectError")}
