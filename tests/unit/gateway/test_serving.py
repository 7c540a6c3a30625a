"""How the gateway is served: the time that a client has for its headers, signals, and what is told when it cannot listen."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers.certs import Certificates
from pushcore.audience.problems import BadInput
from pushcore.errors import ConfigurationError
from pushcore.gateway import serving
from pushcore.gateway.config import GatewayConfig, LimitsSection, ServerSection
from pushcore.gateway.door import BODY_SECONDS, SKIPPED
from pushcore.gateway.fields import FAULT
from pushcore.gateway.serving import (
    HEADERS,
    KEEP_ALIVE,
    MOST_HEADERS,
    GatewayServer,
    JoiningTransport,
    TimedProtocol,
    make_server,
    serve,
)
from tests.support.gateway import config_of
from tests.support.virtual import run
from tests.support.virtual_gateway import app

WHOLE = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


class ClientTransport(asyncio.Transport):
    """A client's connection: `written` to it, and whether it is `closed`."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.writes = 0
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data
        self.writes += 1

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


async def respond(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"body"})


def connected(work: Callable[[TimedProtocol, ClientTransport], Coroutine[Any, Any, None]]) -> ClientTransport:
    """Run `work` with a connection to a server."""
    transport = ClientTransport()

    async def whole() -> None:
        config = uvicorn.Config(respond, loop="none", http=TimedProtocol, ws="none", log_config=None)
        config.timeout_keep_alive = KEEP_ALIVE
        config.load()
        state = uvicorn.server.ServerState()
        protocol = TimedProtocol(config, state, {}, _loop=asyncio.get_running_loop())
        protocol.connection_made(transport)
        await work(protocol, transport)
        protocol.connection_lost(None)

    run(whole())
    return transport


@pytest.mark.parametrize("sent", [b"", b"GET /", WHOLE[:-2], WHOLE + b"GET /"])
def test_headers_must_come_in_time(sent: bytes) -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        if sent:
            protocol.data_received(sent)
        await asyncio.sleep(HEADERS - 0.1)
        assert not transport.closed
        await asyncio.sleep(0.2)
        assert transport.closed

    transport = connected(work)
    assert transport.written.startswith(b"HTTP/1.1 200") == sent.startswith(WHOLE)


def test_a_connection_that_is_idle_after_a_request_is_kept() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        for _ in range(3):
            protocol.data_received(WHOLE)
            await asyncio.sleep(KEEP_ALIVE - 1)
        assert not transport.closed
        assert transport.written.count(b"200 OK") == 3
        await asyncio.sleep(2)
        assert transport.closed

    connected(work)


@pytest.mark.parametrize(
    "part", [b"x: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many headers", "one header"]
)
def test_headers_have_a_most_size(part: bytes) -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(WHOLE + WHOLE[:-2])
        sent = 0
        while not transport.closed:
            assert sent <= MOST_HEADERS
            protocol.data_received(part)
            sent += len(part)
            await asyncio.sleep(0)
        assert sent > MOST_HEADERS - 2000

    transport = connected(work)
    assert transport.written.startswith(b"HTTP/1.1 200")
    assert transport.written.count(b"HTTP/1.1 431 ") == 1


def test_headers_that_come_at_once_and_the_bodies_behind_them_have_their_own_limits() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        large = b"x: " + b"a" * (MOST_HEADERS - 100) + b"\r\n\r\n"
        for _ in range(3):
            protocol.data_received(WHOLE[:-2])
            protocol.data_received(large)
            await asyncio.sleep(0.1)
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        for _ in range(10):
            protocol.data_received(b"b" * 100_000)
        await asyncio.sleep(0.1)
        assert not transport.closed

    assert connected(work).written.count(b"HTTP/1.1 200 OK") == 4


def test_the_body_before_the_beginning_of_a_request_is_not_counted_as_its_headers() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        body = b"b" * (MOST_HEADERS + 1)
        protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body))
        protocol.data_received(body + WHOLE[:-2])
        assert not transport.closed
        protocol.data_received(b"\r\n")
        await asyncio.sleep(0.1)

    assert connected(work).written.count(b"HTTP/1.1 200 OK") == 2


def test_the_fields_of_a_trailer_are_no_headers() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(
            b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nauthorization: Bearer x\r\n\r\n"
        )
        assert protocol.cycle.scope["headers"] == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]
        assert not protocol.headers
        await asyncio.sleep(0.1)
        protocol.data_received(WHOLE)
        assert protocol.cycle.scope["headers"] == [(b"host", b"x")]
        await asyncio.sleep(0.1)

    assert connected(work).written.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize("ending", [b"", b"connection: close\r\n"], ids=["kept", "closed"])
def test_a_response_is_one_write(ending: bytes) -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(WHOLE[:-2] + ending + b"\r\n")
        await asyncio.sleep(1)
        assert transport.written.endswith(b"\r\n\r\nbody")
        assert (transport.writes, transport.closed) == (1, bool(ending))

    connected(work)


