"""Opens connections to one origin, with a pause after failures. `Pool` decides how many dials are in progress at a time.

A dial tries the addresses of the origin in parallel, as in Happy Eyeballs (RFC 8305):

    address 1 ──TCP ············ (dead)
    address 2      ──TCP──TLS──SETTINGS──▶ the connection; the other attempts are closed
    address 3             (not tried: address 2 has made progress)
              └250 ms┘

An attempt starts when the one before it has failed, or has no TCP connection after a short delay. Once it has one, the next
attempt waits longer, for TLS and SETTINGS: to Apple, a second handshake for each dial would look like an attack. The first
attempt that is ready wins.

After a failure the next dial waits 0.25 to 0.5 s; each further failure doubles that, up to 30 to 60 s. A failure is a dial
that fails, or a connection that ends before its first response. One case has a shorter pause, see `Dialer.back_off`.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from ..arguments import check, check_number, check_whole
from ..errors import ConnectError, ConnectionLost, TransportError
from .protocol import Link
from .proxy import Proxy
from .streams import ConnectionState, KeepAlive
from .tls import name_tls_error

HANG_UP = 1.0
"""Seconds that a peer has to close the connection, on TLS and on TCP."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between dials after failures, at most: doubled each time, and shortened by up to half at random."""
SENT_AWAY_PAUSE: Final = 0.05
"""The same after one connection that a working server closed with GOAWAY NO_ERROR before its first response."""
DELAY: Final = 0.25
"""Seconds after which the next address is tried, while the last one has no TCP connection (RFC 8305, section 8)."""
SHORTEST_DELAY: Final = 0.1
"""The same if many addresses share a short time: the minimum that RFC 8305, section 8 recommends."""
HANDSHAKE: Final = 1.0
"""Seconds that an attempt has for TLS and SETTINGS, after TCP, before the next address is tried."""
MAX_ADDRESSES: Final = 32
"""Addresses of one name that are tried in one dial; APNs has about twenty."""
MAX_NAMED: Final = 8
"""Addresses that one error lists."""
MOST_PROBES: Final = 127
"""Linux's maximum for TCP_KEEPCNT; `LONGEST_PROBE` is its maximum for TCP_KEEPIDLE and TCP_KEEPINTVL, in seconds."""
LONGEST_PROBE: Final = 32_767

Ready = TypeVar("Ready")


