"""Clients that break off, flood or talk nonsense lose their own connection, and nobody hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator

import pytest

from fakeservers import Certificates, FakeApns, H2Server, Nghttp2Connection, ServerLimits, fated_token
from fakeservers.faults import Fault, FaultPlan, Shape
from fakeservers.serving.types import Answer, Handler, Request
from tests.fakeservers.client import DEADLINE, Client, headers_for, provider_token, soon

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"

pytestmark = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])


@contextlib.asynccontextmanager
async def bystander(
    caplog: pytest.LogCaptureFixture, limits: ServerLimits | None = None
) -> AsyncIterator[FakeApns]:
    """A fake with an honest client that must be served before and after, without a word in the log."""
    async with FakeApns(limits=limits) as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        assert (await client.push(headers)).status == 200
        yield fake
        assert (await client.push(headers)).status == 200
        await soon(lambda: fake.connections == 1)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def talk(fake: FakeApns, *parts: bytes, tls: bool = True, alpn: str = "h2") -> bytes:
    """Send the parts, then read until the server closes."""
    context = None
    if tls:
        context = ssl.create_default_context(cafile=fake.ca_file)
        context.set_alpn_protocols([alpn])
    host, port = fake.url.removeprefix("https://").rsplit(":", 1)
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.read(-1)
        except (ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()


async def test_garbage_instead_of_tls(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake:
        await talk(fake, b"GET / HTTP/1.1\r\n\r\n", tls=False)
        assert fake.accepted == 1


@pytest.mark.parametrize("alpn", ["h2", "http/1.1"])
async def test_another_protocol_within_tls(loop: str, alpn: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake:
        await talk(fake, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", alpn=alpn)
        assert fake.server.counters.protocol_errors == 1


async def test_garbage_after_the_preface(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake:
        answer = await talk(fake, PREFACE + SETTINGS + b"\xff" * 100)
        assert b"too large frame size" in answer


async def test_half_a_preface_then_gone(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake:
        half = await Client.connect(fake)
        half.transport.abort()
        context = ssl.create_default_context(cafile=fake.ca_file)
        host, port = fake.url.removeprefix("https://").rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(PREFACE[:10])
        await soon(lambda: fake.accepted == 3)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_gone_with_answers_waiting(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake:
        client = await Client.connect(fake)
        async with client:
            token = provider_token(fake)
            await client.push(headers_for(fake, token))
            for _ in range(50):
                client.request(headers_for(fake, token, fated_token("Slow", ms=20)))
            await soon(lambda: fake.server.counters.requests == 52)
            client.transport.abort()
            await client.until(lambda: client.lost)


async def test_a_flood_of_resets(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog, ServerLimits(resets=(50, 1))) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        for _ in range(60):
            stream = client.request(headers_for(fake, token, fated_token("Stall")))
            client.h2.reset_stream(stream, 8)
        client.flush()
        await client.until(lambda: client.lost)
        assert client.goaway is not None
        assert client.goaway.error_code == 11
        assert fake.server.counters.protocol_errors == 1


@pytest.mark.parametrize("engine", ["libnghttp2", "wire"])
async def test_a_reset_of_a_stream_that_has_its_response_is_free(loop: str, engine: str) -> None:
    faults = FaultPlan(0, [Fault(id="x", what=Shape())]) if engine == "wire" else None
    limits = ServerLimits(resets=(50, 1))
    async with FakeApns(faults=faults, limits=limits) as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        for _ in range(200):
            stream = client.request(headers)
            await client.reply(stream)
            # As curl does when it is done with a request; python-hyper/h2 would not send it on a closed stream.
            client.transport.write(b"\0\0\4\3\0" + stream.to_bytes(4, "big") + b"\0\0\0\0")
        await soon(lambda: fake.counters()["streams_reset_by_client"] == 200)
        assert (client.lost, client.goaway) == (False, None)
        assert (fake.accepted, fake.pushes.accepted) == (1, 200)


async def test_headers_beyond_the_limit(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog) as fake, await Client.connect(fake) as client:
        client.h2.max_outbound_frame_size = 1 << 20
        client.request(headers_for(fake, "x" * 20_000))
        await client.until(lambda: client.lost)


async def test_one_connection_too_many(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async with bystander(caplog, ServerLimits(max_connections=1)) as fake:
        await talk(fake)
        assert (fake.accepted, fake.server.counters.connections_refused) == (1, 1)


async def test_a_client_that_reads_no_answers_is_not_read_either(loop: str) -> None:
    answered: list[int] = []

    def open_handler(peer: Nghttp2Connection) -> Handler:
        def answer(requests: list[Request]) -> list[Answer]:
            answered.extend(stream_id for stream_id, _, _ in requests)
            return [(stream_id, [(b":status", b"200")], bytes(100_000)) for stream_id, _, _ in requests]

        return answer

    with tempfile.TemporaryDirectory() as directory:
        certs = Certificates.create(directory)
        server = H2Server(
            open_handler, certs.server_context(), settings={}, limits=ServerLimits(max_buffered=65_536)
        )
        await server.start("127.0.0.1", 0)
        context = ssl.create_default_context(cafile=certs.ca_file)
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, limit=1024)
        largest = (2**31 - 1).to_bytes(4, "big")
        window = b"\x00\x00\x04\x08\x00" + bytes(4) + (2**31 - 65_536).to_bytes(4, "big")
        writer.write(PREFACE + b"\x00\x00\x06\x04\x00" + bytes(4) + b"\x00\x04" + largest + window)
        get = b"\x82\x84\x87\x01\x01x"  # GET / https, :authority x

        async def ask() -> None:
            for stream_id in range(1, 4000, 2):
                writer.write(b"\x00\x00\x06\x01\x05" + stream_id.to_bytes(4, "big") + get)
                async with asyncio.timeout(0.3):
                    while not answered or answered[-1] != stream_id:
                        await asyncio.sleep(0)

        with pytest.raises(TimeoutError):
            await ask()
        # What was answered lies in the buffers of the sockets, megabytes, not in ours.
        assert 1 < len(answered) < 500
        [peer] = server.peers
        assert peer._transport.get_write_buffer_size() < 1_000_000
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await server.close()
