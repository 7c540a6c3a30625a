"""The way through a proxy on loopback: TLS to it and through it, and what each failure is called."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from typing import Any

import pytest

from fakeservers.certs import Certificates
from pushcore.errors import AlpnError, CertificateError, ProxyError
from pushcore.http2.proxy import Proxy, _ConnectRequest
from pushcore.http2.tls import client_context
from tests.support.loopback import LoopbackServer
from tests.support.proxy import ConnectProxy
from tests.unit.http2.test_proxy import Recorder
from tests.unit.http2.test_tls import handshake, ssl_error

LONG = 60.0
"""Seconds that only a hang exceeds."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.create(tmp_path_factory.mktemp("certificates"))


class Greeter(LoopbackServer):
    """Says hello on each connection, and closes it when the peer has said something."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read(100)
        writer.close()


async def connected_socket(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def connect(
    proxy: Proxy, context: ssl.SSLContext, port: int, seconds: float = LONG, host: str = "localhost"
) -> Recorder:
    """Through the proxy to a server on loopback."""
    return await proxy.connect(Recorder, await connected_socket(proxy.port), host, port, context, seconds)


async def others_ended() -> None:
    """Wait until both ends have hung up, so that the server has no task left."""
    async with asyncio.timeout(LONG):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)


async def received(recorder: Recorder, count: int) -> list[Any]:
    async with asyncio.timeout(LONG):
        while len(recorder.events) < count:
            await asyncio.sleep(0.001)
    return recorder.events


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_tls_with_the_server_inside_the_tunnel(certificates: Certificates, tls: bool) -> None:
    outer = certificates.server_context() if tls else None
    async with Greeter(certificates.server_context()) as server, ConnectProxy(context=outer) as through:
        proxy = Proxy("127.0.0.1", through.port, tls=tls, ca_file=certificates.ca_file if tls else None)
        context = client_context(ca_file=certificates.ca_file)
        through._hosts["localhost"] = ("127.0.0.1", server.port)
        recorder = await connect(proxy, context, server.port)
        transport, greeting = await received(recorder, 2)
        assert greeting == b"hello"
        assert through.targets == [f"localhost:{server.port}"]
        assert transport.get_extra_info("ssl_object").server_hostname == "localhost"
        transport.write(b"goodbye")
        assert (await received(recorder, 3))[2] is None


async def test_a_proxy_on_tls_is_asked_for_http_1_1(certificates: Certificates) -> None:
    """One that also speaks HTTP/2 must not choose it."""
    server = certificates.server_context()
    server.set_alpn_protocols(["h2", "http/1.1"])
    proxy = Proxy("localhost", 443, tls=True, ca_file=certificates.ca_file)
    assert proxy._context is not None
    ours, _ = handshake(proxy._context, server)
    assert ours.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("tls", "words"), [(False, "did not answer CONNECT"), (True, "made no TLS connection")]
)
async def test_a_proxy_has_its_share_of_the_time(
    certificates: Certificates, tls: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float | None] = []
    timeout = asyncio.timeout

    def keeping(delay: float | None) -> asyncio.Timeout:
        given.append(delay)
        return timeout(delay)

    monkeypatch.setattr(asyncio, "timeout", keeping)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = Proxy("127.0.0.1", silent.getsockname()[1], tls=tls)
        with pytest.raises(ProxyError) as caught:
            await connect(proxy, client_context(ca_file=certificates.ca_file), 443, seconds=0.05)
    assert str(caught.value) == f"the proxy {words} within 0.04 s"
    assert given == [pytest.approx(0.04)]
    assert not caught.value.permanent


async def test_a_proxy_that_refuses_is_left(certificates: Certificates) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nProxy-Authorization: Basic bWU6d3Jvbmc=\r\n" in request
        writer.write(b"HTTP/1.1 407 x\r\n\r\n")
        await reader.read()

    async with ConnectProxy(talk=refuse) as through:
        proxy = Proxy("127.0.0.1", through.port, username="me", password="wrong")
        with pytest.raises(ProxyError, match="does not accept its name and password") as caught:
            await connect(proxy, client_context(ca_file=certificates.ca_file), 443)
        assert caught.value.status == 407
        await others_ended()


async def test_a_certificate_of_a_proxy_is_verified(certificates: Certificates) -> None:
    async with ConnectProxy(context=certificates.server_context()) as through:
        proxy = Proxy("127.0.0.1", through.port, tls=True)
        with pytest.raises(CertificateError, match="the proxy's certificate was not accepted"):
            await connect(proxy, client_context(ca_file=certificates.ca_file), 443)
        assert through.targets == []
        await others_ended()


async def test_tls_with_the_server_fails_as_without_a_proxy(certificates: Certificates) -> None:
    async with Greeter(certificates.server_context()) as server, ConnectProxy() as through:
        through._hosts["push.example"] = ("127.0.0.1", server.port)
        proxy = Proxy("127.0.0.1", through.port)
        with pytest.raises(ssl.SSLCertVerificationError, match=r"push\.example"):
            await connect(proxy, client_context(ca_file=certificates.ca_file), 443, host="push.example")
        await others_ended()


async def test_a_server_without_a_name_costs_no_connection_to_it(certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sock = await connected_socket(listening.getsockname()[1])
        with pytest.raises(ProxyError, match="name cannot be written"):
            await Proxy("127.0.0.1", 1).connect(
                Recorder, sock, "a b", 443, client_context(ca_file=certificates.ca_file), LONG
            )
        assert sock.fileno() == -1


def test_errors_of_the_way_to_a_proxy_name_the_proxy() -> None:
    proxy = Proxy("proxy.example", 3128)
    error = proxy.name_error(ConnectionRefusedError())
    assert str(error) == "the proxy refused the connection: nothing listens on that port"
    assert (type(error), error.permanent) == (ProxyError, False)
    error = proxy.name_error(ssl.SSLCertVerificationError(1, "expired"))
    assert str(error) == "the proxy's certificate was not accepted: expired"
    assert type(error) is CertificateError
    error = proxy.name_error(ssl_error("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"))
    assert (type(error), error.permanent) == (ProxyError, AlpnError("x").permanent)


async def test_a_refusal_that_nobody_waits_for_is_not_reported_by_the_event_loop() -> None:
    """The dial may have been cancelled."""
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    asking = _ConnectRequest(b"CONNECT", with_password=False)
    asking.connection_lost(None)
    assert asking.answered.done()
    del asking
    gc.collect()
    assert reports == []
