"""An `ApnsClient`'s provider tokens in virtual time: which one each push carries, and what is sent again."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import orjson
import pytest

from pushcore.http2 import frames
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import request
from pushcore.http2.streams import ConnectionState, Limits
from pushcore.metrics import Listener
from pushcore.results import Result, Verdict
from tests.support.http2 import TEMPLATE
from tests.support.virtual import Answer, connect_each_to, connect_to, run
from tests.unit.apns.clients import Server, client_of, key, push, refused


class Rotations(Listener):
    """Counts new tokens."""

    def __init__(self) -> None:
        self.count = 0

    def token_rotated(self, provider: str) -> None:
        self.count += 1


def test_a_connection_changes_its_token_when_its_slot_is_over_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(monkeypatch, lambda n: (200, {}, b""))
    rotations = Rotations()

    async def send() -> None:
        loop = asyncio.get_running_loop()
        async with client_of(now=lambda: 1_750_000_000.0 + 60.0 * loop.time()) as client:
            client._dispatcher.pool.events.add(rotations)
            for _ in range(16):  # for eighty minutes
                assert (await client.send(push())).ok
                await asyncio.sleep(5.0)  # which its wall clock takes for five minutes

    run(send())
    values = [fields["authorization"] for fields in server.requests]
    changes = [n for n in range(1, len(values)) if values[n] != values[n - 1]]
    assert 2 <= len(changes) <= 3
    assert all(later - earlier >= 4 for earlier, later in pairwise(changes))
    assert rotations.count == len(set(values)) == len(changes) + 1


def test_a_token_that_two_connections_use_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_to(monkeypatch, lambda fields, body: (200, {}, b""), streams=2)
    rotations = Rotations()

    async def send() -> int:
        async with client_of() as client:
            client._dispatcher.pool.events.add(rotations)
            await asyncio.gather(*(client.send(push(number)) for number in range(8)))
            return client._dispatcher.pool.dialled

    assert run(send()) > 1
    assert rotations.count == 1


def test_a_response_that_blames_neither_connection_nor_age_of_the_token_is_final() -> None:
    client = client_of()
    exchange = request(TEMPLATE, b"/", b"", (), lambda _: None)
    exchange.connection = Connection(Limits(1.0), 0.0)
    for status, reason in ((403, "InvalidProviderToken"), (410, "ExpiredProviderToken")):
        exchange.status, exchange.data = status, orjson.dumps({"reason": reason})
        assert not client._dispatcher.resend(exchange, None)


class Apple:
    """Judges provider tokens by a clock of its own, and refuses all of a connection that has used an expired one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: list[float], date: bool = True) -> None:
        self.connections: list[list[str]] = []
        """For each connection the reasons that it was given, empty for a push that was accepted."""
        self._clock = clock
        self._date = date
        connect_each_to(monkeypatch, self._accept, latency=0.05)

    def _accept(self) -> Callable[[dict[str, str], bytes], Answer]:
        reasons: list[str] = []
        self.connections.append(reasons)

        def respond(fields: dict[str, str], body: bytes) -> Answer:
            claims = fields["authorization"].split(".")[1]
            age = self._clock[0] - orjson.loads(base64.urlsafe_b64decode(claims + "=="))["iat"]
            if age > 3600 or "ExpiredProviderToken" in reasons:
                reasons.append("ExpiredProviderToken")
            else:
                reasons.append("" if age >= 0 else "InvalidProviderToken")
            if not reasons[-1]:
                return 200, {}, b""
            headers = {"date": formatdate(self._clock[0], usegmt=True)} if self._date else {}
            return 403, headers, orjson.dumps({"reason": reasons[-1]})

        return respond


def send_in_turn(
    apple_clock: list[float], skew: list[float], steps: list[tuple[float, float]], **options: Any
) -> list[Result]:
    """A push at once and one after each step: seconds that pass, and how fast our clock is from then on."""

    async def send() -> list[Result]:
        async with client_of(now=lambda: apple_clock[0] + skew[0], **options) as client:
            results = [await client.send(push())]
            for seconds, fast in steps:
                apple_clock[0] += seconds
                skew[0] = fast
                results.append(await client.send(push()))
            return results

    results: list[Result] = run(send())
    return results


def test_a_connection_with_an_expired_token_is_left_when_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apple refuses it for ever. A token that is as young as may be is tried once, and then no other connection is opened."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)
    steps = [(1.0, -7200.0), (1.0, -7200.0), (1.0, 0.0), (1.0, 0.0)]
    results = send_in_turn(clock, [-7200.0], steps)
    expired = Verdict.MISCONFIGURED
    assert [result.verdict for result in results] == [expired, expired, expired, *[Verdict.ACCEPTED] * 2]
    assert apple.connections == [["ExpiredProviderToken"], ["ExpiredProviderToken"] * 3, ["", ""]]


