"""Counts agree: received = accepted + rejected + unprocessed + cut, on every ready-made day and with three senders."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest

from fakeservers import FakeApns, FakeFcm, fated_token
from fakeservers.faults import PRESETS, Answer, Cut, Fault, FaultPlan, Goaway, HalfOpen, Reset, Stall, When
from tests.fakeservers.client import DEADLINE, PAYLOAD, Client, headers_for, provider_token, soon
from tests.fakeservers.faults_client import RawClient
from tests.fakeservers.faults_support import Account, plan_of
from tests.fakeservers.fcm_client import send_body, send_headers

SCALE = 0.02
ROUNDS, BATCH = 8, 40
BETWEEN = 0.5
"""Seconds that a foreign sender waits for the answers of a batch: what has not come by then is given up."""

Sent = tuple[int, int]
"""Pushes that a sender has begun at most, and those that it saw accepted."""


_tokens: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def token_of(fake: Any) -> str:
    """The provider token of a fake's senders: each signature is another token."""
    if fake not in _tokens:
        _tokens[fake] = provider_token(fake)
    return _tokens[fake]


def push_of(fake: Any, number: int) -> tuple[list[tuple[str, str]], bytes]:
    if isinstance(fake, FakeApns):
        return headers_for(fake, token_of(fake), f"{number:064x}"), PAYLOAD
    token = f"c{number:021d}:APA91b{number:0128x}"
    return send_headers(fake), send_body(token=token)


async def by_ours(fake: Any) -> Sent:
    account = Account(fake, max_connections=4)
    verdicts = await account.run(ROUNDS * BATCH, window=BATCH)
    account.check()
    return sum(result.attempts for result in account.results) * 10, verdicts["ACCEPTED"]


async def by_h2(fake: Any) -> Sent:
    begun = accepted = 0
    for _ in range(ROUNDS):
        client = None
        try:
            async with asyncio.timeout(BETWEEN):
                client = await Client.connect(fake)
                await client.greeted()
        except (OSError, TimeoutError, ssl.SSLError):
            if client is not None:
                client.transport.abort()
            continue
        streams: set[int] = set()
        for number in range(min(BATCH, max(client.streams, 1))):
            if not client.lost and client.goaway is None:
                streams.add(client.request(*push_of(fake, begun + number)))
        begun += len(streams)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BETWEEN):
                await client.answered(streams)
        accepted += sum(reply.status == 200 for reply in client.replies.values())
        client.transport.abort()
    return begun, accepted


async def by_httpx(fake: Any) -> Sent:
    begun = accepted = 0
    context = ssl.create_default_context(cafile=fake.ca_file)
    for turn in range(ROUNDS):
        async with httpx.AsyncClient(http2=True, verify=context, timeout=BETWEEN, trust_env=False) as client:

            async def one(number: int, client: httpx.AsyncClient = client) -> int:
                headers, body = push_of(fake, number)
                path = next(value for name, value in headers if name == ":path")
                fields = {name: value for name, value in headers if name[0] != ":"}
                try:
                    return (await client.post(fake.url + path, headers=fields, content=body)).status_code
                except (httpx.HTTPError, OSError, ssl.SSLError, RuntimeError, KeyError):
                    return 0

            begun += 10
            statuses = await asyncio.gather(*(one(turn * 10 + number) for number in range(10)))
            accepted += sum(status == 200 for status in statuses)
    return begun, accepted


SENDERS: dict[str, Callable[[Any], Awaitable[Sent]]] = {"ours": by_ours, "h2": by_h2, "httpx": by_httpx}


async def settled(fake: Any) -> dict[str, int]:
    """The counters when all connections have ended."""
    for peer in list(fake.server.peers):
        peer.abort()
    await soon(lambda: fake.connections == 0)
    counters: dict[str, int] = fake.counters()
    return counters


def check(fake: Any, counters: dict[str, int]) -> None:
    parts = ("accepted", "rejected", "unprocessed", "cut")
    assert counters["received"] == sum(counters[part] for part in parts), counters
    others = fake.token_requests if isinstance(fake, FakeFcm) else 0
    assert counters["requests"] == counters["received"] + others, counters
    assert all(count >= 0 for count in counters.values())


@pytest.mark.leaves_sockets  # httpx does, when its connection breaks
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_every_ready_made_day(kind: Any, name: str, sender: str) -> None:
    plan = FaultPlan.preset(name, seed=3, scale=SCALE)
    async with kind(faults=plan, keep=50_000) as fake:
        async with asyncio.timeout(60):
            begun, accepted = await SENDERS[sender](fake)
        result = await settled(fake)
    check(fake, result)
    assert accepted <= result["accepted"]
    if sender != "ours":  # which sends again by itself
        assert result["received"] <= begun
    if name == "calm":
        assert result["received"] == result["accepted"] == accepted


CASES: list[tuple[Any, str]] = [
    (Answer(reason="TooManyRequests"), "rejected"),
    (Answer(status=200), "accepted"),
    (Stall(), "cut"),
    (Stall(processed=True), "accepted"),
    (Reset(), "unprocessed"),
    (Reset(code="INTERNAL_ERROR"), "cut"),
    (Goaway(last="before"), "unprocessed"),
    (Cut(how="close"), "cut"),
    (HalfOpen(), "cut"),
]


