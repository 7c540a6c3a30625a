"""The dialer: which addresses it tries in which order, how long it pauses after failures, and what it says."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from typing import Any

import pytest

from pushcore.errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    GoAway,
    ProxyError,
    TransportError,
)
from pushcore.http2.connection import Connection
from pushcore.http2.dialer import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SENT_AWAY_PAUSE,
    Address,
    Attempt,
    Dialer,
    check_idle,
)
from pushcore.http2.protocol import Link
from pushcore.http2.proxy import Proxy
from pushcore.http2.streams import KeepAlive, Limits
from tests.support import http2 as h
from tests.support import virtual

ADDRESSES = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"]


def new_link() -> Link:
    return Link(Connection(Limits(), 0.0), lambda link: None)


class Dials:
    """A dialer whose attempts the test answers: an error raises, None gives a link."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | None, **options: Any) -> None:
        self.tried: list[tuple[str, float]] = []
        self.resolved: list[tuple[str, int]] = []
        outcomes_left = list(outcomes)

        async def open_address(dialer: Dialer, attempt: Attempt, seconds: float) -> Link:
            self.tried.append((attempt.address.host, seconds))
            outcome = outcomes_left.pop(0)
            if outcome is not None:
                raise outcome
            return dialer.new_link()

        async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
            self.resolved.append((host, port))
            return [(0, 0, 0, "", (address, port)) for address in ADDRESSES]

        monkeypatch.setattr(Dialer, "_open_address", open_address)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
        self.dialer = Dialer(
            **{
                "host": "push.example",
                "port": 443,
                "context": ssl.create_default_context(),
                "timeout": 16.0,
                "new_link": new_link,
                "rng": random.Random(1),
                **options,
            }
        )


async def test_the_first_address_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    dials = Dials(monkeypatch, ConnectError("unreachable"), ConnectError("refused"), None)
    dials.dialer.last_error = ConnectError("an hour ago")
    assert isinstance(await dials.dialer.dial(), Link)
    assert dials.resolved == [("push.example", 443)]
    assert len({address for address, _ in dials.tried}) == 3
    assert all(0 < seconds <= 16.0 / 2 for _, seconds in dials.tried)
    assert dials.dialer.last_error is None


async def test_each_dial_resolves_anew_and_begins_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """APNs has no load balancer in front of it: clients spread themselves."""
    dials = Dials(monkeypatch, *[None] * 50)
    for _ in range(50):
        await dials.dialer.dial()
    assert len(dials.resolved) == 50
    assert {address for address, _ in dials.tried} == set(ADDRESSES)


async def test_the_error_names_what_happened_at_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ConnectError("refused")
    dials = Dials(monkeypatch, ConnectError("dead"), refused, refused, refused)
    with pytest.raises(ConnectError) as caught:
        await dials.dialer.dial()
    text = str(caught.value)
    assert all(word in text for word in ("dead", "refused", *ADDRESSES))


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(16.0, 8.0), (2.0, 1.0), (1.5, 1.0), (1.0, 0.9), (0.5, 0.45)]
)
def test_the_addresses_have_half_of_the_time_and_a_second_at_least(
    monkeypatch: pytest.MonkeyPatch, timeout: float, seconds: float
) -> None:
    async def dial() -> list[float]:
        dials = Dials(monkeypatch, None, timeout=timeout)
        await dials.dialer.dial()
        return [seconds for _, seconds in dials.tried]

    assert virtual.run(dial()) == pytest.approx([seconds])


async def test_a_source_of_randomness_is_made_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    dials = Dials(monkeypatch, None, rng=None)
    await dials.dialer.dial()
    given = random.Random(1)
    assert Dials(monkeypatch, rng=given).dialer._rng is given


@pytest.mark.parametrize(
    ("idle_ping", "keepalive"),
    [
        (None, None),
        (0.5, (1, 1, 1)),
        (1, [32_767, 32_767, 127]),
    ],
)
def test_idle_pings_and_keepalives_that_can_be(idle_ping: object, keepalive: object) -> None:
    check_idle(idle_ping, keepalive)