class Address(NamedTuple):
    """One address in the form of the `socket` module."""

    family: int
    proto: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IP address as text."""
        return str(self.sockaddr[0])


class Attempt:
    """One address that is being dialled. `connected_at`: when TCP was connected; None before."""

    __slots__ = ("address", "connected_at")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connected_at: float | None = None

    async def connect(self) -> socket.socket:
        """A TCP socket that is connected to the address; works on every event loop.

        Raises:
            OSError: TCP could not be connected.
        """
        loop = asyncio.get_running_loop()
        family, proto, sockaddr = self.address
        sock = socket.socket(family, socket.SOCK_STREAM, proto)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, sockaddr)
        except BaseException:
            sock.close()
            raise
        self.connected_at = loop.time()
        return sock


def check_idle(idle_ping: object, keepalive: object) -> None:
    """Raise `ConfigurationError` if a client cannot have these arguments."""
    if idle_ping is not None:
        check_number("idle_ping", idle_ping, above=0)
    if keepalive is None:
        return
    expected = "None or three whole numbers such as (60, 15, 4): seconds, seconds, probes"
    check(isinstance(keepalive, tuple | list) and len(keepalive) == 3, "keepalive", expected, keepalive)
    numbers: Any = keepalive
    for index, most in enumerate((LONGEST_PROBE, LONGEST_PROBE, MOST_PROBES)):
        check_whole(f"keepalive[{index}]", numbers[index], least=1, most=most)


def keep_alive(sock: socket.socket, keepalive: KeepAlive) -> None:
    """Let the system probe a silent connection; numbers that the platform cannot set are left out."""
    idle, interval, count = keepalive
    options = {"TCP_KEEPIDLE": idle, "TCP_KEEPALIVE": idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": count}
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def order_addresses(infos: Iterable[tuple[Any, ...]], rng: random.Random) -> list[Address]:
    """The addresses that `getaddrinfo` returned, in the order in which to try them.

    IPv6 and IPv4 alternate, beginning with the family that the system prefers (RFC 8305, section 4). Within a family the
    order is random: APNs has no load balancer, so clients spread the load.
    """
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(Address(family, proto, sockaddr) for family, _, proto, _, sockaddr in infos):
        families.setdefault(address.family, []).append(address)
    for addresses in families.values():
        rng.shuffle(addresses)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None][:MAX_ADDRESSES]


def delays(count: int, seconds: float) -> tuple[float, float]:
    """Seconds until the next of `count` addresses is tried: while the last has no TCP connection, and while it has one.

    All are tried within the first half of `seconds`, the time for the whole race, unless the delays would be too short.
    """
    share = seconds / (2 * max(count, 1))
    delay = min(max(share, SHORTEST_DELAY), DELAY)
    return delay, min(max(share, delay), HANDSHAKE)


async def race(
    addresses: Iterable[Address],
    attempt: Callable[[Attempt, float], Coroutine[Any, Any, Ready]],
    discard: Callable[[Ready], None],
    seconds: float,
) -> Ready:
    """Dial addresses in parallel and return the result of the first successful attempt; the others are cancelled.

    Args:
        addresses: in the order in which to try them.
        attempt: dials one of them within the seconds that it is given, or raises a `TransportError`.
        discard: closes the result of an attempt that succeeded too late.
        seconds: for the whole race.

    Raises:
        TransportError: every attempt failed; the text lists the addresses and their errors.
    """
    loop = asyncio.get_running_loop()
    waiting = deque(addresses)
    delay, handshake = delays(len(waiting), seconds)
    due = loop.time()  # when the next attempt starts
    end = due + seconds
    failures: list[tuple[Address, TransportError]] = []
    running: dict[asyncio.Task[Ready], Attempt] = {}
    winner: asyncio.Task[Ready] | None = None
    try:
        while winner is None:
            now = loop.time()
            if now >= end:
                waiting.clear()
            for current in running.values():
                if current.connected_at is not None:
                    due = max(due, current.connected_at + handshake)
            if waiting and now >= due:
                started = Attempt(waiting.popleft())
                running[loop.create_task(attempt(started, end - now), name="pushcore attempt")] = started
                due = now + delay
            elif not running:
                raise combine(failures)
            wait = due - now if waiting else None
            await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task.done()]:
                error = task.exception()
                if error is None:
                    winner = task
                elif isinstance(error, TransportError):
                    failures.append((running.pop(task).address, error))
                    due = loop.time()
                else:
                    raise error
        del running[winner]
        return winner.result()
    finally:
        await _end(running, winner, discard)


async def _end(
    losers: Iterable[asyncio.Task[Ready]],
    winner: asyncio.Task[Ready] | None,
    discard: Callable[[Ready], None],
) -> None:
    """Cancel the other attempts, close their connections, and wait until all have ended."""
    ending = []
    for task in losers:
        if not task.done():
            task.cancel()
            ending.append(task)
        elif not task.cancelled() and task.exception() is None:
            discard(task.result())
    try:
        if ending:
            await asyncio.wait(ending)
    except asyncio.CancelledError:
        if winner is not None:
            discard(winner.result())
        raise


def combine(failures: list[tuple[Address, TransportError]]) -> TransportError:
    """The error of the attempt that got furthest; its text lists the errors of all addresses.

    An error of HTTP/2 takes precedence over one of TLS or a certificate, and that over an unreachable address.
    """
    if not failures:
        return ConnectError("the server's name has no address")
    speaker = max((error for _, error in failures), key=_progress)
    hosts: dict[str, list[str]] = {str(speaker): []}
    for address, error in failures[:MAX_NAMED]:
        hosts.setdefault(str(error), []).append(address.host)
    text = "; ".join(f"{words} ({', '.join(named)})" if named else words for words, named in hosts.items())
    more = len(failures) - MAX_NAMED
    speaker.args = (f"{text}; and {more} more addresses" if more > 0 else text,)
    return speaker


def _progress(error: TransportError) -> int:
    if not isinstance(error, ConnectError):
        return 2
    return 1 if error.permanent else 0


class Dialer:
    """Resolves the name of the server for each dial, dials its addresses, and remembers why a dial failed.

    Args:
        host: the server's name, which its certificate is verified against.
        port: its port.
        context: TLS, see `tls.client_context`.
        timeout: seconds that one dial may take. All addresses together have half of it, so that a request that waits
            for the connection still gets the reason why there is none.
        new_link: makes the protocol of a new connection.
        keepalive: the system's probes of a silent connection, None for none.
        proxy: what all connections go through.
        rng: the source of jitter and of the order of addresses.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        context: ssl.SSLContext,
        timeout: float,
        new_link: Callable[[], Link],
        keepalive: KeepAlive | None = None,
        proxy: Proxy | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.host, self.port = host, port
        self.new_link = new_link
        self.last_error: TransportError | None = None
        """Why the newest dial failed, or its connection ended before the first response; None after a success."""
        self._context = context
        self._timeout = timeout
        self._keepalive = keepalive
        self._proxy = proxy
        self._rng = rng or random.Random()
        self._failures = 0
        self._trusted = False
        # Whether a server has accepted our credentials on a connection dialled since the last failure.
        self._in_order = False
        self._failed_at = -math.inf
        self._not_before = 0.0
        self._loop = asyncio.get_running_loop()

    def back_off(self, error: TransportError, *, sent_away: bool = False) -> None:
        """Pause before the next dial, twice as long as after the previous failure.

        Args:
            error: the reason.
            sent_away: whether the server closed the connection with GOAWAY NO_ERROR. If the server has accepted our
                credentials on a connection dialled since the last failure, the pause is then `SENT_AWAY_PAUSE` and does
                not count as a failure. It is that short only once: until credentials are accepted again, the next
                connection that ends this way is a failure.
        """
        self.last_error = error
        if sent_away and self._in_order:
            pause = SENT_AWAY_PAUSE
        else:
            pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
            self._failures += 1
        self._trusted = self._in_order = False
        self._failed_at = self._loop.time()
        self._not_before = self._failed_at + pause * self._rng.uniform(0.5, 1.0)

    def reset(self, *, trusted: bool, dialled_at: float) -> None:
        """A connection has brought a response: the next failure counts as the first.

        Args:
            trusted: whether the server has accepted our credentials on it.
            dialled_at: when the connection was made, in the clock of the event loop.
        """
        self._failures = 0
        self._trusted = trusted
        if dialled_at > self._failed_at:
            self._in_order = trusted

    @property
    def trusted(self) -> bool:
        """Whether the server has accepted our credentials and no dial has failed since: only then are several dials at a time safe."""
        return self._trusted and self._loop.time() >= self._not_before

    def renew(self, context: ssl.SSLContext) -> None:
        """Dial with this context from now on, without a pause for failures with the old one."""
        self._context = context
        self.last_error = None
        self._failures, self._not_before = 0, 0.0

    async def pause(self) -> None:
        """Wait until the next dial is allowed."""
        seconds = self._not_before - self._loop.time()
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def dial(self) -> Link:
        """A connection whose SETTINGS have arrived.

        Raises:
            TransportError: why there is none.
        """
        host, port = self._proxy.address if self._proxy is not None else (self.host, self.port)
        # Half of the time that a request may wait, so that its error can say why it was not sent.
        seconds = min(max(self._timeout / 2, 1.0), 0.9 * self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                infos = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                link = await race(order_addresses(infos, self._rng), self._open_address, Link.abort, seconds)
        except TimeoutError:
            raise ConnectError(f"no connection within {self._timeout:g} s") from None
        except UnicodeError:  # of getaddrinfo; it is repeated nowhere, because a long name may be a secret
            raise ConnectError("the name of the server or proxy is no host name") from None
        except OSError as failure:
            raise self._name_error(failure) from failure
        if link.connection.state is ConnectionState.CLOSED:  # since the race ended
            raise link.connection.error or ConnectionLost("the server closed the connection")
        self.last_error = None
        return link

    def _name_error(self, failure: OSError) -> TransportError:
        """The error of resolving the name of the server or proxy, or of the TCP connection to it."""
        return name_tls_error(failure) if self._proxy is None else self._proxy.name_error(failure)

    async def _open_address(self, attempt: Attempt, seconds: float) -> Link:
        """One attempt, within `seconds`."""
        end = self._loop.time() + seconds
        link: Link | None = None
        try:
            async with asyncio.timeout(seconds):
                try:
                    sock = await attempt.connect()
                except OSError as failure:
                    raise self._name_error(failure) from failure
                if self._keepalive is not None:
                    keep_alive(sock, self._keepalive)
                if self._proxy is not None:
                    left = end - self._loop.time()
                    link = await self._proxy.connect(
                        self.new_link, sock, self.host, self.port, self._context, left
                    )
                else:
                    _, link = await self._loop.create_connection(
                        self.new_link,
                        sock=sock,
                        ssl=self._context,
                        server_hostname=self.host,
                        ssl_shutdown_timeout=HANG_UP,
                    )
                await link.ready
                if link.connection.state is not ConnectionState.OPEN:  # SETTINGS, and GOAWAY at once
                    raise link.connection.error or ConnectionLost("the server closed the connection")
                return link
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, TimeoutError):
                if attempt.connected_at is None:
                    raise self._name_error(error) from None
                missing = "no connection with TLS" if link is None else "connected, but no SETTINGS"
                raise ConnectError(f"{missing} within {seconds:.3g} s") from None
            if isinstance(error, OSError):
                raise name_tls_error(error) from error
            raise