@pytest.mark.parametrize(("what", "part"), CASES, ids=repr)
async def test_what_a_fault_makes_of_a_push(what: Any, part: str) -> None:
    async with FakeApns(faults=plan_of(what, nth=2)) as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        assert (await client.push(headers)).status == 200
        client.request(headers)
        await soon(lambda: fake.pushes.received == 2)
        counters = fake.counters()
        assert counters[part] == (2 if part == "accepted" else 1)
        check(fake, counters)
        assert counters["streams_refused"] == (what == Reset())
        assert counters["streams_reset_by_server"] == (what == Reset(code="INTERNAL_ERROR"))
        assert counters["goaways"] == counters["goaway_unprocessed"] == isinstance(what, Goaway)
        client.transport.abort()


@pytest.mark.parametrize(
    ("fate", "part"),
    [
        ("Unregistered", "rejected"),
        ("Slow", "accepted"),
        ("GoAway", "accepted"),
        ("RefusedStream", "unprocessed"),
        ("GoAwayBefore", "unprocessed"),
        ("Stall", "cut"),
        ("InternalReset", "cut"),
        ("Cut", "cut"),
    ],
)
async def test_what_a_fate_makes_of_a_push(fate: str, part: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        client.request(headers_for(fake, provider_token(fake), fated_token(fate)))
        await soon(lambda: fake.pushes.received == 1)
        counters = fake.counters()
        assert counters[part] == 1
        check(fake, counters)
        client.transport.abort()


async def test_a_broadcast_a_channel_and_a_token_are_no_pushes() -> None:
    async with FakeApns() as apns, FakeFcm() as fcm:
        async with await Client.connect(apns) as client:
            path = "/4/broadcasts/apps/com.example.app"
            assert (await client.push(headers_for(apns, provider_token(apns), path=path))).status == 400
        async with await Client.connect(fcm) as client:
            for path in (
                "/token",
                "/iid/info/x",
                f"/v1/projects/{fcm.project_id}/registrations/x/topicSubscriptions",
            ):
                headers = [(name, path if name == ":path" else value) for name, value in send_headers(fcm)]
                assert (await client.push(headers, b"x=y")).status
        assert apns.pushes.received == fcm.pushes.received == 0
        assert (apns.counters()["requests"], fcm.counters()["requests"]) == (1, 3)


@pytest.mark.parametrize("fate", ["GoAwayBefore", "Cut"])
async def test_a_broadcast_behind_the_end_of_a_connection_is_no_push(fate: str) -> None:
    """Two pushes and a broadcast of one read, of which the first push ends the connection."""
    async with FakeApns() as fake, await Client.connect(fake) as client:
        assert (await client.push(headers_for(fake, token_of(fake)))).status == 200
        broadcast = headers_for(fake, token_of(fake), path="/4/broadcasts/apps/com.example.app")
        requests = [headers_for(fake, token_of(fake), fated_token(fate)), headers_for(fake, token_of(fake))]
        with pytest.MonkeyPatch.context() as held:
            held.setattr(client, "flush", lambda: None)
            for headers in [*requests, broadcast]:
                client.request(headers)
        client.flush()
        await soon(lambda: fake.pushes.received > 2)
        counters = fake.counters()
        assert (counters["requests"], counters["received"]) == (4, 3)
        assert counters["accepted"] == 1
        assert counters["unprocessed" if fate == "GoAwayBefore" else "cut"] == 2


async def test_streams_and_connections() -> None:
    plan = FaultPlan(0, [Fault(id="x", when=When(connection=(1,)), what=Cut())])
    plan.clear()
    async with FakeApns(faults=plan) as fake:
        async with await Client.connect(fake) as client:
            headers = headers_for(fake, token_of(fake))
            client.pretend_streams(50)
            streams = [client.request(headers) for _ in range(50)]
            replies = [await client.reply(stream_id) for stream_id in streams]
            refused = sum(reply.reset == 7 for reply in replies)
            stalled = client.request(headers_for(fake, token_of(fake), fated_token("Stall")))
            await soon(lambda: fake.pushes.cut == 1)
            client.h2.reset_stream(stalled, 8)
            client.h2.close_connection()
            client.flush()
            await soon(lambda: fake.counters()["goaways_received"] == 1)
            counters = fake.counters()
            assert counters["streams_over_limit"] == refused > 0
            assert counters["streams_reset_by_client"] == 1
            assert counters["received"] + refused == 51
            assert (counters["connections_accepted"], counters["connections_refused"]) == (1, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", fake.server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")  # no TLS
        async with asyncio.timeout(DEADLINE):
            await reader.read()
        writer.close()
        await soon(lambda: fake.counters()["handshakes_failed"] == 1)
        fake.reset_counters()
        assert set(fake.counters().values()) <= {0, fake.accepted}


async def test_connections_that_are_turned_away() -> None:
    from fakeservers.faults import Connect

    async with FakeApns(faults=plan_of(Connect(how="close"), limit=1)) as fake:
        with pytest.raises((OSError, ssl.SSLError, ConnectionError)):
            async with RawClient(fake):
                pass
        async with RawClient(fake):
            assert fake.counters()["connections_turned_away"] == 1
