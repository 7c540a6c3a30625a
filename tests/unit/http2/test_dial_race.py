"""In which order addresses are dialled, when the next one is tried, who wins, and what an error says about all of them."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pushcore.errors import AlpnError, ConnectError, GoAway, TransportError
from pushcore.http2.dialer import (
    DELAY,
    HANDSHAKE,
    MAX_ADDRESSES,
    MAX_NAMED,
    SHORTEST_DELAY,
    Address,
    Attempt,
    combine,
    delays,
    keep_alive,
    order_addresses,
    race,
)
from tests.support import virtual

V4, V6 = socket.AF_INET, socket.AF_INET6


def found(family: int, *hosts: str) -> list[tuple[Any, ...]]:
    """What `getaddrinfo` returns for these."""
    rest = (0, 0) if family == V6 else ()
    return [(family, socket.SOCK_STREAM, 6, "", (host, 443, *rest)) for host in hosts]


# --- order --------------------------------------------------------------------------------------------------------


def test_families_take_turns_and_the_preferred_one_begins() -> None:
    for preferred, other in ((V6, V4), (V4, V6)):
        addresses = order_addresses(
            found(preferred, "a", "b", "c") + found(other, "x", "y"), random.Random(1)
        )
        assert [one.family for one in addresses] == [preferred, other, preferred, other, preferred]
        assert sorted(one.host for one in addresses) == ["a", "b", "c", "x", "y"]


def test_each_address_of_a_family_comes_first_at_times() -> None:
    rng = random.Random(1)
    firsts = {order_addresses(found(V6, "a", "b") + found(V4, "x", "y"), rng)[0].host for _ in range(100)}
    seconds = {order_addresses(found(V6, "a", "b") + found(V4, "x", "y"), rng)[1].host for _ in range(100)}
    assert (firsts, seconds) == ({"a", "b"}, {"x", "y"})


def test_an_address_that_is_found_twice_is_tried_once_and_many_are_bounded() -> None:
    assert len(order_addresses(found(V4, "x", "y", "x"), random.Random(1))) == 2
    many = found(V4, *(f"192.0.2.{n}" for n in range(200)))
    assert len(order_addresses(many, random.Random(1))) == MAX_ADDRESSES
    assert order_addresses([], random.Random(1)) == []


def test_a_scoped_address_keeps_its_scope() -> None:
    scoped = [(V6, socket.SOCK_STREAM, 6, "", ("fe80::1", 443, 0, 3))]
    assert order_addresses(scoped, random.Random(1))[0].sockaddr == ("fe80::1", 443, 0, 3)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0, 30.0])
def test_delays(count: int, seconds: float) -> None:
    assert (SHORTEST_DELAY, DELAY) == (0.1, 0.25)  # RFC 8305, section 8
    delay, handshake = delays(count, seconds)
    assert SHORTEST_DELAY <= delay <= DELAY
    assert delay <= handshake <= HANDSHAKE
    if delay > SHORTEST_DELAY:
        assert delay * count <= seconds / 2  # all are tried while there is time for the last
    if count <= 10 and seconds == 5.0:
        assert delay == DELAY  # the default timeout with usual numbers of addresses


# --- the race -----------------------------------------------------------------------------------------------------


class Track:
    """Scripted attempts in virtual time. A script is a list of events: seconds since the attempt's start, and what
    happens: "tcp", "ready", or an error that is raised. A script without an end goes on until the attempt's time is over."""

    def __init__(self, scripts: dict[str, list[tuple[float, Any]]]) -> None:
        self.scripts = scripts
        self.started: list[tuple[str, float]] = []
        self.cancelled: list[str] = []
        self.discarded: list[str] = []

    def addresses(self) -> list[Address]:
        return [Address(V4, 6, (host, 443)) for host in self.scripts]

    async def attempt(self, one: Attempt, seconds: float) -> str:
        loop = asyncio.get_running_loop()
        start, host = loop.time(), one.address.host
        self.started.append((host, round(start - self.began, 3)))
        try:
            for at, event in self.scripts[host]:
                await asyncio.sleep(start + at - loop.time())
                if event == "tcp":
                    one.connected_at = loop.time()
                elif event == "ready":
                    return host
                else:
                    raise event
            await asyncio.sleep(seconds - (loop.time() - start))
            raise ConnectError("no connection in time")
        except asyncio.CancelledError:
            self.cancelled.append(host)
            raise

    async def race(self, seconds: float = 5.0) -> str:
        self.began = asyncio.get_running_loop().time()
        try:
            return await race(self.addresses(), self.attempt, self.discarded.append, seconds)
        finally:
            self.took = round(asyncio.get_running_loop().time() - self.began, 3)
            assert len(asyncio.all_tasks()) == 1  # no attempt is left, whatever happened


