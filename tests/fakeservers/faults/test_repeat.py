"""The same seed and the same requests: the same status, headers, body and planned delay on every stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import (
    KINDS,
    Answer,
    ChangeAccessTokens,
    Connect,
    Delay,
    FaultPlan,
    Frame,
    Reset,
    Stall,
)
from fakeservers.faults.batch import Batch
from fakeservers.faults.chance import BLOCK, chosen, delay_of, draw, salt, threshold
from fakeservers.faults.rules import Bound
from fakeservers.serving.types import Request
from tests.fakeservers.client import Client, headers_for, provider_token, soon
from tests.fakeservers.faults.test_survival import ACTIONS
from tests.fakeservers.faults_support import one
from tests.fakeservers.fcm_client import FORM, assertion, request_headers, send_body, send_headers

Seen = dict[tuple[int, int], Any]


def mixed(seed: int) -> FaultPlan:
    return FaultPlan(
        seed,
        [
            one("delay", Delay(between=(0.001, 0.01))),
            one("busy", Answer(status=429, reason="Busy", retry_after=3), share=0.2),
            one("away", Answer(reason="Unregistered"), share=0.2),
            one("reset", Reset(code=99), share=0.1),
            one("stall", Stall(), share=0.05),
        ],
    )


def noting(fake: Any, delays: Seen) -> None:
    """Note by how much each answer is planned to be late."""
    server = fake.server
    make = server.new_peer

    def new_peer(entry: Any) -> Any:
        peer = make(entry)
        after = peer.after

        def noted(seconds: float, answers: Any) -> None:
            for answer in answers:
                delays[peer.number, answer[0]] = seconds
            after(seconds, answers)

        peer.after = noted
        return peer

    server.new_peer = new_peer


async def talk(fake: Any, connections: int, backwards: bool) -> tuple[Seen, Seen]:
    """Forty pushes on each of these connections, in this order or the other; answers and planned delays by stream."""
    delays: Seen = {}
    noting(fake, delays)
    token = provider_token(fake) if isinstance(fake, FakeApns) else ""
    clients = {}
    for number in range(1, connections + 1):
        client = clients[number] = await Client.connect(fake)
        client.pretend_streams(1000)
        await client.__aenter__()
    for number in sorted(clients, reverse=backwards):
        for _ in range(40):
            if token:
                clients[number].request(headers_for(fake, token))
            else:
                clients[number].request(send_headers(fake, authorization="Bearer x"), send_body())
    everything = connections * 40
    await soon(
        lambda: fake.faults.hits["stall"] + sum(len(item.ended) for item in clients.values()) == everything
    )
    seen = {
        (number, stream): (reply.status, reply.headers, reply.body, reply.reset)
        for number, client in clients.items()
        for stream, reply in client.replies.items()
    }
    for client in clients.values():
        client.transport.abort()
    return seen, delays


@pytest.mark.parametrize("provider", [FakeApns, FakeFcm])
async def test_runs_repeat_whatever_the_order_of_connections(provider: Any) -> None:
    runs = []
    for backwards in (False, True):
        # A timestamp is the clock's, and no chance.
        async with provider("bare", faults=mixed(7), now=lambda: 1_700_000_000.0) as fake:
            runs.append(await talk(fake, 3, backwards))
    (first, first_delays), (second, second_delays) = runs
    assert len(first) == 120
    assert {status for status, _, _, _ in first.values()} >= {0, 200, 429}
    assert {reset for _, _, _, reset in first.values()} == {None, 99}
    assert first_delays == second_delays
    assert len(set(first_delays.values())) > 80
    assert first == second


async def pushes(fake: Any, count: int) -> list[Any]:
    async with await Client.connect(fake) as client:
        if isinstance(fake, FakeApns):
            token = provider_token(fake)
            replies = [
                await client.push(headers_for(fake, token, f"{number:064x}")) for number in range(count)
            ]
        else:
            await client.push(request_headers(fake, "/token", content_type=FORM), b"grant_type=x")
            form = f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion(fake)}"
            granted = await client.push(request_headers(fake, "/token", content_type=FORM), form.encode())
            replies = [granted]
            replies += [await client.push(send_headers(fake), send_body()) for _ in range(count)]
        return [(reply.status, reply.headers, reply.body) for reply in replies]


@pytest.mark.parametrize("provider", [FakeApns, FakeFcm])
async def test_ids_and_access_tokens_repeat_too(provider: Any) -> None:
    results = []
    for seed in (3, 3, 4):
        faults = FaultPlan(seed, [one("x", Answer(status=500), nth=3)])
        async with provider(faults=faults) as fake:
            results.append(await pushes(fake, 20))
    assert results[0] == results[1]
    assert results[0] != results[2]
    assert len({str(item) for item in results[0]}) == len(results[0])  # no id comes twice


async def test_without_a_plan_ids_are_new_each_time() -> None:
    results = []
    for _ in range(2):
        async with FakeApns() as fake:
            results += await pushes(fake, 3)
    assert len({headers["apns-id"] for _, headers, _ in results}) == 6


# Every kind

ONE_OF_EACH: dict[str, Any] = {type(what).__name__: what for what, _ in ACTIONS.values()}
ONE_OF_EACH |= {
    "Connect": Connect(how="silent"),
    "ChangeAccessTokens": ChangeAccessTokens(lifetime=60),
    "Frame": Frame(name="ping-ack-extra"),
}
OF_CONNECTIONS = {"Connect", "Tls", "Slow", "Truncate", "Greeting", "Window", "Shape"}
"""Kinds that happen to a connection from its beginning; all others happen to requests."""


def test_every_kind_is_here() -> None:
    assert ONE_OF_EACH.keys() == {value.__name__ for value in KINDS.values()}


async def met(
    plan: FaultPlan, numbers: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> set[tuple[int, int]]:
    """Which streams of which connections met a fault: 40 requests of one write on each connection, in this order."""
    result: set[tuple[int, int]] = set()
    take = Batch.take

    def noted(self: Batch, request: Request, met: Sequence[Bound]) -> bool:
        result.add((self._peer.number, request[0]))
        return take(self, request, met)

    monkeypatch.setattr(Batch, "take", noted)
    async with FakeFcm("bare", faults=plan, now=lambda: 1_700_000_000.0) as fake:
        clients = [await Client.connect(fake) for _ in numbers]
        for number in numbers:
            client = clients[number - 1]
            await client.until(lambda client=client: client.settings or client.lost)  # type: ignore[misc]  # bound now, for the loop goes on
            before = fake.server.counters.requests
            flush, client.flush = client.flush, lambda: None  # type: ignore[method-assign]  # it sends nothing from here on
            for _ in range(40):
                client.request(send_headers(fake, authorization="Bearer x"), send_body())
            flush()
            await soon(lambda before=before: fake.server.counters.requests == before + 40)  # type: ignore[misc]  # bound now, for the loop goes on
        for client in clients:
            client.transport.abort()
        await soon(lambda: fake.connections == 0)
    return result


@pytest.mark.parametrize("name", sorted(ONE_OF_EACH.keys() - OF_CONNECTIONS))
async def test_every_kind_meets_the_same_streams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(seed: int) -> FaultPlan:
        return FaultPlan(seed, [one("x", ONE_OF_EACH[name], provider="fcm", share=0.2)])

    first = await met(plan(5), (1, 2, 3), monkeypatch)
    assert {number for number, _ in first} == {1, 2, 3}
    assert await met(plan(5), (3, 1, 2), monkeypatch) == first
    assert await met(plan(6), (1, 2, 3), monkeypatch) != first


@pytest.mark.parametrize("name", sorted(OF_CONNECTIONS))
async def test_every_kind_meets_the_same_connections(name: str) -> None:
    runs = []
    for seed, numbers in ((5, range(1, 201)), (5, range(200, 0, -1)), (6, range(1, 201))):
        plan = FaultPlan(seed, [one("x", ONE_OF_EACH[name], share=0.2)])
        async with FakeApns(faults=plan) as fake:
            assert fake.server.faults is not None
            entries = {number: fake.server.faults.entry(number) for number in numbers}
            assert plan.hits["x"] > 10
        runs.append({number: str(entry) for number, entry in entries.items()})
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# The draws themselves


def test_shares_are_kept() -> None:
    for share in (0.0, 0.01, 0.5, 1.0):
        hits = sum(
            draw(salt(1, connection), stream) < threshold(share)
            for connection in range(100)
            for stream in range(1, 400, 2)
        )
        assert abs(hits / 20_000 - share) < 0.01


def test_draws_depend_on_seed_fault_connection_and_stream() -> None:
    one_of = {salt(seed, fault, connection) for seed in (1, 2) for fault in "ab" for connection in (1, 2)}
    assert len(one_of) == 8
    assert len({draw(7, stream) for stream in range(1, 2001, 2)}) == 1000


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("block", [0, 1, 2**24 - 1])
def test_a_block_of_draws_is_the_single_draws(share: float, block: int) -> None:
    for of in (0, 1, 2**64 - 1, salt(1, "apns", "busy", 1)):
        odd = range(block * BLOCK + 1, (block + 1) * BLOCK, 2)
        limit = threshold(share)
        assert chosen(of, block, limit) == {number for number in odd if draw(of, number) < limit}


def test_delays_follow_their_tables() -> None:

    def at(share: float) -> int:
        return int(share * 2**64)

    assert delay_of(Delay(seconds=3.0), 5) == 3.0
    assert delay_of(Delay(between=(1.0, 2.0)), at(0.25)) == 1.25
    points = Delay(percentiles=((50.0, 0.1), (90.0, 0.5), (99.0, 1.4)))
    expected = {0.0: 0.1, 0.5: 0.1, 0.7: 0.3, 0.9: 0.5, 0.945: 0.95, 0.99: 1.4, 0.999: 1.4}
    for share, seconds in expected.items():
        assert delay_of(points, at(share)) == pytest.approx(seconds), share
    table = Delay(table=((1.0, 0.1), (0.0, 9.0), (3.0, 0.2)))
    assert [delay_of(table, at(share)) for share in (0.0, 0.2, 0.26, 0.99)] == [0.1, 0.1, 0.2, 0.2]