def test_what_is_written_in_one_turn_is_joined_until_it_is_large_and_lost_with_the_connection() -> None:
    async def work() -> None:
        transport = ClientTransport()
        joining = JoiningTransport(transport, asyncio.get_running_loop())
        joining.write(b"a" * 65_536)
        assert transport.writes == 0
        joining.write(b"b")
        assert transport.writes == 1
        joining.write(b"c")
        await asyncio.sleep(0)
        assert (transport.writes, transport.written[-2:]) == (2, b"bc")
        joining.write(b"d")
        transport.closed = True
        await asyncio.sleep(0)
        assert transport.writes == 2
        assert joining.get_write_buffer_limits == transport.get_write_buffer_limits

    run(work())


POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"
NO_HTTP = b"GET / HTTP/1.1\r\nno header\r\n\r\n"


async def respond_to_body(scope: Any, receive: Any, send: Any) -> None:
    """Responds a second after the whole body; not if the client has gone."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    await asyncio.sleep(1)
    await respond(scope, receive, send)


async def respond_at_once(scope: Any, receive: Any, send: Any) -> None:
    """Begins its response before the body."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    await respond_to_body(scope, receive, lambda message: asyncio.sleep(0))


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (NO_HTTP, [b"400"]),
        (POST + b"body" + NO_HTTP, [b"200"]),
        (POST + b"body" + POST + b"body" + NO_HTTP, [b"200", b"200"]),
        (POST + b"body" + WHOLE[:-2] + b"|x: " + b"a" * MOST_HEADERS, [b"200"]),
        (POST.replace(b"content-length: 4", b"transfer-encoding: chunked") + b"no size", [b"400"]),
        (POST + b"body" + POST.replace(b"content-length: 4", b"transfer-encoding: chunked") + b"no", [b"200", b"400"]),
    ],
    ids=["first", "second", "third", "too large", "body", "second body"],
)  # fmt: skip
def test_what_is_no_request_is_refused_after_the_responses_to_those_before_it(
    sent: bytes, statuses: list[bytes]
) -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.app = respond_to_body
        for data in sent.split(b"|"):
            protocol.data_received(data)
        if not transport.closed:
            protocol.data_received(b"more that is not read")
        await asyncio.sleep(5)
        assert transport.closed

    written = connected(work).written
    assert re.findall(rb"HTTP/1\.1 (\d+)", written) == statuses
    assert written.count(b"connection: close") == 1


def test_a_response_that_has_begun_is_cut_off_where_the_body_is_wrong() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.app = respond_at_once
        protocol.data_received(POST.replace(b"content-length: 4", b"transfer-encoding: chunked"))
        await asyncio.sleep(0.1)
        protocol.data_received(b"no size")
        assert transport.closed

    assert connected(work).written.endswith(b"4\r\npart\r\n")


def test_a_body_that_nobody_reads_must_end_in_time() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        for body in (b"bo", b"d", b"y" + POST, b"b"):
            protocol.data_received(body if transport.written else POST + body)
            await asyncio.sleep(BODY_SECONDS / 4)
        assert transport.written.count(b" 200 OK") == 2
        await asyncio.sleep(BODY_SECONDS / 2 - 1)
        assert not transport.closed
        await asyncio.sleep(2)
        assert transport.closed

    connected(work)


@pytest.mark.parametrize("sent", [b"\r\n", b"body"], ids=["empty line", "body"])
def test_what_begins_no_request_does_not_keep_an_idle_connection(sent: bytes) -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(POST if sent == b"body" else WHOLE)
        await asyncio.sleep(1)
        protocol.data_received(sent)
        await asyncio.sleep(KEEP_ALIVE - 1)
        assert not transport.closed
        await asyncio.sleep(2)
        assert transport.closed

    connected(work)


def test_a_request_with_a_wrong_header_is_marked_and_ends_its_connection() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(WHOLE[:-2] + b"host: y\r\n\r\n")
        scope: Any = protocol.cycle.scope
        protocol.data_received(WHOLE)
        assert scope[FAULT] == "the request has more than one Host header; expected one"
        await asyncio.sleep(0.1)
        assert transport.closed

    assert connected(work).written.count(b"HTTP/1.1 ") == 1


def test_a_connection_that_is_lost_leaves_no_timer() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.connection_lost(None)
        transport.closed = False
        await asyncio.sleep(2 * HEADERS)
        assert not transport.closed

    connected(work)


def test_the_server_is_what_the_configuration_says() -> None:
    section = ServerSection(host="localhost", port=9000, trusted_proxies=("10.0.0.0/8",))
    config = make_server(config_of(app(), server=section, limits=LimitsSection(connections=7))).config
    assert (config.host, config.port, config.limit_concurrency) == ("localhost", 9000, 7)
    assert (config.proxy_headers, config.forwarded_allow_ips) == (True, ["10.0.0.0/8"])
    assert not config.server_header
    assert not make_server(config_of(app())).config.proxy_headers


