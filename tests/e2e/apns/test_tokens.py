"""Provider tokens over hours of campaign, by clocks that run with the pushes: no test here waits for a real one.

Time passes with progress: each push that the source gives makes all clocks tick by a fixed number of virtual seconds,
so 200 000 pushes are ten virtual hours at any speed of the machine, and what lies between a client's write and its
server's read is bounded by the window and not by the scheduler. Apple's own numbers hold: slots of 30 minutes, 20
minutes between changes, an hour of age.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

import pytest

from fakeservers import ApnsRegistry, Certificates, FakeApns
from pushcore import ApnsKey, Notification, PushEngine, Verdict
from tests.e2e.support import ENGINES, PAYLOAD, client_of, key_of, push, send_all, soon, using, verdicts

pytestmark = pytest.mark.usefixtures("clean")

SLOT, HOLD, MARGIN = 1800, 1200, 120
START = 1_750_000_000.0
STREAMS = 8
"""Streams on each connection: few, so that few virtual seconds pass between a write and its read."""
CONNECTIONS = 8
BODY = b'{"aps":{"alert":"Hi"}}'


class Clock:
    """Virtual UNIX seconds, moved by hand."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def skewed(self, seconds: float) -> Skewed:
        return Skewed(self, seconds)


class Skewed:
    """The same clock on a machine that is fast or slow by `seconds`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds

    def __call__(self) -> float:
        return self._clock.now + self.seconds


def just_before_a_slot(key: ApnsKey, ahead: float) -> float:
    """A time `ahead` seconds before another token comes into force."""
    return ApnsKey.token(key, START).until - ahead


def campaign(clock: Clock, number: int, seconds: float) -> Iterator[Notification]:
    """So many pushes, while so many virtual seconds pass."""
    begin = clock.now
    for index in range(number):
        clock.now = begin + seconds * index / number
        yield Notification(f"{index:08x}", BODY)


@pytest.mark.deadline(110.0)
@pytest.mark.uvloop
@pytest.mark.parametrize(
    "skew",
    [
        pytest.param(0.0, id="right"),
        pytest.param(120.0, id="two minutes fast", marks=pytest.mark.ci),
        pytest.param(-120.0, id="two minutes slow", marks=pytest.mark.ci),
    ],
)
async def test_twenty_rotations_in_200_000_pushes(
    skew: float, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fakeservers.apns.authentication.STREAMS", STREAMS)
    number, seconds = 200_000, 20.0 * SLOT
    window = 2 * CONNECTIONS * STREAMS
    assert window * seconds / number < 30  # what the client allows for the way to Apple
    clock = Clock()
    async with FakeApns(certs=certs, now=clock, keep=2000) as fake:
        key = key_of(fake)
        probe = key_of(fake)
        # The first token is in use for 100 s when the next comes into force, so the 20 minutes bite at once.
        clock.now = just_before_a_slot(probe, 100.0) - skew
        client = client_of(fake, auth=key, now=clock.skewed(skew), max_connections=CONNECTIONS, timeout=30.0)
        connections: set[int] = set()
        accepted = 0
        async with using(client), PushEngine(client, window=window) as engine:
            async for result in engine.send_many(campaign(clock, number, seconds)):
                accepted += result.ok
                if accepted % 2000 == 0:
                    connections.update(request.connection for request in fake.received)
            assert len(client._dispatcher.pool.links) == CONNECTIONS
            assert fake.connections == CONNECTIONS
        assert accepted == number
        assert fake.counts == {(200, ""): number}  # no 403, no 429
        assert fake.accepted == CONNECTIONS
        assert connections == set(range(1, CONNECTIONS + 1))
        assert key.signatures == len(fake.tokens_seen) == 21
        iats = sorted(fake.tokens_seen.values())
        assert {later - earlier for earlier, later in itertools.pairwise(iats)} == {SLOT}


async def test_without_the_twenty_minutes_the_fake_would_have_complained(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge of the test above can tell: a client that changes tokens with the slot gets 429."""
    monkeypatch.setattr("pushcore.apns.dispatcher.HOLD", 0.0)
    monkeypatch.setattr("pushcore.apns.dispatcher.NETWORK_SLACK", 0.0)
    clock = Clock()
    async with FakeApns(certs=certs, now=clock) as fake:
        clock.now = just_before_a_slot(key_of(fake), 100.0)
        async with using(client_of(fake, now=clock)) as client:
            assert (await client.send(push())).ok
            clock.now += 101.0
            result = await client.send(push())
            assert (result.verdict, result.status) == (Verdict.THROTTLED, 429)
            assert result.reason == "TooManyProviderTokenUpdates"
            clock.now += HOLD
            assert (await client.send(push())).ok


