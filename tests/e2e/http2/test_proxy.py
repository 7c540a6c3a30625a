"""Through an HTTP proxy everything is as without one; and what a proxy can do wrong has a name and loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from fakeservers import Certificates, FakeApns, FakeFcm
from pushcore import Result, Verdict
from pushcore.errors import CertificateError, ConnectError, ProxyError, TransportError
from pushcore.http2.proxy import MAX_HEADER, Proxy
from tests.e2e import fcm_support
from tests.e2e.support import (
    RawServer,
    client_of,
    hold,
    push,
    raw_client,
    reset,
    send_all,
    soon,
    using,
    verdicts,
)
from tests.support.proxy import ConnectProxy

LOGIN = "campaigns:s3cret%2Fword"
CREDENTIALS = "campaigns:s3cret/word"
TIMEOUT = 0.5
LONGER = 2.5
"""Seconds of a timeout that leaves the proxy its share of it: a dial has at least one."""
SLACK = 1.5

pytestmark = [
    pytest.mark.usefixtures("clean"),
    pytest.mark.parametrize(
        "http2",
        ["fast", pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop)],
    ),
]


@pytest.fixture(params=["http", "https"])
def proxy_of(request: pytest.FixtureRequest, certs: Certificates) -> Callable[..., ConnectProxy]:
    """Makes proxies, spoken to in the clear and over TLS."""

    def new(**options: Any) -> ConnectProxy:
        context = certs.server_context() if request.param == "https" else None
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
        return ConnectProxy(context=context, **options)

    return new


def through(proxy: ConnectProxy, certs: Certificates, credentials: str | None = None) -> Proxy:
    ca_file = certs.ca_file if proxy.url().startswith("https") else None
    return Proxy.parse(proxy.url(credentials), ca_file=ca_file)


@contextlib.asynccontextmanager
async def unsent(
    http2: str,
    certs: Certificates,
    proxy: Proxy | str,
    url: str = "https://push.invalid",
    timeout: float = TIMEOUT,
) -> AsyncIterator[list[Result]]:
    """Ten pushes that must all be surely unsent, in time, before the block begins."""
    async with using(raw_client(certs, url, http2=http2, timeout=timeout, proxy=proxy)) as client:
        async with asyncio.timeout(timeout + SLACK):
            results = await send_all(client, [push(number) for number in range(10)])
        assert verdicts(results) == {Verdict.UNSENT: 10}
        assert {result.attempts for result in results} == {0}
        yield results


def reason_of(results: list[Result], kind: type[TransportError] = ProxyError) -> Any:
    """The error of the dial that failed: of the results, or what the pool tells in theirs."""
    detail = results[0].detail
    assert isinstance(detail, kind), repr(detail)
    return detail


# --- what works ---------------------------------------------------------------------------------------------------


async def test_pushes_are_accepted(
    http2: str, certs: Certificates, proxy_of: Callable[..., ConnectProxy]
) -> None:
    async with FakeApns(certs=certs) as fake, proxy_of() as proxy:
        for engine in (http2, "reference"):
            async with using(client_of(fake, http2=engine, proxy=through(proxy, certs))) as client:
                results = await send_all(client, [push(number) for number in range(500)])
            assert verdicts(results) == {Verdict.ACCEPTED: 500}
        assert fake.counts == {(200, ""): 1000}
        assert set(proxy.targets) == {fake.url.removeprefix("https://")}
        assert proxy.tunnels == proxy.accepted == fake.accepted
        assert "proxy-authorization" not in proxy.headers


async def test_pushes_are_accepted_with_a_password(
    http2: str, certs: Certificates, proxy_of: Callable[..., ConnectProxy]
) -> None:
    async with FakeApns(certs=certs) as fake, proxy_of(credentials=CREDENTIALS) as proxy:
        async with using(client_of(fake, http2=http2, proxy=through(proxy, certs, LOGIN))) as client:
            results = await send_all(client, [push(number) for number in range(20)])
        assert verdicts(results) == {Verdict.ACCEPTED: 20}
        assert "authorization" not in proxy.headers


async def test_fcm_and_its_access_tokens(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, ConnectProxy(credentials=CREDENTIALS) as proxy:
        account = fcm_support.account_of(fake)
        options = {"auth": account, "http2": http2, "proxy": proxy.url(LOGIN)}
        async with fcm_support.fcm_of(fake, **options) as client:
            results = await fcm_support.send_all(
                client, [fcm_support.message(number) for number in range(20)]
            )
        assert verdicts(results) == {Verdict.ACCEPTED: 20}
        expected = {urlsplit(url).netloc for url in (fake.url, account.token_uri)}
        assert set(proxy.targets) == expected
        assert proxy.tunnels == proxy.accepted == 2  # one for the token, one for the pushes


async def test_fcm_and_a_wrong_password(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, ConnectProxy(credentials=CREDENTIALS) as proxy:
        options = {"http2": http2, "proxy": proxy.url("campaigns:wr0ng"), "timeout": TIMEOUT}
        async with fcm_support.fcm_of(fake, **options) as client:
            results = await fcm_support.send_all(
                client, [fcm_support.message(number) for number in range(10)]
            )
        assert verdicts(results) == {Verdict.UNSENT: 10}
        assert {"does not accept its name and password" in str(result.detail) for result in results} == {True}
        assert proxy.tunnels == 0


async def test_large_bodies_pass_both_ways(http2: str, certs: Certificates) -> None:
    payload = {"aps": {"alert": "x" * 3900}}
    async with FakeApns(certs=certs) as fake, ConnectProxy() as proxy:
        async with using(client_of(fake, http2=http2, proxy=proxy.url())) as client:
            results = await send_all(client, [push(number, payload) for number in range(600)])
        assert verdicts(results) == {Verdict.ACCEPTED: 600}


async def test_server_is_asked_for_by_name(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake:
        port = int(fake.url.rpartition(":")[2])
        async with ConnectProxy(hosts={"localhost": ("127.0.0.1", port)}) as proxy:
            options = {"url": f"https://localhost:{port}", "http2": http2, "proxy": proxy.url()}
            async with using(client_of(fake, **options)) as client:
                assert (await client.send(push())).ok
            assert proxy.targets == [f"localhost:{port}"]


async def test_name_is_not_resolved_here_and_yet_verified(http2: str, certs: Certificates) -> None:
    """push.invalid exists nowhere (RFC 6761), so only the proxy can lead to it; and no certificate here is for it."""
    async with FakeApns(certs=certs) as fake:
        port = int(fake.url.rpartition(":")[2])
        async with ConnectProxy(hosts={"push.invalid": ("127.0.0.1", port)}) as proxy:
            async with unsent(http2, certs, proxy.url()) as results:
                error = reason_of(results, CertificateError)
            assert "push.invalid" in str(error)
            assert set(proxy.targets) == {"push.invalid:443"}
            assert proxy.tunnels > 0
        assert not fake.received


async def test_environment(http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with FakeApns(certs=certs) as fake, ConnectProxy(credentials=CREDENTIALS) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(LOGIN))
        async with using(client_of(fake, http2=http2, proxy="environment")) as client:
            assert (await client.send(push())).ok
        assert proxy.tunnels == 1
        monkeypatch.setenv("NO_PROXY", "example.com, 127.0.0.0/8")
        async with using(client_of(fake, http2=http2, proxy="environment")) as client:
            assert (await client.send(push())).ok
        async with using(client_of(fake, http2=http2)) as client:  # not asked to look there
            assert (await client.send(push())).ok
        assert proxy.accepted == 1


async def test_tunnel_that_breaks_is_replaced(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, ConnectProxy() as proxy:
        async with using(client_of(fake, http2=http2, proxy=proxy.url())) as client:
            assert (await client.send(push(1))).ok
            for writer in list(proxy._writers):
                reset(writer)
            await soon(lambda: not client._dispatcher.pool.links)
            assert (await client.send(push(2))).ok
        assert proxy.tunnels == 2


# --- what does not ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", [None, "campaigns:wr0ng", "other:s3cret%2Fword"])
async def test_wrong_password(
    http2: str, certs: Certificates, credentials: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with ConnectProxy(credentials=CREDENTIALS) as proxy:
        async with unsent(http2, certs, proxy.url(credentials)) as results:
            error = reason_of(results)
        assert error.status == 407
        assert error.permanent
        wants = (
            "requires a name and a password"
            if credentials is None
            else "does not accept its name and password"
        )
        assert wants in str(error)
        assert proxy.tunnels == 0
        assert proxy.accepted == 1  # asking again could only lock the account
    for secret in ("wr0ng", "s3cret", "campaigns"):
        assert secret not in caplog.text + repr(results)


@pytest.mark.parametrize(
    ("response", "status", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403, "403 Forbidden"),
        (b"HTTP/1.0 502 Whatever\r\nX: y\r\n\r\n<html>", 502, "502 Bad Gateway"),
        (b"HTTP/1.1 799\r\n\r\n", 799, "799"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\n\r\n", 301, "301"),
        (b"HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\n\r\n", 407, "not supported: Negotiate"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", None, "more than its response"),
        (b"", None, "closed the connection without a response"),
        (b"HTTP/1.1 200 OK\r\n", None, "closed the connection without a response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", None, "did not respond in HTTP"),
        (b"HTTP/2 200\r\n\r\n", None, "did not respond in HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x46", None, "did not respond in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, None, f"more than {MAX_HEADER} bytes"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
async def test_proxy_with_an_unexpected_response(
    http2: str, certs: Certificates, response: bytes, status: int | None, words: str
) -> None:
    async with ConnectProxy(answer=response) as proxy, unsent(http2, certs, proxy.url()) as results:
        last = results[0].detail
        assert words in str(last), last
        if isinstance(last, ProxyError):
            assert last.status == status


async def test_proxy_says_something_else_over_tls(http2: str, certs: Certificates) -> None:
    async with (
        ConnectProxy(answer=b"HTTP/1.1 403 No\r\n\r\n", context=certs.server_context()) as proxy,
        unsent(http2, certs, through(proxy, certs)) as results,
    ):
        assert reason_of(results).status == 403


async def test_proxy_that_never_responds(
    http2: str, certs: Certificates, proxy_of: Callable[..., ConnectProxy]
) -> None:
    async with proxy_of(talk=lambda reader, writer: hold(reader)) as proxy:
        async with unsent(http2, certs, through(proxy, certs), timeout=LONGER) as results:
            assert "the proxy did not answer CONNECT" in str(results[0].detail)
        await soon(lambda: not proxy._tasks)  # and our side has hung up


async def test_proxy_that_hangs_up_in_the_handshake(http2: str, certs: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(1)  # of the ClientHello

    async with ConnectProxy(talk=talk) as proxy, unsent(http2, certs, proxy.url()) as results:
        assert "the server closed the connection" in str(results[0].detail)


async def test_server_behind_the_proxy_never_responds(http2: str, certs: Certificates) -> None:
    async with RawServer(lambda reader, writer: hold(reader)) as server, ConnectProxy() as proxy:
        async with unsent(http2, certs, proxy.url(), server.url, LONGER) as results:
            assert "no connection with TLS" in str(results[0].detail)
        assert proxy.tunnels > 0


async def test_server_behind_the_proxy_speaks_no_http2(http2: str, certs: Certificates) -> None:
    context = certs.server_context()
    async with (
        RawServer(lambda reader, writer: hold(reader), context, alpn="http/1.1") as server,
        ConnectProxy() as proxy,
        unsent(http2, certs, proxy.url(), server.url) as results,
    ):
        assert "HTTP/2" in str(reason_of(results, ConnectError))


async def test_a_closed_port_instead_of_a_proxy(http2: str, certs: Certificates) -> None:
    with socket.socket() as bound:  # takes the port and does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with unsent(http2, certs, url) as results:
            assert "the proxy refused the connection" in str(results[0].detail)


async def test_certificate_of_the_proxy_is_verified(http2: str, certs: Certificates) -> None:
    async with ConnectProxy(context=certs.server_context()) as proxy:
        async with unsent(http2, certs, proxy.url()) as results:  # trusts the system's authorities only
            assert "the proxy's certificate was not accepted" in str(reason_of(results, CertificateError))
        assert proxy.targets == []


async def test_closing_while_the_proxy_is_silent(http2: str, certs: Certificates) -> None:
    async with ConnectProxy(talk=lambda reader, writer: hold(reader)) as proxy:
        client = raw_client(certs, "https://push.invalid", http2=http2, timeout=30.0, proxy=proxy.url())
        async with using(client):
            sending = asyncio.ensure_future(client.send(push()))
            await soon(lambda: proxy.accepted)
        assert (await sending).verdict is Verdict.UNSENT


def test_an_address_that_is_none_is_refused_at_once(http2: str, certs: Certificates) -> None:
    for proxy in ("socks5://127.0.0.1:1080", "", "http://", "http://user:pass@host:99999"):
        with pytest.raises(ValueError) as caught:
            raw_client(certs, "https://push.invalid", http2=http2, proxy=proxy)
        assert "pass@" not in str(caught.value)