def test_a_clock_that_is_half_an_hour_slow_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of its slot a token is more than an hour old to Apple; one that is made at once is not."""
    slow = 35 * 60.0
    clock = [key().token(1_750_000_000.0).until + slow - 10.0]
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [-slow], [(1.0, -slow), (1.0, -slow)])
    assert {result.verdict for result in results} == {Verdict.ACCEPTED}
    assert [result.attempts for result in results] == [2, 1, 1]
    assert apple.connections == [["ExpiredProviderToken"], ["", "", ""]]


def test_pushes_in_flight_on_connections_whose_token_has_expired_are_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our clock is slow by so much that a token expires while connections still keep it; the next slot's is good."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)

    async def send() -> list[Result]:
        auth = key()
        slow = 25 * 60.0
        clock[0] = auth.token(clock[0]).until + slow - 100.0
        async with client_of(auth, now=lambda: clock[0] - slow, max_connections=3) as client:
            assert (await client.send(push())).ok
            await asyncio.gather(*(client.send(push(number)) for number in range(2500)))
            clock[0] += 600.0
            return list(await asyncio.gather(*(client.send(push(number)) for number in range(2500))))

    results: list[Result] = run(send())
    assert {result.verdict for result in results} == {Verdict.ACCEPTED}
    assert {result.attempts for result in results} <= {1, 2}
    expired = [reasons for reasons in apple.connections if "ExpiredProviderToken" in reasons]
    assert 1 <= len(expired) <= 3
    assert 4 <= len(apple.connections) <= 6


@pytest.mark.parametrize("fast", [180.0, 7200.0, 864_000.0])
def test_a_fast_clock_that_is_set_right_is_accepted_at_the_next_push(
    fast: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [key().token(1_750_000_000.0).until - fast]  # its token has just come into force
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [fast], [(1.0, fast), (1.0, 0.0), (1.0, 0.0)])
    refused = Verdict.MISCONFIGURED
    assert [result.verdict for result in results] == [refused, refused, Verdict.ACCEPTED, Verdict.ACCEPTED]
    assert apple.connections == [["InvalidProviderToken"] * 2, ["", ""]]


def test_a_push_is_sent_again_no_more_than_once_for_an_expired_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clock was right and is then slow: neither the old connection nor a new one can help."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [0.0], [(1.0, -7200.0), (1.0, -7200.0), (3600.0, -10_800.0)])
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, *[Verdict.MISCONFIGURED] * 3]
    assert sum(map(len, apple.connections)) <= 6
    assert len(apple.connections) <= 4


@pytest.mark.parametrize(
    ("fast", "advice"),
    [(7200.0, "it is 2 h fast"), (-7200.0, "it is 2 h slow")],
)
def test_the_advice_for_a_refused_token_says_by_how_much_the_clock_is_wrong(
    fast: float, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_750_000_000.0]
    Apple(monkeypatch, clock)
    (result,) = send_in_turn(clock, [fast], [])
    assert result.detail == f"set this machine's clock: {advice}"


@pytest.mark.parametrize(("fast", "date"), [(0.0, True), (7200.0, False)])
@pytest.mark.parametrize("reason", ["ExpiredProviderToken", "InvalidProviderToken"])
def test_the_advice_does_not_speak_of_the_clock_unless_both_disagree(
    fast: float, date: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_750_000_000.0]
    headers = {"date": formatdate(clock[0], usegmt=True)} if date else {}
    Server(monkeypatch, lambda n: (403, headers, orjson.dumps({"reason": reason})))
    (result,) = send_in_turn(clock, [fast], [])
    assert (result.verdict, result.detail) == (Verdict.MISCONFIGURED, None)
    assert "clock" not in result.row.advice


def test_a_connection_bound_to_another_key_is_left_and_its_push_is_sent_over_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken") if n == 1 else (200, {}, b""))

    async def send() -> tuple[Result, int]:
        async with client_of() as client:
            result = await client.send(push())
            return result, client._dispatcher.pool.dialled

    result, dialled = run(send())
    assert (result.verdict, result.attempts, dialled) == (Verdict.ACCEPTED, 2, 2)


def test_the_connection_of_the_push_is_left_whichever_had_the_last_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Server(monkeypatch, lambda n: (200, {}, b""))

    async def send() -> tuple[ConnectionState, ConnectionState]:
        async with client_of() as client:
            await client.send(push())
            latest = client._dispatcher.pool.links[0].connection
            bound = Connection(Limits(), 0.0)
            bound.receive(frames.encode_settings([(frames.MAX_CONCURRENT_STREAMS, 10)]), 0.0)
            rejected = request(TEMPLATE, b"/", b"{}", (), lambda _: None)
            bound.take(deque([rejected]))
            rejected.status, rejected.data = 403, b'{"reason":"UnrelatedKeyIdInToken"}'
            assert client._dispatcher.resend(rejected, client._dispatcher.pool)
            client._dispatcher.pool.waiting.clear()
            return bound.state, latest.state

    assert run(send()) == (ConnectionState.DRAINING, ConnectionState.OPEN)


def test_the_same_rejection_on_a_second_connection_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken"))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert (result.verdict, result.attempts) == (Verdict.MISCONFIGURED, 2)
    assert len(server.requests) == 2


def test_no_more_connections_are_left_in_a_minute_than_the_client_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse = True
    Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken") if refuse else (200, {}, b""))

    async def send() -> int:
        async with client_of(max_connections=2) as client:
            for number in range(6):
                await client.send(push(number))
            assert client._dispatcher.pool.dialled <= 4
            dialled = client._dispatcher.pool.dialled
            await asyncio.sleep(61.0)
            await client.send(push())
            return client._dispatcher.pool.dialled - dialled

    assert run(send()) >= 1
