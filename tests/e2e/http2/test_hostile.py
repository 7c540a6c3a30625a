"""Servers that are broken or mean: every push is answered by name and in time, and nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakeservers import Certificates, FakeApns, H2Server, Nghttp2Connection
from fakeservers.serving.types import Answer, Request
from pushcore import ApnsClient, Result, Verdict
from pushcore.errors import (
    AlpnError,
    CertificateError,
    ConnectError,
    ConnectionLost,
    ProtocolError,
    ResponseTimeout,
    TransportError,
)
from tests.e2e.support import (
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    PING,
    RST_STREAM,
    SETTINGS,
    RawServer,
    Talk,
    client_of,
    frame,
    goaway,
    hold,
    push,
    raw_client,
    reset,
    send_all,
    settings,
    soon,
    using,
    verdicts,
)

TIMEOUT = 0.5
SLACK = 1.5
"""Seconds that a result may be late by: the pool looks at the time twenty times in a timeout, and machines are busy."""
OPEN = settings({MAX_CONCURRENT_STREAMS: 100})

pytestmark = [
    pytest.mark.usefixtures("clean"),
    pytest.mark.parametrize(
        "http2",
        ["fast", "reference", pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop)],
    ),
]


async def ten_pushes(client: ApnsClient) -> list[Result]:
    """Ten results, none later than the timeout and some slack."""
    async with asyncio.timeout(client.timeout + SLACK):
        return await send_all(client, [push(number) for number in range(10)])


def check_unsent(results: list[Result], kind: type[TransportError], words: str = "") -> None:
    """All are surely unsent, for an error of this kind, with these words in it."""
    assert verdicts(results) == {Verdict.UNSENT: len(results)}
    for result in results:
        assert isinstance(result.detail, kind), repr(result.detail)
        assert words in str(result.detail)
        assert result.attempts == 0
        assert result.retryable
        assert result.status is None


# --- no connection ------------------------------------------------------------------------------------------------


async def test_a_closed_port(http2: str, certs: Certificates) -> None:
    with socket.socket() as bound:  # takes the port and does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{bound.getsockname()[1]}"
        async with using(raw_client(certs, url, http2=http2, timeout=TIMEOUT)) as client:
            check_unsent(await ten_pushes(client), ResponseTimeout, "nothing listens on that port")
            assert isinstance(client._dispatcher.pool.last_error, ConnectError)
            assert client._dispatcher.pool.dialled <= 2


async def test_a_name_that_does_not_resolve(
    http2: str, certs: Certificates, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.node.get_closest_marker("uvloop") is not None:
        pytest.skip("uvloop resolves by itself, and how long that takes is the machine's")

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with using(raw_client(certs, "https://push.invalid:2197", http2=http2, timeout=TIMEOUT)) as client:
        check_unsent(await ten_pushes(client), ResponseTimeout, "could not be resolved")
        assert isinstance(client._dispatcher.pool.last_error, ConnectError)


async def test_one_of_several_addresses_works(
    http2: str, certs: Certificates, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.node.get_closest_marker("uvloop") is not None:
        pytest.skip("uvloop resolves by itself")
    async with FakeApns(certs=certs) as fake:
        port = int(fake.url.rpartition(":")[2])
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (7, 1, 8, 9)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(addresses))
        async with using(client_of(fake, url=f"https://localhost:{port}", http2=http2)) as client:
            assert verdicts(await ten_pushes(client)) == {Verdict.ACCEPTED: 10}


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""


async def rudely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def silently(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await hold(reader)


async def plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await hold(reader)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        pytest.param(nothing, "closed the connection", id="closes at once"),
        pytest.param(rudely, "closed the connection", id="resets"),
        pytest.param(silently, "", id="never completes TLS"),
        pytest.param(plainly, "does not speak TLS", id="speaks plain HTTP"),
    ],
)
async def test_no_tls(talk: Talk, words: str, http2: str, certs: Certificates) -> None:
    async with (
        RawServer(talk) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        check_unsent(await ten_pushes(client), TransportError, words)
        assert 1 <= server.accepted <= 2
        assert not client._dispatcher.pool.links


async def test_the_name_of_a_silence(http2: str, certs: Certificates) -> None:
    """A server that never completes TLS: the result should say that the connection was not made."""
    async with (
        RawServer(silently) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        results = await ten_pushes(client)
        assert all("connection" in str(result.detail) for result in results), results[0]


# --- the wrong server ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpn", ["http/1.1", None])
async def test_no_alpn(alpn: str | None, http2: str, certs: Certificates) -> None:
    async with (
        RawServer(silently, certs.server_context(), alpn=alpn) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=5.0)) as client,
    ):
        started = time.monotonic()
        check_unsent(await ten_pushes(client), AlpnError, "HTTP/2")
        assert time.monotonic() - started < 4.0  # it cannot help to wait
        assert not client._dispatcher.pool.links
        assert server.accepted <= 1


async def test_a_certificate_of_another_authority(http2: str, certs: Certificates, tmp_path: Path) -> None:
    another = Certificates.create(tmp_path)
    async with (
        RawServer(silently, another.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=5.0)) as client,
    ):
        check_unsent(await ten_pushes(client), CertificateError, "certificate was not accepted")
        assert server.accepted == 0


async def test_a_certificate_for_another_name(http2: str, certs: Certificates) -> None:
    """127.0.0.2 is this machine as well, and not in the certificate."""
    context = certs.server_context()
    context.set_alpn_protocols(["h2"])
    server = await asyncio.start_server(lambda *_: None, "127.0.0.2", 0, ssl=context)
    async with server:
        url = f"https://127.0.0.2:{server.sockets[0].getsockname()[1]}"
        async with using(raw_client(certs, url, http2=http2, timeout=5.0)) as client:
            check_unsent(await ten_pushes(client), CertificateError, "certificate was not accepted")


# --- TLS, and then nonsense ---------------------------------------------------------------------------------------


def saying(*parts: bytes) -> Talk:
    """Say this at once, then listen for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        await writer.drain()
        await hold(reader)

    return talk