@pytest.mark.parametrize(
    ("idle_ping", "keepalive", "words"),
    [
        (0, None, "idle_ping must be a number above 0, not 0"),
        ("1", None, "idle_ping must be a number"),
        (None, 60, "keepalive must be None or three whole numbers"),
        (None, (60, 15), "keepalive must be None or three whole numbers"),
        (None, (60, 15, 4, 1), "keepalive must be None or three whole numbers"),
        (None, {60: 1, 15: 1, 4: 1}, "keepalive must be None or three whole numbers"),
        (None, (0, 15, 4), r"keepalive\[0\] must be a whole number"),
        (None, (60, 0, 4), r"keepalive\[1\] must be a whole number"),
        (None, (60, 15, 0), r"keepalive\[2\] must be a whole number"),
        (None, (32_768, 15, 4), r"keepalive\[0\] must be a whole number"),
        (None, (60, 32_768, 4), r"keepalive\[1\] must be a whole number"),
        (None, (60, 15, 128), r"keepalive\[2\] must be a whole number"),
        (None, (60, 1.5, 4), r"keepalive\[1\] must be a whole number"),
    ],
)
def test_idle_pings_and_keepalives_that_cannot_be(idle_ping: object, keepalive: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check_idle(idle_ping, keepalive)


@pytest.mark.parametrize("proxied", [False, True])
async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch, proxied: bool) -> None:
    """With a proxy it is the proxy's name, for the server's is resolved by the proxy."""
    proxy = Proxy("proxy.example", 3128) if proxied else None
    dials = Dials(monkeypatch, proxy=proxy)

    async def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown, raising=False)
    with pytest.raises(ProxyError if proxied else ConnectError, match="could not be resolved"):
        await dials.dialer.dial()


async def test_a_name_that_is_no_host_name_is_not_repeated() -> None:
    """`getaddrinfo` raises UnicodeError for a label of more than 63 characters: it left the requests waiting."""
    context = ssl.create_default_context()
    dialer = Dialer(host="secret" * 11, port=443, context=context, timeout=16.0, new_link=new_link)
    with pytest.raises(ConnectError, match="the name of the server or proxy is no host name"):
        await dialer.dial()


async def test_it_gives_up_at_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    dials = Dials(monkeypatch, timeout=0.01)

    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang, raising=False)
    with pytest.raises(ConnectError, match=r"no connection within 0\.01 s"):
        await dials.dialer.dial()


async def test_pauses_double_up_to_a_minute_and_begin_again_after_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialer = Dials(monkeypatch).dialer
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await dialer.pause()
    assert slept == []
    for failures in range(12):
        dialer.back_off(ConnectError(str(failures)))
        await dialer.pause()
        longest = min(FIRST_PAUSE * 2**failures, LONGEST_PAUSE)
        assert longest * 0.5 - 0.1 <= slept[-1] <= longest
    assert str(dialer.last_error) == "11"
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (0.5, 60.0)
    dialer.reset(trusted=True, dialled_at=0.0)
    dialer.back_off(ConnectError("again"))
    await dialer.pause()
    assert slept[-1] <= FIRST_PAUSE
    for _ in range(4):
        dialer.renew(ssl.create_default_context())
        dialer.back_off(ConnectError("with the new certificate"))
        await dialer.pause()
        assert slept[-1] <= FIRST_PAUSE
    assert dialer._failures == 1


async def test_one_connection_that_a_server_in_order_sends_away_is_soon_replaced_and_the_next_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dialer = Dials(monkeypatch).dialer
    now = asyncio.get_running_loop().time
    away = GoAway(0, b"", unprocessed=False)

    def pause(*, sent_away: bool = True) -> float:
        dialer.back_off(away, sent_away=sent_away)
        return dialer._not_before - now()

    assert pause() > FIRST_PAUSE / 4  # nothing has been served yet
    dialer.reset(trusted=True, dialled_at=now() + 1.0)
    assert pause() <= SENT_AWAY_PAUSE
    assert SENT_AWAY_PAUSE < FIRST_PAUSE / 4
    assert not dialer.trusted  # one at a time
    assert pause() >= FIRST_PAUSE / 2 - 0.01  # the second in a row
    assert dialer._failures == 1  # and the first that counts
    # An old connection is answered still: it says nothing of new ones.
    dialer.reset(trusted=True, dialled_at=now() - 1.0)
    assert pause() > FIRST_PAUSE / 4
    for trusted, sent_away in ((False, True), (True, False)):
        dialer.reset(trusted=trusted, dialled_at=now() + 1.0)
        assert pause(sent_away=sent_away) > FIRST_PAUSE / 4


