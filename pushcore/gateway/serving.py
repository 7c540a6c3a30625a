"""Serves a gateway by uvicorn, with uvloop and httptools: the fastest of the ASGI servers, and none of it is ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..audience.problems import BadInput, read_small, shown
from ..errors import ConfigurationError
from ..key_material import MAX_FILE
from ..reasons import printable_word
from .app import create_app
from .config import GatewayConfig, blamed_on
from .door import BODY_SECONDS, COMPLETE, SKIPPED
from .fields import FAULT, fault_of, fault_of_http1, fields_of
from .gateway import Gateway
from .problems import GatewayProblem
from .senders import REQUEST

log = logging.getLogger("pushcore.gateway")

GRACE: Final = REQUEST + 5.0
"""Seconds after SIGTERM in which requests end."""
HEADERS: Final = 10.0
"""Seconds in which a request's headers must have come."""
MOST_HEADERS: Final = 65_536
"""Bytes of a request's headers that may come before their end; httptools has no limit."""
KEEP_ALIVE: Final = 75
"""Seconds for which an idle connection is kept: more than the 60 of nginx and of most clients, so that it is they who close
it, and no request meets a connection that is about to be closed."""

_MOST_JOINED: Final = 65_536
"""Bytes that are written at once without waiting for more."""


class JoiningTransport:
    """A transport that writes once in a turn of the loop: uvicorn writes the head and the body of a response one after the
    other, and each would be a system call, which costs more than a push.

    Args:
        transport: of a connection; it does all the rest.
        loop: that it belongs to.
    """

    __slots__ = ("_due", "_loop", "_size", "_transport", "_written")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        self._size = 0
        self._due = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See `asyncio.WriteTransport`."""
        self._written.append(data)
        self._size += len(data)
        if self._size > _MOST_JOINED:
            self._flush()
        elif not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """See `asyncio.BaseTransport`."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.resume_reading()

    def _flush(self) -> None:
        self._due = False
        written, self._written, self._size = self._written, [], 0
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written))


class _Dropped(list[tuple[bytes, bytes]]):
    """Takes the fields of a trailer, which are no headers (RFC 9110, section 6.5.1): uvicorn would add them to the request's."""

    def append(self, field: tuple[bytes, bytes]) -> None:
        """Keep nothing."""


class TimedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 by httptools, with limits for a request's headers: a client that sends nothing, or headers without
    end, must not hold its connection or fill the memory.

    They must have ended `HEADERS` seconds after the connection's or the request's first byte, and within `MOST_HEADERS` bytes.
    A body that nobody reads, because its request has its response already, must have ended within `BODY_SECONDS`.
    """

    _slow: asyncio.TimerHandle | None = None
    _in_headers = False
    _completed = False
    _size = 0
    _trailers = _Dropped()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]
        self._start_timer(HEADERS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. Most headers come whole, and need no timer."""
        self._completed = False
        super().data_received(data)
        if self._in_headers:
            if not self._completed:  # else some of it is the body of the request before
                self._size += len(data)
            if self._size > MOST_HEADERS:
                self._refuse(
                    GatewayProblem(
                        431, "headers", f"the headers of the request have more than {MOST_HEADERS} bytes"
                    )
                )
            elif self._slow is None:
                self._start_timer(HEADERS)
        elif (
            self.cycle is not None
            and self.cycle.response_complete
            and self._slow is None
            and not self.transport.is_closing()
        ):
            # The bytes began no request, and uvicorn has stopped the timer of the idle connection.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        """Called at a request's first byte."""
        self._in_headers = True
        self._size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called when a request's headers have come."""
        self._in_headers = False
        self._stop_timer()
        scope: Any = self.scope
        fault = fault_of(scope) or fault_of_http1(self.parser.get_http_version(), fields_of(scope))
        skipped = self.parser.should_upgrade()
        if fault is not None:
            scope[FAULT] = fault
        if skipped:
            scope[SKIPPED] = True
        super().on_headers_complete()
        if fault is not None or skipped:
            self.cycle.keep_alive = False  # where the next request begins is not certain
        self.headers = self._trailers

    def on_message_complete(self) -> None:
        """Called when a request's body has come."""
        self._completed = True
        self._stop_timer()
        self.scope[COMPLETE] = True  # type: ignore[typeddict-unknown-key]
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called when a response has been written."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._start_timer(BODY_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """See `HttpToolsProtocol`: the parser has found that these bytes are not HTTP."""
        self._refuse(GatewayProblem(400, "http", "this is not a valid HTTP/1.1 request"))

    def _refuse(self, problem: GatewayProblem) -> None:
        """Respond to bytes that are not a valid request, and close the connection.

        Requests before it have their own responses first: a client must not take this one for theirs.
        """
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:  # it is a request of its own
                cycle.keep_alive = False
                return
            if self.pipeline:  # it is the body of a request that has not begun
                cycle.keep_alive = False
                self.pipeline[0] = cycle, problem.response()  # type: ignore[assignment]
                return
            if cycle.response_started:
                self.transport.close()
                return
        response = problem.response()
        fields = [*response.raw_headers, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _start_timer(self, seconds: float) -> None:
        self._slow = self.loop.call_later(seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None


class GatewayServer(uvicorn.Server):
    """Uvicorn's server, which says when it listens."""

    on_ready: Callable[[int], None] = staticmethod(lambda port: None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See `uvicorn.Server`, which would end the process by the signal in the end: `serve` has the handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        try:
            await super().startup(sockets)
        except SystemExit:  # by uvicorn, when it cannot listen
            self.should_exit = True
        if self.started:
            self.on_ready(self.servers[0].sockets[0].getsockname()[1])


def make_server(config: GatewayConfig) -> GatewayServer:
    """The server of a configuration; it listens when it is run. Raises as `create_app`."""
    server, limits = config.server, config.limits
    if server.certificate is not None and server.certificate_key is not None:
        for name, path in (("certificate", server.certificate), ("certificate-key", server.certificate_key)):
            with blamed_on(config.at("server", name)):  # OpenSSL will open it again
                read_small(path, "a PEM file", MAX_FILE, regular=True)
        with blamed_on(config.at("server", "certificate")):
            _check_certificate(server.certificate, server.certificate_key)
    with blamed_on(config.at("server", "host")):
        _check_host(server.host)
    return GatewayServer(
        uvicorn.Config(
            create_app(config),
            host=server.host,
            port=server.port,
            loop="none",
            http=TimedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(server.trusted_proxies),
            forwarded_allow_ips=list(server.trusted_proxies),
            ssl_certfile=server.certificate,
            ssl_keyfile=server.certificate_key,
            limit_concurrency=limits.connections,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=round(GRACE),
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


def _check_host(host: str) -> None:
    """Raises `BadInput` when the host has no address, or one that is not of this machine."""
    try:
        addresses = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, ValueError):  # what idna refuses is a ValueError
        raise BadInput(f"{shown(host)} cannot be resolved; expected an address of this machine") from None
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as tried:
                tried.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                continue
        return
    raise BadInput(f"{shown(host)} is not an address of this machine")


def _check_certificate(certificate: str, key: str) -> None:
    """Raises `BadInput` when HTTPS cannot be served with these files."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        raise BadInput(
            f"{certificate} and {key} are not a certificate and its key; expected PEM files, the key without a passphrase"
        ) from None


async def serve(
    config: GatewayConfig,
    reread: Callable[[], GatewayConfig] | None = None,
    on_ready: Callable[[int], None] = lambda port: None,
) -> None:
    """Serve until SIGTERM or SIGINT: then no new request is accepted, open requests end, and connections close with GOAWAY.

    Args:
        config: checked.
        reread: gives the configuration that SIGHUP loads; None to end at SIGHUP as well, unless it is ignored.
        on_ready: called with the port once it listens.

    Raises:
        BadInput, ConfigurationError: the configuration cannot work.
        OSError: it cannot listen.
    """
    server = make_server(config)
    gateway: Gateway = server.config.app.state.gateway  # type: ignore[union-attr]
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        assert reread is not None
        try:
            await gateway.reload(reread())
        except (BadInput, ConfigurationError) as error:
            log.error("not reloaded: %s", error)
        except Exception as error:
            log.error("not reloaded, please report it: %s", printable_word(repr(error), 300))

    def on_hangup() -> None:
        task = loop.create_task(reload(), name="pushcore gateway reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    def on_end() -> None:
        server.force_exit = server.should_exit  # the second time
        server.should_exit = gateway.ending = True

    handlers = {signal.SIGTERM: on_end, signal.SIGINT: on_end}
    if reread is not None:
        handlers[signal.SIGHUP] = on_hangup
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = on_end
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    server.on_ready = on_ready
    try:
        await server.serve()
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
    if gateway.failure is not None:
        raise gateway.failure
    if not server.started:
        sentence = f"cannot listen on {config.server.host} port {config.server.port}"
        raise OSError(errno.EADDRINUSE, sentence)