NONSENSE = {
    "no SETTINGS": (saying(), ""),
    "HTTP/1.1": (saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), ""),
    "garbage": (saying(b"\xff" * 10_000), ""),
    "zeros": (saying(bytes(10_000)), "SETTINGS"),
    "PING first": (saying(frame(PING, bytes(8))), "SETTINGS"),
    "a wrong SETTINGS": (saying(frame(SETTINGS, bytes(5))), ""),
    "an illegal setting": (saying(settings({INITIAL_WINDOW_SIZE: 2**31})), ""),
    "half a SETTINGS": (saying(OPEN[:-1]), ""),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense(name: str, http2: str, certs: Certificates) -> None:
    talk, words = NONSENSE[name]
    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        check_unsent(await ten_pushes(client), TransportError, words)
        assert 1 <= server.accepted <= 2
        await soon(lambda: client._dispatcher.pool.last_error is not None)
        assert isinstance(client._dispatcher.pool.last_error, ProtocolError | ConnectError)


async def test_garbage_after_the_pushes(http2: str, certs: Certificates) -> None:
    """What was written is of unknown fate."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OPEN)
        await reader.readuntil(b'"Hi"}}')
        writer.write(b"\xff" * 100)
        await hold(reader)

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=5.0)) as client,
    ):
        results = await ten_pushes(client)
        assert verdicts(results) == {Verdict.UNKNOWN: 10}
        assert all(isinstance(result.detail, ProtocolError) for result in results)
        assert server.accepted == 1


# --- reconnecting -------------------------------------------------------------------------------------------------


async def goes_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OPEN + goaway(0, 0, b'{"reason":"Shutdown"}'))
    await hold(reader)


async def opens_and_closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OPEN)
    await writer.drain()


@pytest.mark.parametrize(
    ("talk", "tls"),
    [
        pytest.param(nothing, False, id="closes at once"),
        pytest.param(rudely, False, id="resets"),
        pytest.param(nothing, True, id="closes after TLS"),
        pytest.param(goes_away, True, id="GOAWAY at once"),
        pytest.param(opens_and_closes, True, id="SETTINGS and away"),
    ],
)
async def test_reconnects_are_backed_off(
    talk: Talk, tls: bool, http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pauses of 0.02, 0.04, 0.08 ... s, each at least half of it: in 1.5 s there is no room for more than eight.

    A server that opened takes the pushes with it when it goes: those are UNKNOWN, and nobody dials again for them.
    """
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    context = certs.server_context() if tls else None
    async with (
        RawServer(talk, context) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=1.5)) as client,
    ):
        results = await ten_pushes(client)
        assert verdicts(results).keys() <= {Verdict.UNSENT, Verdict.UNKNOWN}
        at_least = 1 if verdicts(results)[Verdict.UNKNOWN] else 2
        assert at_least <= server.accepted <= 9