class PeerTransport(asyncio.Transport):
    """Brings `raw` to its link as soon as there is one; keeps whether it was aborted."""

    def __init__(self, link: Link, raw: bytes) -> None:
        super().__init__()
        self.aborted = False
        self._closing = False
        link.connection_made(self)
        if raw:
            link.data_received(raw)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("keepalive", [None, (60, 15, 4)])
async def test_a_connection_has_the_keepalive_of_its_dialer(
    monkeypatch: pytest.MonkeyPatch, keepalive: KeepAlive | None
) -> None:
    async def connect(attempt: Attempt) -> socket.socket:
        return socket.socket()

    async def create_connection(factory: Any, *, sock: socket.socket, **_: Any) -> tuple[PeerTransport, Link]:
        with sock:
            kept = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert bool(kept) is (keepalive is not None)
        link = factory()
        return PeerTransport(link, GREETING), link

    monkeypatch.setattr(Attempt, "connect", connect)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection, raising=False)
    dialer = Dialer(
        host="push.example",
        port=443,
        context=ssl.create_default_context(),
        timeout=9.0,
        new_link=new_link,
        keepalive=keepalive,
    )
    await dialer._open_address(Attempt(Address(socket.AF_INET, 0, ("192.0.2.1", 443))), 60.0)


async def test_a_connection_that_has_ended_since_the_race_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended() -> Link:
        link = new_link()
        link.connection.lost(ConnectionLost("reset by the server"))
        return link

    dials = Dials(monkeypatch, None, new_link=ended)
    with pytest.raises(ConnectionLost, match=r"^reset by the server$"):
        await dials.dialer.dial()


GREETING = h.settings((h.MAX_STREAMS, 10))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (GREETING, None),
        (GREETING + h.goaway(0, h.ENHANCE_YOUR_CALM), GoAway),
        (b"", ConnectError),
        (h.ping(), TransportError),
    ],
    ids=["settings", "settings and goaway", "nothing", "no settings"],
)
async def test_a_connection_is_one_whose_settings_have_arrived(
    monkeypatch: pytest.MonkeyPatch, raw: bytes, expected: type[TransportError] | None
) -> None:
    loop = asyncio.get_running_loop()
    transports: list[PeerTransport] = []

    async def create_connection(factory: Any, *, sock: Any, **_: Any) -> tuple[PeerTransport, Link]:
        sock.close()
        link = factory()
        transports.append(PeerTransport(link, raw))
        return transports[0], link

    async def connect(attempt: Attempt) -> socket.socket:
        attempt.connected_at = loop.time()
        return socket.socket()

    monkeypatch.setattr(Attempt, "connect", connect)
    monkeypatch.setattr(loop, "create_connection", create_connection, raising=False)
    attempt = Attempt(Address(socket.AF_INET, 0, ("192.0.2.1", 443)))
    dialer = Dialer(
        host="push.example", port=443, context=ssl.create_default_context(), timeout=9.0, new_link=new_link
    )
    if expected is None:
        link = await dialer._open_address(attempt, 0.05)
        assert link.connection.capacity == 10
        assert not transports[0].aborted
    else:
        with pytest.raises(expected) as caught:
            await dialer._open_address(attempt, 0.05)
        assert transports[0].aborted
        if not raw:
            assert str(caught.value) == "connected, but no SETTINGS within 0.05 s"


async def test_a_proxy_has_what_is_left_of_the_time_and_tls_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected: list[tuple[Any, ...]] = []

    async def connect(attempt: Attempt) -> socket.socket:
        return socket.socket()

    async def through(proxy: Proxy, factory: Any, sock: socket.socket, *options: Any) -> Link:
        sock.close()
        connected.append(options)
        link: Link = factory()
        PeerTransport(link, GREETING)
        return link

    monkeypatch.setattr(Attempt, "connect", connect)
    monkeypatch.setattr(Proxy, "connect", through)
    context = ssl.create_default_context()
    proxy = Proxy("proxy.example", 3128)
    dialer = Dialer(
        host="push.example", port=443, context=context, timeout=9.0, new_link=new_link, proxy=proxy
    )
    await dialer._open_address(Attempt(Address(socket.AF_INET, 0, ("192.0.2.1", 3128))), 60.0)
    ((host, port, given, left),) = connected
    assert (host, port, given) == ("push.example", 443, context)
    assert 0 < left <= 60.0