def test_files_for_https_that_cannot_serve_it_are_named_before_anything_listens(tmp_path: Path) -> None:
    def complaint(certificate: str, key: str) -> str:
        with pytest.raises(BadInput) as raised:
            make_server(config_of(app(), server=ServerSection(certificate=certificate, certificate_key=key)))
        return str(raised.value)

    good = str(Certificates.create(tmp_path).server_file)
    make_server(config_of(app(), server=ServerSection(certificate=good, certificate_key=good)))
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    assert f"{tmp_path}/gone.pem cannot be read" in complaint(good, f"{tmp_path}/gone.pem")
    assert f": {good} and {bad} are not a certificate and its key" in complaint(good, str(bad))
    secret = serialization.BestAvailableEncryption(b"secret")
    bad.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret
        )
    )
    assert "the key without a passphrase" in complaint(good, str(bad)), "it does not ask for one"


# --- a server that does not listen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("listens", [True, False])
def test_it_says_that_it_listens(listens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    server, ports = GatewayServer(uvicorn.Config(respond, log_config=None)), list[int]()
    server.on_ready = ports.append

    async def startup(self: Any, sockets: Any = None) -> None:
        if not listens:
            raise SystemExit(1)
        socket = SimpleNamespace(getsockname=lambda: ("127.0.0.1", 1234))
        self.started, self.servers = True, [SimpleNamespace(sockets=[socket])]

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    run(server.startup())
    assert ports == ([1234] if listens else [])
    assert server.should_exit is not listens
    with server.capture_signals():  # of uvicorn's own, which would end the process
        pass


class ScriptedServer:
    """In the place of `GatewayServer`: serves until `should_exit`, and does `work` meanwhile."""

    def __init__(
        self, work: Callable[[ScriptedServer], Coroutine[Any, Any, None]], *, listens: bool = True
    ) -> None:
        self.gateway: Any = SimpleNamespace(ending=False, failure=None, reload=self._reload)
        self.config = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(gateway=self.gateway)))
        self.started = self.should_exit = self.force_exit = False
        self.on_ready: Callable[[int], None] = lambda port: None
        self.reloaded: list[Any] = []
        self.handlers: dict[int, Callable[[], None]] = {}
        self._work, self._listens = work, listens

    async def _reload(self, config: Any) -> None:
        self.reloaded.append(config)

    async def serve(self) -> None:
        self.started = self._listens
        if self.started:
            self.on_ready(1234)
            await self._work(self)

    async def signal(self, number: int) -> None:
        """What the loop does when the signal comes."""
        self.handlers[number]()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def served(monkeypatch: pytest.MonkeyPatch, server: ScriptedServer, reread: Any = None) -> list[int]:
    """Serve to the end; the ports that were told."""
    monkeypatch.setattr(serving, "make_server", lambda config: server)
    ports: list[int] = []

    async def whole() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.add_signal_handler = server.handlers.__setitem__
        loop.remove_signal_handler = server.handlers.pop
        await serve(config_of(app()), reread, ports.append)

    try:
        run(whole())
    finally:
        assert not server.handlers
    return ports


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_second_one_at_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)

    async def work(server: ScriptedServer) -> None:
        assert set(server.handlers) == {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
        await server.signal(number)
        assert (server.should_exit, server.force_exit, server.gateway.ending) == (True, False, True)
        await server.signal(number)
        assert server.force_exit

    assert served(monkeypatch, ScriptedServer(work)) == [1234]


def test_a_hangup_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)

    async def work(server: ScriptedServer) -> None:
        assert set(server.handlers) == {signal.SIGTERM, signal.SIGINT}

    served(monkeypatch, ScriptedServer(work))


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_sighup_reads_the_configuration_again_whatever_comes_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = [
        BadInput("gateway.toml:3: wrong"),
        ConfigurationError("no key"),
        LookupError("a fault"),
    ]
    config = config_of(app())

    def reread() -> GatewayConfig:
        if errors:
            raise errors.pop(0)
        return config

    async def work(server: ScriptedServer) -> None:
        for _ in range(4):
            await server.signal(signal.SIGHUP)
        assert server.reloaded == [config]

    served(monkeypatch, ScriptedServer(work), reread)
    assert "not reloaded: gateway.toml:3: wrong" in caplog.text
    assert "not reloaded: no key" in caplog.text
    assert "not reloaded, please report it: LookupError('a fault')" in caplog.text


def test_why_it_could_not_start_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(server: ScriptedServer) -> None: ...

    deaf = ScriptedServer(nothing, listens=False)
    with pytest.raises(OSError, match="cannot listen on"):
        served(monkeypatch, deaf)
    deaf.gateway.failure = ConfigurationError("[fleet] redis: refused")
    with pytest.raises(ConfigurationError, match="redis: refused"):
        served(monkeypatch, deaf)


def test_a_request_for_another_protocol_is_marked() -> None:
    async def work(protocol: TimedProtocol, transport: ClientTransport) -> None:
        protocol.data_received(WHOLE[:-2] + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n")
        assert SKIPPED in protocol.scope
        await asyncio.sleep(0.1)
        assert transport.closed  # httptools reads nothing behind it

    assert connected(work).written.startswith(b"HTTP/1.1 200 OK")