READY = [(0.01, "tcp"), (0.03, "ready")]


def test_a_dead_address_costs_the_delay_and_not_its_timeout() -> None:
    track = Track({"dead": [], "alive": READY})
    assert virtual.run(track.race()) == "alive"
    assert track.started == [("dead", 0.0), ("alive", DELAY)]
    assert track.took == pytest.approx(DELAY + 0.03)
    assert track.cancelled == ["dead"]


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_many_dead_addresses_before_one_that_lives(seconds: float) -> None:
    track = Track({**{f"dead{n}": [] for n in range(7)}, "alive": READY})
    assert virtual.run(track.race(seconds)) == "alive"
    assert track.took < seconds


def test_a_failure_starts_the_next_attempt_at_once() -> None:
    refused = ConnectError("refused")
    track = Track({"a": [(0.01, refused)], "b": [(0.01, refused)], "c": READY})
    assert virtual.run(track.race()) == "c"
    assert track.started == [("a", 0.0), ("b", 0.01), ("c", 0.02)]


def test_a_first_attempt_that_succeeds_is_the_only_one() -> None:
    track = Track({"a": READY, "b": READY})
    assert virtual.run(track.race()) == "a"
    assert track.started == [("a", 0.0)]


def test_an_attempt_in_its_handshake_holds_the_next_one_back() -> None:
    """Four round trips of 150 ms: a second connection for each dial would be an attack to Apple."""
    track = Track({"far": [(0.15, "tcp"), (0.6, "ready")], "other": READY})
    assert virtual.run(track.race()) == "far"
    assert track.started == [("far", 0.0)]


def test_an_attempt_whose_handshake_never_ends_does_not_hold_it_back_for_ever() -> None:
    track = Track({"tar pit": [(0.1, "tcp")], "other": READY})
    assert virtual.run(track.race()) == "other"
    assert track.started == [("tar pit", 0.0), ("other", pytest.approx(0.1 + HANDSHAKE))]


def test_a_slow_address_wins_when_the_faster_one_fails_late() -> None:
    track = Track({"slow": [(0.5, "tcp"), (0.9, "ready")], "fails": [(0.01, "tcp"), (0.4, AlpnError("no"))]})
    assert virtual.run(track.race()) == "slow"


def test_the_second_connection_is_discarded() -> None:
    track = Track({"a": [(1.0, "ready")], "b": [(1.0 - DELAY, "ready")]})
    winner = virtual.run(track.race())
    assert track.discarded == [host for host in ("a", "b") if host != winner]


def test_all_fail() -> None:
    track = Track({"refused": [(0.01, ConnectError("refused"))], "dead": [], "dead too": []})
    with pytest.raises(ConnectError) as caught:
        virtual.run(track.race())
    assert str(caught.value) == "refused (refused); no connection in time (dead, dead too)"
    assert track.took == pytest.approx(5.0)


def test_no_address_is_tried_after_the_time_of_the_race() -> None:
    track = Track({f"dead{number}": [] for number in range(40)})
    with pytest.raises(ConnectError, match="no connection in time"):
        virtual.run(track.race(1.0))
    assert track.took == pytest.approx(1.0)
    assert all(at < 1.0 for _, at in track.started)
    assert len(track.started) <= 1.0 / SHORTEST_DELAY + 1


def test_no_address_at_all() -> None:
    with pytest.raises(ConnectError, match="no address"):
        virtual.run(Track({}).race())


def test_a_bug_in_an_attempt_is_no_failure_of_an_address() -> None:
    track = Track({"dead": [], "b": [(0.01, ZeroDivisionError())], "c": READY})
    with pytest.raises(ZeroDivisionError):
        virtual.run(track.race())
    assert track.cancelled == ["dead"]


@pytest.mark.parametrize("after", [0.0, 0.1, DELAY, DELAY + 0.005, DELAY + 0.02, DELAY + 0.03, 1.0])
def test_cancelled_at_any_moment(after: float) -> None:
    track = Track({"dead": [], "alive": [(0.01, "tcp"), (0.03, "ready")]})

    async def cancelled() -> str | None:
        track.began = asyncio.get_running_loop().time()
        task = asyncio.create_task(race(track.addresses(), track.attempt, track.discarded.append, 5.0))
        await asyncio.sleep(after)
        task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    winner = virtual.run(cancelled())
    ended = {*track.cancelled, *track.discarded, *([winner] if winner else [])}
    assert ended == {host for host, _ in track.started}