@pytest.mark.parametrize("http2", ENGINES)
async def test_a_connection_keeps_its_token_for_twenty_minutes(http2: str, certs: Certificates) -> None:
    clock = Clock()
    async with FakeApns(certs=certs, now=clock) as fake:
        clock.now = begin = just_before_a_slot(key_of(fake), 100.0)
        async with using(client_of(fake, now=clock, http2=http2)) as client:
            used: list[tuple[float, str]] = []
            while clock.now < begin + 3 * SLOT:
                assert (await client.send(push())).ok
                bearer = fake.received[-1].headers["authorization"]
                if not used or used[-1][1] != bearer:
                    used.append((clock.now - begin, bearer))
                clock.now += 10.0
            moments = [moment for moment, _ in used]
            # Changed 1230 s after the first use, then again as long after that, and from there on with the slots.
            assert moments == [0.0, 1230.0, 2460.0, 3700.0]
            assert fake.accepted == 1


@pytest.mark.parametrize("http2", ENGINES)
async def test_an_idle_night_ends_with_a_fresh_token(http2: str, certs: Certificates) -> None:
    clock = Clock()
    async with (
        FakeApns(certs=certs, now=clock) as fake,
        using(client_of(fake, now=clock, http2=http2)) as client,
    ):
        assert (await client.send(push())).ok
        clock.now += 8 * 3600
        assert verdicts(await send_all(client, [push(number) for number in range(100)])) == {
            Verdict.ACCEPTED: 100
        }
        assert fake.accepted == 1
        assert len(fake.tokens_seen) == 2


@pytest.mark.parametrize("http2", ENGINES)
async def test_two_processes_on_one_fake_share_their_tokens(http2: str, certs: Certificates) -> None:
    """Two keys from one file stand for two processes: what they mint is the same, so the fake sees one a slot."""
    clock = Clock()
    async with (
        FakeApns(certs=certs, now=clock) as fake,
        using(client_of(fake, now=clock, http2=http2)) as one,
        using(client_of(fake, now=clock.skewed(-100.0), http2=http2)) as two,
    ):
        for _ in range(20):
            assert (await one.send(push())).ok
            assert (await two.send(push())).ok
            clock.now += 1000.0
        assert len(fake.tokens_seen) in (11, 12)
        assert fake.counts == {(200, ""): 40}


# --- ExpiredProviderToken -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("http2", ENGINES)
async def test_an_expired_token_moves_the_pushes_to_another_connection(
    http2: str, certs: Certificates
) -> None:
    """Apple calls the connection's token expired, and by now a newer one is in force: each push is sent once more."""
    clock = Clock()
    async with FakeApns(certs=certs, now=clock, token_max_age=SLOT + MARGIN + 60.0, keep=10_000) as fake:
        clock.now = just_before_a_slot(key_of(fake), 100.0)
        async with using(client_of(fake, now=clock, http2=http2, max_connections=2)) as client:
            assert (await client.send(push())).ok
            clock.now += 100.0 + 61.0  # the slot has changed; the connection may not change yet
            results = await send_all(client, [push(number) for number in range(50)])
            assert verdicts(results) == {Verdict.ACCEPTED: 50}
            assert {result.attempts for result in results} == {2}
            assert fake.counts == {(200, ""): 51, (403, "ExpiredProviderToken"): 50}
            assert fake.accepted == 2
            await soon(lambda: fake.connections == 1)  # the old one gets nothing more
            assert (await client.send(push())).ok
            assert fake.received[-1].connection == 2
            assert len(fake.tokens_seen) == 2


@pytest.mark.parametrize("http2", ENGINES)
async def test_a_wrong_clock_is_reported_at_once(http2: str, certs: Certificates) -> None:
    """The newest token that the client can make is too old for Apple: its clock is slow."""
    clock = Clock()
    async with (
        FakeApns(certs=certs, now=clock) as fake,
        using(client_of(fake, now=clock.skewed(-7200.0), http2=http2)) as client,
    ):
        results = [await client.send(push(number)) for number in range(3)]
        assert verdicts(results) == {Verdict.MISCONFIGURED: 3}
        assert {result.reason for result in results} == {"ExpiredProviderToken"}
        assert [result.attempts for result in results] == [2, 1, 1]
        assert fake.counts == {(403, "ExpiredProviderToken"): 4}
        assert fake.accepted == 2  # the second for a token as young as may be; a third would fare no better


@pytest.mark.parametrize("http2", ENGINES)
async def test_a_clock_that_was_set_back_and_right_again(http2: str, certs: Certificates) -> None:
    """The client's clock is two hours slow, is called so, is corrected, and the client recovers by itself."""
    clock = Clock()
    wrong = clock.skewed(-7200.0)
    async with (
        FakeApns(certs=certs, now=clock) as fake,
        using(client_of(fake, now=wrong, http2=http2)) as client,
    ):
        assert (await client.send(push())).verdict is Verdict.MISCONFIGURED
        wrong.seconds = 0.0
        result = await client.send(push())
        assert result.ok
        clock.now += 1.0
        assert (await client.send(push())).ok
        assert fake.accepted == 3  # Apple has wedged the others


