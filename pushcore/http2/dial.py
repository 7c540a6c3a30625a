"""Dialling a server that has several addresses: they are raced as in Happy Eyeballs (RFC 8305).

    address 1 ──TCP ············ (dead)
    address 2      ──TCP──TLS──SETTINGS──▶ the connection; the other attempts are closed
    address 3             (not tried: address 2 has made progress)
              └250 ms┘

An attempt starts when the one before it has failed, or has no TCP connection after a short delay. One that has a TCP
connection gets longer for TLS and SETTINGS, because a second handshake for each dial would look like an attack to Apple.
The first attempt that is ready wins.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, NamedTuple, TypeVar

from ..errors import ConfigurationError, ConnectError, TransportError

DELAY: Final = 0.25
"""Seconds until the next address is tried beside one that has no TCP connection (RFC 8305, section 8)."""
SHORTEST_DELAY: Final = 0.1
"""The same where many addresses share a short time: the least that RFC 8305, section 8 recommends."""
HANDSHAKE: Final = 1.0
"""Seconds after its TCP connection that an attempt has for TLS and SETTINGS before the next address is tried."""
MAX_ADDRESSES: Final = 32
"""Addresses of one name that are tried in one dial; APNs has about twenty."""
MAX_NAMED: Final = 8
"""Addresses that an error names."""

Ready = TypeVar("Ready")


class Address(NamedTuple):
    """One address, as `socket` takes it."""

    family: int
    proto: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IP address as text."""
        return str(self.sockaddr[0])


class Attempt:
    """One address that is being dialled. `connected_at`: when it had a TCP connection, None before."""

    __slots__ = ("address", "connected_at")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.connected_at: float | None = None

    async def connect(self, keepalive: Keepalive | None) -> socket.socket:
        """A TCP socket that is connected to the address; works on every event loop.

        Raises:
            OSError: there is none.
        """
        loop = asyncio.get_running_loop()
        family, proto, sockaddr = self.address
        sock = socket.socket(family, socket.SOCK_STREAM, proto)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if keepalive is not None:
                keepalive.set_on(sock)
            await loop.sock_connect(sock, sockaddr)
        except BaseException:
            sock.close()
            raise
        self.connected_at = loop.time()
        return sock


class Keepalive(NamedTuple):
    """TCP keepalive: the first probe after `idle` seconds of silence, the next every `interval` seconds; after `probes`
    without an answer the connection is lost."""

    idle: int = 60
    interval: int = 15
    probes: int = 4

    def set_on(self, sock: socket.socket) -> None:
        """Switch it on for one socket, with the times that the system lets us set."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # macOS calls the first TCP_KEEPALIVE.
        for names, value in (
            (("TCP_KEEPIDLE", "TCP_KEEPALIVE"), self.idle),
            (("TCP_KEEPINTVL",), self.interval),
            (("TCP_KEEPCNT",), self.probes),
        ):
            option = next((getattr(socket, name) for name in names if hasattr(socket, name)), None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


def read_keepalive(value: Any) -> Keepalive | None:
    """What a client's `keepalive` means.

    Args:
        value: seconds of silence before the first probe; or a tuple of these seconds, the seconds between probes and
            the number of probes, of which the last two may be left out; or None for no keepalive.

    Raises:
        ConfigurationError: it is none of these, or a number is outside 1 to 32767 (probes: 127), Linux' own limits.
    """
    if value is None:
        return None
    times = value if isinstance(value, tuple) else (value,)
    limits = (32_767, 32_767, 127)
    if not 1 <= len(times) <= len(limits) or not all(
        isinstance(time, int | float) and not isinstance(time, bool) and 1 <= time <= most
        for time, most in zip(times, limits, strict=False)
    ):
        raise ConfigurationError(
            "keepalive is the seconds before the first probe, or (seconds before the first probe, seconds between probes, "
            f"probes), each at least 1; not {value!r}"
        )
    return Keepalive(*map(int, times))


def order_addresses(found: Iterable[tuple[Any, ...]], rng: random.Random) -> list[Address]:
    """The addresses that `getaddrinfo` found, in the order in which to try them.

    The families take turns, beginning with the one that the system prefers (RFC 8305, section 4). Within a family the
    order is random: no load balancer stands before APNs, so clients spread the load.
    """
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(Address(family, proto, sockaddr) for family, _, proto, _, sockaddr in found):
        families.setdefault(address.family, []).append(address)
    for addresses in families.values():
        rng.shuffle(addresses)
    turns = itertools.zip_longest(*families.values())
    return [address for turn in turns for address in turn if address is not None][:MAX_ADDRESSES]


def delays(count: int, seconds: float) -> tuple[float, float]:
    """Seconds until the next of `count` addresses is tried: beside one without and beside one with a TCP connection.

    All are tried within the first half of `seconds`, the time for the whole race, unless that would be a burst.
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
    """What the first successful attempt returned. All other attempts are cancelled, also when the race is.

    Args:
        addresses: in the order in which to try them.
        attempt: dials one of them within the seconds that it is given, or raises a `TransportError`.
        discard: closes what an attempt returned that came second.
        seconds: for the whole race.

    Raises:
        TransportError: every attempt failed; it names the addresses and what happened to each.
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
            for one in running.values():
                if one.connected_at is not None:
                    due = max(due, one.connected_at + handshake)
            if waiting and now >= due:
                one = Attempt(waiting.popleft())
                running[loop.create_task(attempt(one, end - now), name="pushcore attempt")] = one
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
    """Close what the losers have, and wait until none of them runs."""
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
    """The error of the attempt that got furthest, whose text says what happened at every address.

    An error of HTTP/2 goes before one of TLS or a certificate, and that before an address that cannot be reached.
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
