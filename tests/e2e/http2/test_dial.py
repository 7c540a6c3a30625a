"""A server with several addresses, some of them dead: the others are reached in time, and nothing is left open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns
from pushcore import Verdict
from pushcore.errors import ConfigurationError, ConnectError, ProxyError, ResponseTimeout
from pushcore.http2 import dialer as dialer_module
from pushcore.http2.dialer import Address
from tests.e2e.support import RawServer, client_of, hold, push, raw_client, send_all, soon, using, verdicts
from tests.support.proxy import ConnectProxy

pytestmark = [
    pytest.mark.usefixtures("clean"),
    pytest.mark.parametrize(
        "http2",
        ["fast", "reference", pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop)],
    ),
]

PUSHES = 10


@contextlib.contextmanager
def dead(host: str) -> Iterator[Address]:
    """An address that never answers a SYN: its queue of connections is full."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(family))
        server.bind((host, 0))
        server.listen(0)
        for _ in range(4):  # more than it takes
            filling = stack.enter_context(socket.socket(family))
            filling.setblocking(False)
            filling.connect_ex(server.getsockname())
        yield Address(family, socket.IPPROTO_TCP, server.getsockname())


def refusing() -> Address:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return at(server.getsockname()[1])


def at(port: int) -> Address:
    return Address(socket.AF_INET, socket.IPPROTO_TCP, ("127.0.0.1", port))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: Address) -> None:
    """Every name has these, to be tried in this order; uvloop resolves by itself, so later than `getaddrinfo`."""
    monkeypatch.setattr(dialer_module, "order_addresses", lambda found, rng: [*addresses])


def open_sockets() -> int:
    """Those of this process, both ends of its connections to itself; 0 where the system does not list them."""
    count = 0
    if not Path("/proc/self/fd").exists():
        return count
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


@pytest.mark.parametrize("timeout", [2.0, 10.0])
async def test_dead_addresses_before_the_one_that_works(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch, timeout: float
) -> None:
    async with FakeApns(certs=certs) as fake:
        port = int(fake.url.rpartition(":")[2])
        with dead("::1") as first, dead("127.0.0.1") as second, dead("::1") as third:
            resolve_to(monkeypatch, first, second, third, at(port))
            async with using(client_of(fake, http2=http2, timeout=timeout)) as client:
                before = open_sockets()
                assert verdicts(await send_all(client, map(push, range(PUSHES)))) == {
                    Verdict.ACCEPTED: PUSHES
                }
                assert client._dispatcher.pool.dialled == 1
                await soon(lambda: open_sockets() <= before + 2)  # both ends of the connection


async def test_addresses_that_refuse_or_say_nothing(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeApns(certs=certs) as fake, RawServer(lambda reader, writer: hold(reader)) as silent:
        port = int(fake.url.rpartition(":")[2])
        resolve_to(monkeypatch, refusing(), at(silent.port), refusing(), at(port))
        async with using(client_of(fake, http2=http2, timeout=2.0)) as client:
            assert verdicts(await send_all(client, map(push, range(PUSHES)))) == {Verdict.ACCEPTED: PUSHES}
            assert client._dispatcher.pool.dialled == 1
            assert silent.accepted == 1
        await soon(lambda: not silent._tasks)  # and our side has hung up


async def test_no_address_works(http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    with dead("::1") as silent:
        closed = refusing()
        resolve_to(monkeypatch, silent, closed)
        async with using(raw_client(certs, "https://localhost:1", http2=http2, timeout=1.0)) as client:
            (result,) = await send_all(client, [push()])
            assert result.verdict is Verdict.UNSENT
            assert isinstance(result.detail, ResponseTimeout)
            error = client._dispatcher.pool.last_error
            assert isinstance(error, ConnectError)
            assert "nothing listens on that port (127.0.0.1)" in str(error)
            assert "does not respond (::1)" in str(error)
            assert str(error) in str(result.detail)


async def test_a_proxy_with_a_dead_address(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeApns(certs=certs) as fake, ConnectProxy() as proxy:
        with dead("::1") as first, dead("127.0.0.1") as second:
            resolve_to(monkeypatch, first, second, at(proxy.port))
            options: dict[str, Any] = {"http2": http2, "timeout": 2.0, "proxy": proxy.url()}
            async with using(client_of(fake, **options)) as client:
                assert verdicts(await send_all(client, map(push, range(PUSHES)))) == {
                    Verdict.ACCEPTED: PUSHES
                }
                assert (client._dispatcher.pool.dialled, proxy.tunnels) == (1, 1)


async def test_a_proxy_without_an_address_that_works(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dead("::1") as silent:
        resolve_to(monkeypatch, silent, refusing())
        options: dict[str, Any] = {"http2": http2, "timeout": 1.0, "proxy": "http://localhost:1"}
        async with using(raw_client(certs, "https://push.invalid", **options)) as client:
            (result,) = await send_all(client, [push()])
            assert result.verdict is Verdict.UNSENT
            error = client._dispatcher.pool.last_error
            assert isinstance(error, ProxyError)
            assert "the proxy refused the connection: nothing listens on that port (127.0.0.1)" in str(error)
            assert "the proxy does not respond (::1)" in str(error)


async def test_closing_in_the_middle_of_a_race(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(lambda reader, writer: hold(reader)) as silent:
        with dead("::1") as first, dead("127.0.0.1") as second:
            resolve_to(monkeypatch, first, second, at(silent.port))
            before = open_sockets()
            client = raw_client(certs, "https://localhost:1", http2=http2, timeout=30.0)
            async with using(client):
                sending = asyncio.create_task(client.send(push()))
                await soon(lambda: silent.accepted)
            assert (await sending).verdict is Verdict.UNSENT
            await soon(lambda: not silent._tasks)
            await soon(lambda: open_sockets() <= before + 1)  # silent's own end of the connection


async def test_connections_are_there_before_the_first_push(http2: Any) -> None:
    async with FakeApns() as fake:
        client = client_of(fake, http2=http2, max_connections=3)
        await client.open(connections=3)
        try:
            await soon(lambda: fake.connections == 3)
            assert verdicts(await send_all(client, map(push, range(20)))) == {Verdict.ACCEPTED: 20}
        finally:
            await client.close()


async def test_a_client_that_cannot_open_connections_is_closed(http2: Any) -> None:
    async with FakeApns() as fake:
        client = client_of(fake, http2=http2, url=f"https://127.0.0.1:{refusing().sockaddr[1]}")
        with pytest.raises(ConnectError):
            await client.open(connections=1)
        assert not client.opened
        with pytest.raises(ConfigurationError, match="connections"):
            await client.open(connections=99)