@pytest.mark.parametrize("http2", ENGINES)
@pytest.mark.parametrize("fast", [200.0, 7200.0])
async def test_a_clock_that_was_fast_and_is_set_right_is_accepted_at_the_next_push(
    fast: float, http2: str, certs: Certificates
) -> None:
    clock = Clock()
    wrong = clock.skewed(fast)
    async with FakeApns(certs=certs, now=clock) as fake:
        clock.now = just_before_a_slot(key_of(fake), 0.0) - fast
        async with using(client_of(fake, now=wrong, http2=http2)) as client:
            result = await client.send(push())
            assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "InvalidProviderToken")
            wrong.seconds = 0.0
            assert (await client.send(push())).ok
            clock.now += 1.0
            assert (await client.send(push())).ok
            assert fake.accepted == 2


@pytest.mark.parametrize("http2", ENGINES)
@pytest.mark.parametrize("slow", [1900.0, 3400.0])
async def test_a_clock_that_was_slow_and_is_set_right_is_accepted_at_the_next_push(
    slow: float, http2: str, certs: Certificates
) -> None:
    """Apple sees two tokens on one connection within 20 minutes, whatever our clock says: the connection is replaced."""
    clock = Clock()
    wrong = clock.skewed(-slow)
    async with FakeApns(certs=certs, now=clock) as fake:
        clock.now = just_before_a_slot(key_of(fake), 1790.0) + slow
        async with using(client_of(fake, now=wrong, http2=http2)) as client:
            assert (await client.send(push())).ok
            wrong.seconds = 0.0
            results = await send_all(client, [push(number) for number in range(20)])
            assert verdicts(results) == {Verdict.ACCEPTED: 20}
            assert fake.counts[429, "TooManyProviderTokenUpdates"] >= 1
            clock.now += 1.0
            assert (await client.send(push())).ok
            assert fake.accepted == 2


@pytest.mark.parametrize("http2", ENGINES)
async def test_a_replay_is_refused_no_more_than_once(http2: str, certs: Certificates) -> None:
    """No token is young enough for this fake: the push is sent twice and no more."""
    clock = Clock()
    apples = clock.skewed(0.0)
    async with FakeApns(certs=certs, now=apples) as fake:
        clock.now = just_before_a_slot(key_of(fake), 100.0)
        async with using(client_of(fake, now=clock, http2=http2)) as client:
            assert (await client.send(push())).ok
            clock.now += 101.0
            apples.seconds = 7200.0
            async with asyncio.timeout(10):
                result = await client.send(push())
            assert (result.verdict, result.attempts) == (Verdict.MISCONFIGURED, 2)
            assert fake.counts == {(200, ""): 1, (403, "ExpiredProviderToken"): 2}


@pytest.mark.parametrize("http2", ENGINES)
async def test_an_expired_token_while_the_client_closes(http2: str, certs: Certificates) -> None:
    """`close` waits for what is open; an answer that asks for a replay then must still end in a result."""
    clock = Clock()
    async with FakeApns(certs=certs, now=clock, delay=0.1, token_max_age=SLOT + MARGIN + 60.0) as fake:
        clock.now = just_before_a_slot(key_of(fake), 100.0)
        async with using(client_of(fake, now=clock, http2=http2)) as client:
            assert (await client.send(push())).ok
            clock.now += 161.0
            pushes = [asyncio.create_task(client.send(push(number))) for number in range(5)]
            await soon(lambda: len(fake.received) == 6)
            closing = asyncio.create_task(client.close())
            async with asyncio.timeout(2):
                results = await asyncio.gather(*pushes)
                await closing
            assert verdicts(results).keys() <= {Verdict.UNSENT, Verdict.MISCONFIGURED}
            assert len(results) == 5


async def test_a_revoked_key_is_misconfigured(certs: Certificates) -> None:
    registry = ApnsRegistry()
    async with FakeApns(certs=certs, registry=registry) as fake, using(client_of(fake)) as client:
        assert (await client.send(push())).ok
        registry.revoke_key(fake.key_id)
        result = await client.send(Notification("ab" * 32, PAYLOAD))
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "InvalidProviderToken")


async def test_many_clients_of_one_key_sign_once(certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake:
        key = key_of(fake)
        async with using(client_of(fake, auth=key)) as one, using(client_of(fake, auth=key)) as two:
            started = time.time()
            assert (await one.send(push())).ok
            assert (await two.send(push())).ok
            edge = key.token(started).iat != key.token(time.time()).iat
            assert key.signatures == len(fake.tokens_seen) == (2 if edge else 1)