async def test_the_reason_of_a_goaway_before_any_push(http2: str, certs: Certificates) -> None:
    async with (
        RawServer(goes_away, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        results = await ten_pushes(client)
        check_unsent(results, TransportError, "Shutdown")


async def test_a_server_that_never_closes_after_its_goaway(http2: str, certs: Certificates) -> None:
    """Our side of the connection is closed all the same, also when the client is closed right after."""
    async with (
        RawServer(goes_away, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        sending = asyncio.create_task(client.send(push()))
        await soon(
            lambda: (
                server.accepted == 1
                and client._dispatcher.pool.dialled == 1
                and client._dispatcher.pool.last_error
            )
        )
        await client.close()
        assert (await sending).verdict is Verdict.UNSENT


# --- floods, and a peer that does not read ------------------------------------------------------------------------


def flooding(what: bytes, at_once: int) -> Talk:
    """SETTINGS, and then `what` for ever, `at_once` at a time, without reading a byte."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio does not tell of it
        writer.write(OPEN)
        while True:
            writer.write(what * at_once)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


@pytest.mark.parametrize(
    "what", [frame(PING, bytes(8)), settings({MAX_CONCURRENT_STREAMS: 100})], ids=["PING", "SETTINGS"]
)
async def test_a_flood_of_requests_for_acknowledgements(what: bytes, http2: str, certs: Certificates) -> None:
    """The connection ends by name before our side has kept much for a peer that does not read."""
    if http2 == "reference":
        pytest.skip("python-hyper/h2 takes minutes to fill the sockets; tests/protocol has this for both")
    async with (
        RawServer(flooding(what, 5000), certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=30.0, max_connections=1)) as client,
    ):
        sending = asyncio.create_task(client.send(push()))
        await soon(lambda: client._dispatcher.pool.links)
        (link,) = client._dispatcher.pool.links
        most = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20.0):
                while not link.gone.done() and link._transport is not None:
                    most = max(most, link._transport.get_write_buffer_size())
                    await asyncio.sleep(0.01)
        error = link.connection.error
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert isinstance(error, ProtocolError), f"still there after {most} bytes kept: {error!r}"
        assert most < 1_000_000


async def test_a_server_that_stops_reading(http2: str, certs: Certificates) -> None:
    """It grants a large window and reads nothing: what the transport took is in doubt, the rest is not sent."""
    grant = frame(8, struct.pack(">I", 2**30))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings({MAX_CONCURRENT_STREAMS: 100_000, INITIAL_WINDOW_SIZE: 2**30}) + grant)
        await writer.drain()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio does not tell of it
        await asyncio.Event().wait()

    payload = {"aps": {"alert": "x" * 4000}}
    number = 4000  # 16 MB: more than sockets and transports hold
    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=1.0, max_connections=2)) as client,
    ):
        sending = [asyncio.create_task(client.send(push(index, payload))) for index in range(number)]
        async with asyncio.timeout(10 * SLACK):  # python-hyper/h2 takes three seconds with nothing beside it
            results = await asyncio.gather(*sending)
        count = verdicts(results)
        assert count.keys() <= {Verdict.UNKNOWN, Verdict.UNSENT}
        assert count[Verdict.UNKNOWN] > 0
        assert server.accepted <= 4
        for result in results:
            assert isinstance(result.detail, ResponseTimeout | ConnectionLost)


async def test_a_server_whose_connection_window_is_full(http2: str, certs: Certificates) -> None:
    """65 535 bytes go out and no more; the rest is surely unsent."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings({MAX_CONCURRENT_STREAMS: 1000}))
        await hold(reader)

    payload = {"aps": {"alert": "x" * 4000}}
    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT, max_connections=1)) as client,
    ):
        async with asyncio.timeout(TIMEOUT + SLACK):
            results = await send_all(client, [push(number, payload) for number in range(40)])
        written = 65_535 // 4020
        assert verdicts(results) == {Verdict.UNKNOWN: written, Verdict.UNSENT: 40 - written}
        assert server.accepted == 1


async def test_silence_after_the_pushes_is_noticed_by_ping(http2: str, certs: Certificates) -> None:
    """No byte for half the timeout: a PING goes out, and without an ACK the connection is replaced."""
    received = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OPEN)
        while data := await reader.read(65_536):
            received.extend(data)

    async with (
        RawServer(talk, certs.server_context()) as server,
        using(raw_client(certs, server.url, http2=http2, timeout=TIMEOUT)) as client,
    ):
        results = await ten_pushes(client)
        assert verdicts(results) == {Verdict.UNKNOWN: 10}
        assert b"\x00\x00\x08\x06\x00\x00\x00\x00\x00pushcore" in received
        assert server.accepted == 1