def test_cancelled_turn_by_turn() -> None:
    """Wherever the race stands when it is cancelled, nothing that an attempt returned is forgotten."""

    async def one(turns: int) -> bool:
        ready: list[str] = []
        discarded: list[str] = []
        go = asyncio.Event()

        async def attempt(one: Attempt, seconds: float) -> str:
            await go.wait()
            ready.append(one.address.host)
            return one.address.host

        addresses = [Address(V4, 6, (host, 443)) for host in ("a", "b")]
        task = asyncio.create_task(race(addresses, attempt, discarded.append, 5.0))
        await asyncio.sleep(1.0)  # both are running
        go.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            kept = [await task]
        except asyncio.CancelledError:
            kept = []
        assert sorted(kept + discarded) == sorted(ready)
        assert len(asyncio.all_tasks()) == 1
        return bool(kept)

    outcomes = [virtual.run(one(turns)) for turns in range(12)]
    assert {*outcomes} == {False, True}


def test_cancelled_while_a_loser_ends() -> None:
    """The winner is discarded if there is one, and the loser is waited for."""

    async def one(*, won: bool) -> tuple[list[str], bool]:
        discarded: list[str] = []
        may_end, ended = asyncio.Event(), False

        async def attempt(one: Attempt, seconds: float) -> str:
            nonlocal ended
            if one.address.host == "quick":
                await asyncio.sleep(1.0)
                return "quick"
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                await may_end.wait()
                ended = True
                raise
            return "slow"

        addresses = [Address(V4, 6, (host, 443)) for host in ("slow", "quick")]
        task = asyncio.create_task(race(addresses, attempt, discarded.append, 5.0))
        await asyncio.sleep(2.0 if won else 0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        if not won:
            task.cancel()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        return discarded, ended

    assert virtual.run(one(won=True)) == (["quick"], True)
    assert virtual.run(one(won=False)) == ([], True)


# --- errors -------------------------------------------------------------------------------------------------------


def failures(*errors: TransportError) -> list[tuple[Address, TransportError]]:
    return [(Address(V4, 6, (f"192.0.2.{n}", 443)), error) for n, error in enumerate(errors)]


@pytest.mark.parametrize("turn", [lambda errors: errors, lambda errors: errors[::-1]])
def test_the_address_that_got_furthest_speaks_for_all(turn: Callable[[Any], Any]) -> None:
    away = GoAway(0, b"", unprocessed=True, reason="Shutdown")
    permanent, refused = AlpnError("no h2"), ConnectError("refused")
    assert combine(failures(*turn([refused, permanent]))) is permanent
    assert combine(failures(*turn([away, permanent]))) is away
    text = str(combine(failures(*turn([refused, away]))))
    assert text.startswith("the server is going away (error code 0, Shutdown) (192.0.2.")
    assert "; refused (192.0.2." in text


@pytest.mark.parametrize("more", [0, 1, 5])
def test_equal_errors_are_told_once_and_many_addresses_are_bounded(more: int) -> None:
    text = str(combine(failures(*(ConnectError("dead") for _ in range(MAX_NAMED + more)))))
    assert text.count("dead") == 1
    assert text.count("192.0.2.") == MAX_NAMED
    assert text.endswith(f"; and {more} more addresses" if more else f"192.0.2.{MAX_NAMED - 1})")


# --- sockets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
@pytest.mark.parametrize("family", [V4, V6])
async def test_a_socket_has_its_options(loop: str, family: int) -> None:
    host = "127.0.0.1" if family == V4 else "::1"
    with socket.create_server((host, 0), family=socket.AddressFamily(family)) as server:
        one = Attempt(Address(family, socket.IPPROTO_TCP, server.getsockname()))
        with await one.connect() as sock:
            assert one.connected_at is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.gettimeout() == 0
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            keep_alive(sock, (61, 16, 5))
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            for name, value in (("TCP_KEEPIDLE", 61), ("TCP_KEEPINTVL", 16), ("TCP_KEEPCNT", 5)):
                if hasattr(socket, name):  # macOS has another name for the first
                    assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
async def test_a_closed_port_and_an_unknown_family_are_errors(loop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    for family in (V4, 255):
        one = Attempt(Address(family, socket.IPPROTO_TCP, address))
        with pytest.raises(OSError):
            await one.connect()
        assert one.connected_at is None
