"""Google's front end: manners on HTTP/2, the same handlers on HTTP/1.1, and what happens to clients that misbehave."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeFcm, FrontEndPolicy, ServerLimits, fated_registration
from fakeservers.serving.google_front import BARE_POLICY
from tests.fakeservers.client import DEADLINE, Client, soon
from tests.fakeservers.fcm_client import Watcher, send_body, send_headers, send_path


async def test_what_it_announces() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        assert client.streams == 100
        assert client.h2.remote_settings.initial_window_size == 1_048_576
        assert client.h2.remote_settings.header_table_size == 4096
        await client.push(send_headers(fake), send_body())
        assert client.h2.outbound_flow_control_window > 900_000


async def test_an_answer_ends_with_an_empty_frame_and_a_ping() -> None:
    async with FakeFcm() as fake, await Watcher.watch(fake) as client:
        stream_id = client.request(send_headers(fake), send_body())
        await client.reply(stream_id)
        await client.until(lambda: ("ping", 0) in client.seen)
        assert client.seen == [
            ("headers", stream_id),
            ("data", stream_id),
            ("empty data", stream_id),
            ("ping", 0),
        ]


async def test_a_ping_for_every_answer() -> None:
    async with FakeFcm() as fake, await Watcher.watch(fake) as client:
        headers = send_headers(fake)
        for stream_id in [client.request(headers, send_body()) for _ in range(20)]:
            await client.reply(stream_id)
        await client.until(lambda: client.seen.count(("ping", 0)) == 20)


async def test_an_empty_answer_has_no_data() -> None:
    async with FakeFcm() as fake, await Watcher.watch(fake) as client:
        reply = await client.push(send_headers(fake), send_body(token=fated_registration("EmptyBody")))
        assert (reply.status, reply.body) == (500, b"")
        assert [name for name, _ in client.seen if name != "ping"] == ["headers"]


async def test_habits_can_be_dropped() -> None:
    async with FakeFcm(policy=BARE_POLICY) as fake, await Watcher.watch(fake) as client:
        for _ in range(2):
            await client.push(send_headers(fake), send_body())
        assert client.seen == [("headers", 1), ("data", 1), ("headers", 3), ("data", 3)]


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (FrontEndPolicy(split_end=False), ["headers", "data", "ping"]),
        (FrontEndPolicy(ping=False), ["headers", "data", "empty data"]),
    ],
)
async def test_each_habit_by_itself(policy: FrontEndPolicy, seen: list[str]) -> None:
    async with FakeFcm(policy=policy) as fake, await Watcher.watch(fake) as client:
        await client.push(send_headers(fake), send_body())
        await client.push(send_headers(fake), send_body())
        assert [name for name, _ in client.seen][: len(seen)] == seen
        assert ("ping" in seen) == (("ping", 0) in client.seen)


async def test_too_many_pings() -> None:
    async with FakeFcm() as fake, await Watcher.watch(fake) as client:
        for _ in range(5):  # a request between them excuses two
            client.ping()
            client.ping()
            await client.push(send_headers(fake), send_body())
        assert client.goaway is None
        for _ in range(3):
            client.ping()
        await client.until(lambda: client.lost)
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.additional_data) == (0xB, b"too_many_pings")


async def test_acknowledgements_are_no_pings() -> None:
    """h2 acknowledges every PING of ours; that must not count."""
    async with FakeFcm() as fake, await Watcher.watch(fake) as client:
        headers = send_headers(fake)
        for stream_id in [client.request(headers, send_body()) for _ in range(10)]:
            await client.reply(stream_id)
        await client.until(lambda: client.seen.count(("ping", 0)) == 10)
        client.ping()
        assert (await client.push(headers, send_body())).status == 200
        assert client.goaway is None


@pytest.mark.parametrize("split_end", [True, False])
async def test_session_timeout(split_end: bool) -> None:
    policy = FrontEndPolicy(session_timeout=0.4, max_age=0.0, split_end=split_end, ping=False)
    async with FakeFcm(policy=policy) as fake, await Client.connect(fake) as client:
        # A request that waits longer than that keeps the session open.
        slow = client.request(send_headers(fake), send_body(token=fated_registration("Slow", 1, ms=800)))
        assert (await client.reply(slow)).status == 200
        assert client.goaway is None
        await client.until(lambda: client.lost)
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.additional_data) == (0, b"session_timeout")
        assert client.goaway.last_stream_id == slow


async def test_max_age() -> None:
    policy = FrontEndPolicy(session_timeout=0.0, max_age=0.4)
    async with FakeFcm(policy=policy) as fake, await Client.connect(fake) as client:
        slow = client.request(send_headers(fake), send_body(token=fated_registration("Slow", 1, ms=800)))
        await client.until(lambda: client.goaway is not None)
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.additional_data) == (0, b"max_age")
        assert slow not in client.ended
        assert (await client.reply(slow)).status == 200  # what was begun is answered
        await client.until(lambda: client.lost)


async def test_more_streams_than_allowed() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        await client.push(headers, send_body())  # its SETTINGS are acknowledged by now
        client.pretend_streams(1000)
        for _ in range(101):
            client.request(headers, send_body(token=fated_registration("Stall")))
        await client.until(lambda: client.lost)
        assert client.goaway is not None
        assert (client.goaway.error_code, client.goaway.additional_data) == (
            1,
            b"exceeded_max_concurrent_streams",
        )


async def test_as_many_streams_as_allowed() -> None:
    async with FakeFcm(delay=0.02) as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        for _ in range(3):
            for stream_id in [client.request(headers, send_body()) for _ in range(100)]:
                assert (await client.reply(stream_id)).status == 200
        assert client.goaway is None


async def test_a_limit_that_changes() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.update_settings({3: 7})
        await client.until(lambda: client.streams == 7)


async def test_it_asks_for_no_certificate(tmp_path: Path) -> None:
    stranger = Certificates.create(tmp_path).client_certificate("com.example.app")
    (tmp_path / "client.pem").write_bytes(stranger.pem())
    async with FakeFcm() as fake, await Client.connect(fake, pem=str(tmp_path / "client.pem")) as client:
        assert (await client.push(send_headers(fake), send_body())).status == 200


async def test_without_an_authority() -> None:
    """Google answers 400 here; libnghttp2 resets the stream, and its PROTOCOL_ERROR is what clients see."""
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = [send_header for send_header in send_headers(fake) if send_header[0] != ":authority"]
        assert (await client.push(headers, send_body())).reset == 1
        assert (await client.push(send_headers(fake), send_body())).status == 200


# HTTP/1.1


class Plain:
    """A client that writes bytes and reads answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def request(self, fake: FakeFcm, body: bytes, *lines: str, path: str = "") -> None:
        head = [
            f"POST {path or send_path(fake)} HTTP/1.1",
            f"Host: {fake.url.removeprefix('https://')}",
            f"Authorization: Bearer {fake.oauth.issue()}",
            f"Content-Length: {len(body)}",
            *lines,
        ]
        self.write("\r\n".join([*head, "", ""]).encode() + body)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(DEADLINE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return int(head[0].split()[1]), headers, body

    async def ended(self) -> bytes:
        """All that still comes until the server closes or cuts."""
        async with asyncio.timeout(DEADLINE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def plain(fake: FakeFcm, *alpn: str) -> AsyncIterator[Plain]:
    context = ssl.create_default_context(cafile=fake.ca_file)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    host, port = fake.url.removeprefix("https://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        yield Plain(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@pytest.mark.parametrize("alpn", [("http/1.1",), ()])
async def test_http1_by_alpn_or_without(alpn: tuple[str, ...]) -> None:
    async with FakeFcm() as fake, plain(fake, *alpn) as client:
        for _ in range(3):
            client.request(fake, send_body())
            status, headers, body = await client.reply()
            assert (status, headers["content-type"]) == (200, "application/json; charset=UTF-8")
            assert json.loads(body)["name"].startswith("projects/fake-project/messages/")
        assert (fake.connections, fake.accepted) == (1, 1)
        assert [record.version for record in fake.received] == ["1.1"] * 3
        headers_seen = fake.received[-1].headers
        assert headers_seen[":authority"] == fake.url.removeprefix("https://")
        assert headers_seen[":path"] == send_path(fake)
        assert "host" not in headers_seen


async def test_http1_prefers_nothing_over_http2() -> None:
    async with FakeFcm() as fake:
        async with plain(fake, "http/1.1", "h2") as client:
            assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
            await client.reader.readexactly(9)  # the head of its SETTINGS
        await soon(lambda: not fake.connections)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with FakeFcm(delay=0.01) as fake, plain(fake) as client:
        for fate in ("Unregistered", "Internal", "Unregistered"):
            client.request(fake, send_body(token=fated_registration(fate)))
        assert [(await client.reply())[0] for _ in range(3)] == [404, 500, 404]


async def test_a_body_in_pieces() -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        body = send_body()
        head = f"POST {send_path(fake)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fake.oauth.issue()}\r\n"
        client.write(f"{head}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert (await client.reply())[0] == 100
        client.write(body)
        assert (await client.reply())[0] == 200
        client.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for at in range(len(body)):
            client.write(b"1\r\n" + body[at : at + 1] + b"\r\n")
        client.write(b"0\r\n\r\n")
        assert (await client.reply())[0] == 200
        assert fake.received[-1].body == body


async def test_as_a_proxy_would_be_asked() -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.request(fake, send_body(), path=fake.url + send_path(fake))
        assert (await client.reply())[0] == 200
        assert fake.received[-1].path == send_path(fake)


async def test_a_client_that_wants_no_more() -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.request(fake, send_body(), "Connection: close")
        assert (await client.reply())[0] == 200
        assert await client.ended() == b""


@pytest.mark.parametrize("fate", ["RefusedStream", "InternalReset", "Cut", "GoAwayBefore"])
async def test_fates_that_cut_http1(fate: str) -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.request(fake, send_body(token=fated_registration(fate)))
        assert await client.ended() == b""
        await soon(lambda: not fake.connections)
        assert fake.counts == {(0, fate): 1}


async def test_fates_that_http1_survives() -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.request(fake, send_body(token=fated_registration("Slow", 1, ms=20)))
        assert (await client.reply())[0] == 200
        client.request(fake, send_body(token=fated_registration("GoAway")))
        status, headers, _ = await client.reply()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended() == b""


async def test_a_stalled_request_holds_its_connection() -> None:
    async with FakeFcm() as fake:
        async with plain(fake) as client:
            client.request(fake, send_body(token=fated_registration("Stall")))
            client.request(fake, send_body())
            await soon(lambda: fake.counts[0, "Stall"] == 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client.reader.read(1)
            assert fake.connections == 1
        await soon(lambda: not fake.connections)


async def test_http1_session_timeout() -> None:
    async with FakeFcm(policy=FrontEndPolicy(session_timeout=0.4)) as fake, plain(fake) as client:
        client.request(fake, send_body(token=fated_registration("Slow", 1, ms=800)))
        assert (await client.reply())[0] == 200
        assert await client.ended() == b""


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000, b"HTTP/1.1 431 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\0\4\0\0\0\0\0\0\0\x08\7\0\0\0\0\0\0\0\0\0\0\0\0\1"),
    ],
)
async def test_what_is_no_http1(data: bytes, answer: bytes) -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.write(data)
        assert (await client.ended()).startswith(answer)
        assert fake.server.counters.protocol_errors == 1
        await soon(lambda: not fake.connections)


async def test_a_long_body_is_refused() -> None:
    async with FakeFcm(limits=ServerLimits(max_body=1000)) as fake:
        async with plain(fake) as client:
            client.request(fake, b" " * 100_000 + send_body())
            assert (await client.reply())[0] == 413
            assert len(fake.received[-1].body) == 1001
            client.request(fake, send_body())
            assert (await client.reply())[0] == 200
        async with await Client.connect(fake) as other:
            assert (await other.push(send_headers(fake), b" " * 100_000 + send_body())).status == 413
            assert (await other.push(send_headers(fake), send_body())).status == 200


async def test_pipelining_has_an_end() -> None:
    async with FakeFcm() as fake, plain(fake) as client:
        client.request(fake, send_body(token=fated_registration("Stall")))
        client.write(b" " * 2_000_000)
        assert await client.ended() == b""
        await soon(lambda: not fake.connections)


async def test_connections_are_counted_over_both_protocols() -> None:
    async with FakeFcm(limits=ServerLimits(max_connections=2)) as fake:
        async with plain(fake) as first, await Client.connect(fake) as second:
            first.request(fake, send_body())
            assert (await first.reply())[0] == 200
            async with plain(fake) as third:
                assert await third.ended() == b""
            assert (await second.push(send_headers(fake), send_body())).status == 200
            assert (fake.connections, fake.accepted, fake.server.counters.connections_refused) == (2, 2, 1)
        await soon(lambda: not fake.connections)
        async with await Client.connect(fake) as fourth:
            assert (await fourth.push(send_headers(fake), send_body())).status == 200


async def test_it_ends_with_clients_connected() -> None:
    async with FakeFcm() as fake:
        async with asyncio.timeout(DEADLINE):
            client = await Client.connect(fake)
            await client.push(send_headers(fake), send_body())
            context = ssl.create_default_context(cafile=fake.ca_file)
            host, port = fake.url.removeprefix("https://").rsplit(":", 1)
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            one = Plain(reader, writer)
            one.request(fake, send_body(token=fated_registration("Slow", 1, ms=100)))
            await soon(lambda: fake.counts[200, "Slow"] == 1)
    status, headers, _ = await one.reply()
    assert (status, headers["connection"]) == (200, "close")
    await client.until(lambda: client.lost)
    writer.close()
    await writer.wait_closed()


@pytest.mark.uvloop
async def test_it_ends_on_uvloop_too() -> None:
    """`set_protocol` in the middle of a handshake is where the loops differ."""
    async with FakeFcm() as fake, plain(fake, "http/1.1") as client:
        client.request(fake, send_body())
        assert (await client.reply())[0] == 200