# --- dying in the middle ------------------------------------------------------------------------------------------


class Half:
    """Answers the first half of what it expects and keeps the rest."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.seen: list[int] = []
        self.peers: list[Nghttp2Connection] = []

    def open(self, peer: Nghttp2Connection) -> Any:
        self.peers.append(peer)
        return self.answer

    def answer(self, requests: list[Request]) -> list[Answer]:
        answers: list[Answer] = []
        for stream_id, _, _ in requests:
            self.seen.append(stream_id)
            if len(self.seen) <= self.expected // 2:
                answers.append((stream_id, ((b":status", b"200"),), b""))
        return answers


@contextlib.asynccontextmanager
async def half_server(certs: Certificates, half: Half) -> AsyncIterator[str]:
    context = certs.server_context()
    server = H2Server(half.open, context, settings={MAX_CONCURRENT_STREAMS: 1000})
    await server.start("127.0.0.1", 0)
    try:
        yield f"https://127.0.0.1:{server.port}"
    finally:
        await server.close(0.1)


@pytest.mark.parametrize("end", ["abort", "goaway"])
async def test_death_in_the_middle_of_500(end: str, http2: str, certs: Certificates) -> None:
    half = Half(500)
    async with (
        half_server(certs, half) as url,
        using(raw_client(certs, url, http2=http2, max_connections=1)) as client,
    ):
        sending = [asyncio.create_task(client.send(push(number))) for number in range(500)]
        await soon(lambda: len(half.seen) == 500 and sum(task.done() for task in sending) == 250)
        (peer,) = half.peers
        half.expected = 1_000_000
        if end == "abort":
            peer.abort()
        else:
            # Nothing more is processed, it says, and keeps its word: the rest is safe to send again.
            peer.goaway(last_stream_id=sorted(half.seen)[249])
        async with asyncio.timeout(5):
            results = await asyncio.gather(*sending)
        if end == "abort":
            assert verdicts(results) == {Verdict.ACCEPTED: 250, Verdict.UNKNOWN: 250}
            assert len(half.seen) == 500
            lost = [result for result in results if not result.ok]
            assert all(isinstance(result.detail, ConnectionLost) for result in lost)
            assert {result.attempts for result in lost} == {1}
        else:
            assert verdicts(results) == {Verdict.ACCEPTED: 500}
            assert Counter(result.attempts for result in results) == {1: 250, 2: 250}
            assert len(half.peers) == 2
        assert (await client.send(push())).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("end", [goaway(1), b"", frame(RST_STREAM, struct.pack(">I", 7), stream=1)])
async def test_the_end_comes_while_a_large_body_is_in_parts(
    end: bytes, http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose end was never sent cannot have been acted on: it is sent again, whole."""
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    bodies: list[bytes] = []
    large = {"aps": {"alert": "x" * 4000}}

    def open_handler(peer: Nghttp2Connection) -> Any:
        def answer(requests: list[Request]) -> list[Answer]:
            bodies.extend(body for _, _, body in requests)
            return [(stream_id, ((b":status", b"200"),), b"") for stream_id, _, _ in requests]

        return answer

    good = H2Server(open_handler, certs.server_context(), settings={MAX_CONCURRENT_STREAMS: 100})

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings({MAX_CONCURRENT_STREAMS: 100, INITIAL_WINDOW_SIZE: 1000}))
        await reader.readuntil(b'"xxxxxxxx')
        writer.write(end)
        await writer.drain()
        if end and end[3] == RST_STREAM:
            writer.write(settings({INITIAL_WINDOW_SIZE: 100_000}))
            await hold(reader)

    async with RawServer(talk, certs.server_context()) as bad:
        await good.start("127.0.0.1", 0)
        try:
            client = raw_client(certs, bad.url, http2=http2, timeout=1.0)
            async with using(client):
                client._dispatcher.pool.dialer.port = bad.port
                sending = asyncio.create_task(client.send(push(1, large)))
                await soon(lambda: bad.accepted)
                client._dispatcher.pool.dialer.port = (
                    good.port
                )  # from now on the name leads to a better server
                result = await sending
                if end and end[3] == RST_STREAM:
                    # Refused, and sent again on the same connection, which has opened its window since.
                    assert result.verdict in (Verdict.UNKNOWN, Verdict.UNSENT)
                    assert bad.accepted == 1
                else:
                    assert (result.verdict, result.attempts) == (Verdict.ACCEPTED, 2)
                    assert [len(body) for body in bodies] == [len(orjson.dumps(large))]
        finally:
            await good.close(0.1)
