"""Connections that go wrong from their beginning: TCP, TLS, slow bytes and first SETTINGS; seen by sockets, curl, openssl."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm, H2Server, ServerLimits
from fakeservers.faults import (
    Answer,
    Connect,
    FaultPlan,
    Greeting,
    Slow,
    Tls,
    Truncate,
)
from tests.fakeservers.client import DEADLINE, Client, headers_for, provider_token, soon
from tests.fakeservers.faults_client import (
    HEADERS,
    SETTINGS,
    RawClient,
    address_of,
    context_for,
    run,
    settings_of,
)
from tests.fakeservers.faults_support import Paused, one, plan_of
from tests.fakeservers.fcm_client import curl

pytestmark = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])


async def first_bytes(fake: FakeApns | FakeFcm, said: bytes = b"") -> bytes | str:
    """What a TCP connection brings within a moment: bytes, or `refused`, `reset`, `closed`, `silent`."""
    try:
        reader, writer = await asyncio.open_connection(*address_of(fake))
    except ConnectionRefusedError:
        return "refused"
    except ConnectionResetError:
        return "reset"
    try:
        writer.write(said)
        async with asyncio.timeout(0.3):
            return await reader.read(1000) or "closed"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silent"
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("provider", [FakeApns, FakeFcm])
@pytest.mark.parametrize(("how", "seen"), [("reset", "reset"), ("close", "closed"), ("silent", "silent")])
async def test_before_tls(how: str, seen: str, provider: Any, loop: str) -> None:
    plan = plan_of(Connect(how=how), connection=(1, "3-4"))
    async with provider(faults=plan) as fake:
        results = [await first_bytes(fake) for _ in range(5)]
        assert results == [seen, "silent", seen, seen, "silent"]  # an honest server waits for ClientHello
        assert plan.hits["x"] == 3
        assert (fake.accepted, fake.server.arrivals) == (0, 5)


@pytest.mark.needs("curl")
async def test_plain_http_where_tls_should_be(loop: str) -> None:
    async with FakeApns(faults=plan_of(Connect(how="plain"))) as fake:
        assert str(await first_bytes(fake, b"\x16\x03\x01")).startswith("b'HTTP/1.1 400 Bad Request")
        code, output = await curl("--cacert", fake.ca_file, fake.url)
        assert code == 35, output  # an SSL connect error


async def test_nobody_listens_for_a_while(loop: str) -> None:
    async with FakeApns() as fake:
        port = fake.server.port
        async with await Client.connect(fake) as client:  # who is in stays in
            fake.faults.add(one("x", Connect(how="refuse")))
            assert await first_bytes(fake) == "refused"
            assert (await client.push(headers_for(fake, provider_token(fake)))).status == 200
            fake.faults.enable("x", False)
            assert await first_bytes(fake) == "silent"
            assert fake.server.port == port
            fake.faults.enable("x")
            assert await first_bytes(fake) == "refused"
        assert fake.faults.hits["x"] == 2
    async with FakeApns(port=port) as fake:
        assert await first_bytes(fake) == "silent"


async def test_refusal_by_time(loop: str) -> None:
    plan = Paused(0, [one("x", Connect(how="refuse"), until=0.2)])
    async with FakeApns(faults=plan) as fake:
        assert await first_bytes(fake) == "refused"
        plan.now = 0.2
        async with asyncio.timeout(DEADLINE):
            while await first_bytes(fake) == "refused":
                await asyncio.sleep(0.01)
        plan.now = 0.0
        plan.restart()
        assert await first_bytes(fake) == "refused"


async def test_somebody_takes_the_port_meanwhile(loop: str) -> None:
    async with FakeApns(faults=plan_of(Connect(how="refuse"))) as fake:
        with socket.socket() as other:
            other.bind(address_of(fake))
            other.listen()
            fake.faults.clear()
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            while await first_bytes(fake) == "refused":
                await asyncio.sleep(0.01)


async def test_tls_that_begins_late(loop: str) -> None:
    async with FakeApns(faults=plan_of(Connect(how="delay", seconds=0.2))) as fake:
        began = time.monotonic()
        async with await Client.connect(fake) as client:
            assert time.monotonic() - began >= 0.2
            assert (await client.push(headers_for(fake, provider_token(fake)))).status == 200


BAD_CERTIFICATES = {
    "expired": ("certificate has expired", 10),
    "early": ("certificate is not yet valid", 9),
    "wrong-host": ("IP address mismatch", 0),
    "wrong-ca": ("certificate signature failure", 7),
}


@pytest.mark.needs("openssl", "curl")
@pytest.mark.parametrize("provider", [FakeApns, FakeFcm])
@pytest.mark.parametrize("how", BAD_CERTIFICATES)
async def test_bad_certificates(how: str, provider: Any, loop: str, tmp_path: Path) -> None:
    words, code = BAD_CERTIFICATES[how]
    plan = plan_of(Tls(how=how), connection="1-3")
    async with provider(faults=plan) as fake:
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            await asyncio.open_connection(*address_of(fake), ssl=context_for(fake))
        assert words in str(caught.value) or "unable to get local issuer" in str(caught.value), caught.value
        address = ":".join(map(str, address_of(fake)))
        result = await run(
            *("openssl", "s_client", "-connect", address, "-CAfile", fake.ca_file, "-alpn", "h2"),
            *("-verify_ip", "127.0.0.1"),
        )
        assert "Verify return code: 0 (ok)" not in result[1]
        if code:
            assert (
                f"error:num={code}:" in result[1] or f"num={code}:" in result[1] or "num=20:" in result[1]
            ), result[1]
        assert (await curl("--cacert", fake.ca_file, fake.url))[0] == 60
        async with await Client.connect(fake):
            assert plan.hits["x"] == 3
        assert not list(Path(fake.certs.directory).glob(f"server-{how}*"))  # its key is on no disk


@pytest.mark.parametrize(
    ("how", "offered", "selected"),
    [
        ("no-alpn", ("h2", "http/1.1"), None),
        ("no-alpn", ("h2",), None),
        ("http/1.1", ("h2", "http/1.1"), "http/1.1"),
        ("http/1.1", ("h2",), None),
        ("", ("h2",), "h2"),
    ],
)
async def test_alpn(how: str, offered: tuple[str, ...], selected: str | None, loop: str) -> None:
    plan = plan_of(Tls(how=how)) if how else FaultPlan()
    async with FakeApns(faults=plan) as fake:
        _, writer = await asyncio.open_connection(*address_of(fake), ssl=context_for(fake, offered))
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == selected
        writer.transport.abort()
        await soon(lambda: fake.connections == 0)


@pytest.mark.needs("openssl")
async def test_openssl_sees_no_alpn(loop: str) -> None:
    async with FakeApns(faults=plan_of(Tls(how="no-alpn"), connection=1)) as fake:
        call = ("openssl", "s_client", "-connect", ":".join(map(str, address_of(fake))), "-alpn", "h2")
        assert "No ALPN negotiated" in (await run(*call))[1]
        assert "ALPN protocol: h2" in (await run(*call))[1]


async def test_http_2_without_alpn_is_spoken_all_the_same(loop: str) -> None:
    """As with Apple; a client that insists on ALPN must not get here."""
    async with FakeApns(faults=plan_of(Tls(how="no-alpn"))) as fake, RawClient(fake) as client:
        assert (await client.answer(client.request(headers_for(fake, provider_token(fake)))))[
            0
        ].kind == HEADERS


async def test_a_handshake_that_is_cut(loop: str) -> None:
    async with FakeApns(faults=plan_of(Tls(how="cut"), connection=1)) as fake:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(*address_of(fake), ssl=context_for(fake))
        async with await Client.connect(fake):
            assert fake.accepted == 1


async def test_slow_bytes(loop: str) -> None:
    async with FakeApns(faults=plan_of(Slow(bytes=20, seconds=0.02))) as fake, RawClient(fake) as client:
        headers = headers_for(fake, provider_token(fake), "zz")
        began = time.monotonic()
        await client.answer(client.request(headers))
        sent = sum(9 + len(frame.payload) for frame in client.frames)
        assert time.monotonic() - began >= (sent // 20 - 1) * 0.02 * 0.9
        assert sent > 100


async def test_a_slow_connection_is_not_read_faster_than_it_answers(loop: str) -> None:
    plan = plan_of(Slow(bytes=10, seconds=0.01))
    async with (
        FakeApns(faults=plan, limits=ServerLimits(max_buffered=1000)) as fake,
        RawClient(fake) as client,
    ):
        await client.until(lambda: bool(client.of(SETTINGS)))
        for _ in range(900):  # each is to be acknowledged
            client.send(b"\0\0\x08\6\0\0\0\0\0" + b"pingping")
        peer = next(iter(fake.server.peers))
        await soon(lambda: not peer._transport.is_reading())
        assert peer._transport.get_write_buffer_size() < 200_000


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("size", [0, 5, 70, 100])
async def test_truncation(size: int, how: str, loop: str) -> None:
    async with FakeApns(faults=plan_of(Truncate(bytes=size, how=how))) as fake, RawClient(fake) as client:
        client.request(headers_for(fake, provider_token(fake)))
        await client.to_the_end()
        got = sum(9 + len(frame.payload) for frame in client.frames) + len(client.data)
        if how == "close":
            assert got == size
        else:
            assert got <= size
            assert isinstance(client.broken, ConnectionResetError)
        await soon(lambda: fake.connections == 0)


async def test_what_the_first_settings_say(loop: str) -> None:
    values = (("MAX_CONCURRENT_STREAMS", 7), ("HEADER_TABLE_SIZE", 0), ("INITIAL_WINDOW_SIZE", 1))
    plan = plan_of(Greeting(values=values), connection=1)
    async with FakeApns(faults=plan) as fake:
        for expected in ({3: 7, 1: 0, 4: 1}, {3: 1, 1: 4096, 4: 65_535}):
            async with RawClient(fake) as client:
                await client.until(lambda: bool(client.of(SETTINGS)))
                said = settings_of(client.of(SETTINGS)[0])
                assert said == {1: 4096, 3: 1, 4: 65_535, 5: 16_384, 6: 8000} | expected


async def test_a_share_of_connections(loop: str) -> None:
    runs = []
    for seed in (5, 5, 6):
        plan = plan_of(Connect(how="close"), seed=seed, share=0.8)
        async with FakeApns(faults=plan) as fake:
            runs.append([await first_bytes(fake) for _ in range(10)])
        assert plan.hits["x"] == runs[-1].count("closed")
    assert runs[0] == runs[1] != runs[2]
    assert 4 < runs[0].count("closed") < 10


async def test_counts_of_connections(loop: str) -> None:
    plan = plan_of(Connect(how="close"), every=2, limit=2)
    async with FakeApns(faults=plan) as fake:
        results = [await first_bytes(fake) for _ in range(6)]
        assert results == ["silent", "closed"] * 2 + ["silent"] * 2


async def test_silent_connections_are_bounded_and_end_with_the_fake(loop: str) -> None:
    async with FakeApns(
        faults=plan_of(Connect(how="silent")), limits=ServerLimits(max_connections=3)
    ) as fake:
        writers = [(await asyncio.open_connection(*address_of(fake)))[1] for _ in range(3)]
        await soon(lambda: fake.server.arrivals == 3)
        assert await first_bytes(fake) in ("closed", "reset")
        for writer in writers[:2]:
            writer.transport.abort()
    writers[2].transport.abort()


async def test_a_fake_ends_in_the_middle_of_handshakes(loop: str) -> None:
    async with FakeApns(faults=plan_of(Connect(how="delay", seconds=60.0), connection=1)) as fake:
        writers = [(await asyncio.open_connection(*address_of(fake)))[1] for _ in range(2)]
        await soon(lambda: fake.server.arrivals == 2)
    for writer in writers:
        writer.transport.abort()


async def test_several_addresses_have_one_port(loop: str) -> None:
    async with FakeApns(host="localhost") as fake:
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                result = await asyncio.get_running_loop().getaddrinfo("localhost", 0, family=family)
            except socket.gaierror:
                continue
            _, writer = await asyncio.open_connection(
                str(result[0][4][0]), fake.server.port, ssl=context_for(fake)
            )
            writer.transport.abort()


async def test_no_more_files_is_waited_out(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakeservers.serving.listener.REST", 0.05)
    async with FakeApns() as fake:
        port = fake.server._listener
        assert port is not None
        (listener,) = port._sockets

        class Exhausted:
            """Has no more files, the first time that it is asked."""

            tried = 0

            def fileno(self) -> int:
                return listener.fileno()

            def accept(self) -> Any:
                self.tried += 1
                if self.tried == 1:
                    raise OSError(errno.EMFILE, "Too many open files")
                return listener.accept()

        exhausted = Exhausted()
        loop_now = asyncio.get_running_loop()
        loop_now.remove_reader(listener.fileno())
        port._sockets[:] = [exhausted]  # type: ignore[list-item]  # it does of a socket what is asked of it here
        loop_now.add_reader(listener.fileno(), port._accept, exhausted)  # type: ignore[arg-type]  # it does of a socket what is asked of it here
        async with await Client.connect(fake):
            assert exhausted.tried >= 2
        port._sockets[:] = [listener]


async def test_a_port_in_use(loop: str) -> None:
    async with FakeApns() as fake:
        with pytest.raises(OSError, match="in use"):
            async with FakeApns(port=fake.server.port):
                pass
        assert isinstance(fake.server, H2Server)


async def test_providers_of_connections(loop: str) -> None:
    plan = FaultPlan(
        0, [one("x", Connect(how="close"), provider="fcm"), one("y", Answer(status=500), provider="fcm")]
    )
    async with FakeApns(faults=plan) as fake, FakeFcm(faults=plan) as other:
        assert await first_bytes(fake) == "silent"
        assert await first_bytes(other) == "closed"
        assert fake.server.faults is None
