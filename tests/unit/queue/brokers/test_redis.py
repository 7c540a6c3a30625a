"""The queue on Redis with fakeredis behind redis-py: the checks of every adapter, and what stands in its way.

tests/e2e/queue/test_conformance.py and test_errors.py do the same with real servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("redis")

from fakeredis import FakeAsyncRedis, FakeServer
from redis import exceptions

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access
from pushcore.queue.brokers import conformance, redis
from pushcore.queue.brokers.conformance import CHECKS, Check, chunks
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import ChunkError, QueueError, QueueFull, QueueRefused, QueueUnavailable
from pushcore.queue.protocol import Broker, Lease, QueueStats

STREAM = "{pushcore:camp}:chunks"
WAITING = (
    conformance.a_lease_with_signs_of_life_is_kept,
    conformance.a_lost_lease_does_no_harm,
    conformance.a_cancelled_lease_loses_nothing,
    conformance.what_is_released_is_for_the_next,
    conformance.a_lease_without_a_sign_of_life_is_given_to_another,
)
"""Checks that wait, whose replies others see too: for one version of the protocol alone."""


class Client:
    """A client whose commands have the errors that a test gives them; `replies` instead of a whole pipeline's."""

    def __init__(self, server: FakeServer, protocol: int = 2) -> None:
        self.fake = FakeAsyncRedis(server=server, protocol=protocol)
        self.errors: dict[str, list[Exception | Callable[[], Any]]] = {}
        self.replies: list[list[Any]] = []
        self.closed = 0

    def __getattr__(self, name: str) -> Any:
        command = getattr(self.fake, name)
        if not self.errors.get(name):
            return command

        async def scripted(*arguments: Any, **options: Any) -> Any:
            step = self.errors[name].pop(0)
            if isinstance(step, Exception):
                raise step
            return step()

        return scripted

    def pipeline(self, transaction: bool) -> Any:
        pipeline = self.fake.pipeline(transaction=transaction)
        if self.replies:
            replies = self.replies.pop(0)

            async def execute(raise_on_error: bool = True) -> list[Any]:
                for reply in replies:
                    if raise_on_error and isinstance(reply, Exception):
                        raise reply
                return replies

            pipeline.execute = execute  # type: ignore[method-assign]
        return pipeline

    async def aclose(self) -> None:
        self.closed += 1
        await self.fake.aclose()


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(server: FakeServer) -> Client:
    return Client(server)


@pytest.fixture
def queue(client: Client) -> RedisQueue:
    """A queue whose consumer group is made by its first lease, as by a client of the user's own."""
    return RedisQueue(client, "camp", name="Redis at h:1")


@pytest.mark.parametrize(
    ("check", "protocol"),
    [
        pytest.param(check, protocol, id=f"{check.__name__}-{protocol}")
        for check in CHECKS
        for protocol in (2, 3)
        if protocol == 2 or check not in WAITING
    ],
)
async def test_it_does_what_every_adapter_must(check: Check, protocol: int, server: FakeServer) -> None:
    clients: list[FakeAsyncRedis] = []

    async def open_one(campaign: str, idle: float) -> Broker:
        clients.append(FakeAsyncRedis(server=server, protocol=protocol))
        return RedisQueue(clients[-1], campaign, idle=idle)

    await check(open_one)
    for client in clients:
        await client.aclose()


# --- opening and closing ----------------------------------------------------------------------------------------------


async def opened(client: Client, monkeypatch: pytest.MonkeyPatch, *others: Client) -> RedisQueue:
    monkeypatch.setattr(redis, "client_of", lambda url, access, options: (client, list(others), "h:1"))
    return await RedisQueue.open("redis://h:1", "camp", worker="w", access=Access())


async def test_closing_the_queue_closes_all_its_clients(
    client: Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel = Client(server)
    async with await opened(client, monkeypatch, sentinel) as queue:
        assert await queue.put(chunks(1)) == 1
        assert len(await queue.lease(1, 0.0)) == 1
    assert (client.closed, sentinel.closed) == (1, 1)


async def test_a_client_of_the_users_own_stays_open(queue: RedisQueue, client: Client) -> None:
    await queue.close()
    assert client.closed == 0


@pytest.mark.parametrize(("leases", "consumers"), [(0, []), (1, [b"w"])])
async def test_a_worker_stays_known_to_the_server_only_with_leases(
    client: Client,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    leases: int,
    consumers: list[bytes],
) -> None:
    async with await opened(client, monkeypatch) as queue:
        await queue.put(chunks(leases))
        assert len(await queue.lease(1, 0.0)) == leases
    plain = FakeAsyncRedis(server=server)
    assert [about["name"] for about in await plain.xinfo_consumers(STREAM, "workers")] == consumers
    await plain.aclose()


async def test_a_server_that_is_gone_does_not_disturb_closing(
    client: Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await opened(client, monkeypatch)
    server.connected = False
    await queue.close()
    assert client.closed == 1


async def test_a_group_that_is_there_is_taken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await opened(client, monkeypatch)
    await first.put(chunks(1))
    second = await opened(client, monkeypatch)
    assert len(await second.lease(1, 0.0)) == 1


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (exceptions.ResponseError("NOPERM no permissions"), QueueRefused, "does not permit this (NOPERM)"),
        (exceptions.AuthenticationError("WRONGPASS x"), QueueRefused, "rejects the credentials: WRONGPASS"),
        (exceptions.AuthenticationError("invalid password"), QueueRefused, "credentials: wrong password"),
        (exceptions.AuthorizationError("no"), QueueRefused, "rejects the credentials"),
        (exceptions.ConnectionError("h:1 s3cret"), QueueUnavailable, "cannot be reached (ConnectionError)"),
        (exceptions.TimeoutError("s3cret"), QueueUnavailable, "cannot be reached (TimeoutError)"),
        (OSError("s3cret"), QueueUnavailable, "cannot be reached (OSError)"),
        (exceptions.RedisError("ERR s3cret"), QueueError, "answered RedisError"),
    ],
)
async def test_an_error_while_opening_is_named_without_secrets_and_closes_the_client(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[QueueError], sentence: str
) -> None:
    client.errors["xgroup_create"] = [error]
    with pytest.raises(kind) as caught:
        await opened(client, monkeypatch)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("Redis at h:1 ")
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert client.closed == 1


async def test_an_option_that_redis_py_does_not_know_is_a_mistake_in_the_url(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.errors["xgroup_create"] = [TypeError("unexpected keyword argument 's3cret'")]
    with pytest.raises(ConfigurationError, match="it has an option") as caught:
        await opened(client, monkeypatch)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConfigurationError("a cluster of Redis has one database"), "^a cluster of Redis has one database$"),
        (
            ValueError("port out of range"),
            "not a URL of a Redis server: its scheme, its host or its port is none",
        ),
    ],
)
async def test_a_url_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(redis, "client_of", refuse)
    with pytest.raises(ConfigurationError, match=sentence):
        await RedisQueue.open("redis://h:99999", "camp")


async def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "client_library", None)
    with pytest.raises(ConfigurationError, match=r'pip install "pushcore\[redis\]"'):
        await RedisQueue.open("redis://h", "camp")


def test_a_lease_must_last_a_while(client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"at least 0\.1 seconds, not 0\.05"):
        RedisQueue(client, "camp", idle=0.05)


# --- a server that forgets, is full, or is no longer there ------------------------------------------------------------


async def test_a_server_that_has_forgotten_everything_is_begun_anew(
    queue: RedisQueue, client: Client
) -> None:
    assert await queue.epoch() == 0
    assert await queue.stats() == QueueStats(0, 0, 0, 0.0)
    await queue.put(chunks(2), 3)
    assert await queue.epoch() == 3
    (lease,) = await queue.lease(1, 0.0)
    await client.fake.flushall()
    assert await queue.extend([lease]) == [lease]
    assert await queue.stats() == QueueStats(0, 0, 0, 0.0)
    assert await queue.lease(1, 0.0) == []
    await queue.done(lease, b"r")
    assert [result.data for result in await queue.results(5, 0.0)] == [b"r"]


async def test_chunks_that_do_not_fit_are_an_error_and_those_that_are_there_are_not(
    queue: RedisQueue, client: Client
) -> None:
    await queue.put(chunks(1))
    there = exceptions.ResponseError("ERR The ID specified in XADD is equal or smaller than the target")
    client.replies = [[there, b"0-2"], [there, exceptions.ResponseError("OOM command not allowed")]]
    assert await queue.put(chunks(2)) == 1
    with pytest.raises(QueueFull, match="Redis at h:1 is at its maxmemory"):
        await queue.put(chunks(2))


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("xinfo_stream", lambda queue: queue.epoch()),
        ("xreadgroup", lambda queue: queue.lease(1, 0.0)),
        ("xautoclaim", lambda queue: queue.lease(1, 0.0)),
        ("xclaim", lambda queue: queue.extend([Lease(b"", 1, "0-1")])),
        ("xread", lambda queue: queue.results(1, 0.0)),
        ("xadd", lambda queue: queue.report(b"r", "nonce")),
        ("get", lambda queue: queue.read("n")),
        ("xrange", lambda queue: queue.present()),
    ],
)
async def test_an_error_of_the_server_is_named(
    queue: RedisQueue, client: Client, command: str, call: Callable[[RedisQueue], Any]
) -> None:
    await queue.put(chunks(1))
    if command == "xclaim":
        await queue.lease(1, 0.0)
    for error, kind in (
        (exceptions.ResponseError("LOADING Redis is loading the dataset"), QueueUnavailable),
        (exceptions.ResponseError("WRONGTYPE Operation against a key s3cret"), QueueError),
    ):
        client.errors[command] = [error]
        with pytest.raises(kind) as caught:
            await call(queue)
        assert "s3cret" not in str(caught.value)


NOGROUP = exceptions.ResponseError("NOGROUP No such key or consumer group")
BUSY = exceptions.ResponseError("BUSY Redis is busy running a script")


@pytest.mark.parametrize(
    "replies",
    [
        [BUSY, {"pending": 0}, [], 0, []],
        [0, BUSY, BUSY, 0, []],
        [0, {"pending": 0}, [], BUSY, []],
        [0, {"pending": 0}, [], 0, BUSY],
    ],
)
async def test_a_figure_that_the_server_does_not_tell_is_an_error(
    queue: RedisQueue, client: Client, replies: list[Any]
) -> None:
    client.replies = [replies]
    with pytest.raises(QueueUnavailable, match=r"not ready \(BUSY\)"):
        await queue.stats()


@pytest.mark.parametrize(
    ("replies", "stats"),
    [
        ([4, NOGROUP, NOGROUP, 2, []], QueueStats(4, 0, 2, 0.0)),
        ([3, {"pending": 5}, [], 0, [(b"0-1", {b"x": b"y"})]], QueueStats(0, 3, 0, 0.0)),
        ([3, {"pending": 1}, [{}, {}], 0, [(b"0-1", None)]], QueueStats(3, 0, 0, 0.0)),
    ],
)
async def test_figures_that_do_not_fit_each_other_stay_within_what_is_there(
    queue: RedisQueue, client: Client, replies: list[Any], stats: QueueStats
) -> None:
    """No group yet; entries that were deleted and still count as pending; entries of somebody else's without a time."""
    client.replies = [replies]
    assert await queue.stats() == stats


async def test_a_lease_that_is_another_workers_is_neither_extended_nor_released(server: FakeServer) -> None:
    one, two = (RedisQueue(Client(server), "camp", worker=name, idle=0.1) for name in "ab")
    await one.put(chunks(1))
    (old,) = await one.lease(1, 0.0)
    await two._client.xclaim(STREAM, "workers", "b", 0, [old.handle])
    assert await one.extend([]) == []
    assert await one.extend([old]) == [old]
    await one.release(old)
    assert (await two.stats()).leased == 1


async def test_entries_that_were_deleted_are_no_leases(queue: RedisQueue, client: Client) -> None:
    """Redis 6.2 mentions them, with neither id nor fields; what is pending no more has been delivered twice at least."""
    await queue.put(chunks(1))
    await client.fake.xgroup_create(STREAM, "workers", id="0")
    page = [(None, None), (b"0-9", None), (b"0-1", {b"c": b"chunk"})]
    client.errors["xautoclaim"] = [lambda: [b"0-5", page], lambda: [b"0-0", []]]
    (lease, new) = await queue.lease(5, 0.0)
    assert (lease.data, lease.attempt, lease.handle) == (b"chunk", 2, b"0-1")
    assert (Chunk.decode(new.data).number, new.attempt) == (0, 1)


async def test_looking_for_leases_that_ran_out_has_an_end(queue: RedisQueue, client: Client) -> None:
    """A long list of pending entries is looked through in several calls, and goes on where it was left."""
    await client.fake.xgroup_create(STREAM, "workers", id="0", mkstream=True)
    cursors = iter(range(1, 100))
    client.errors["xautoclaim"] = [lambda: [b"%d-0" % next(cursors), []] for _ in range(40)]
    assert await queue.lease(1, 0.0) == []
    assert (len(client.errors["xautoclaim"]), queue._cursor) == (20, b"20-0")


async def test_foreign_entries_are_chunks_that_cannot_be_read(queue: RedisQueue, client: Client) -> None:
    await client.fake.xadd(STREAM, {"x": "y"})
    (lease,) = await queue.lease(1, 0.0)
    with pytest.raises(ChunkError):
        Chunk.decode(lease.data)
    await queue.done(lease, b"bad")
    assert await queue.put(chunks(1), await queue.epoch() + 1) == 1


async def test_a_lease_waits_in_slices_until_its_deadline(
    queue: RedisQueue, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "SLICE", 0.01)
    await queue.put(chunks(1))
    (held,) = await queue.lease(1, 0.0)
    assert await queue.lease(1, 0.05) == []
    waiting = asyncio.create_task(queue.results(1, 60.0))
    await queue.done(held, b"r")
    results = await waiting
    assert [result.data for result in results] == [b"r"]
    await queue.collected([])
    await queue.collected(results)
    assert await queue.results(1, 0.05) == []


async def test_a_value_that_another_changed_meanwhile_is_not_overwritten(
    queue: RedisQueue, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = client.fake.pipeline(transaction=True)
    get = pipeline.get

    async def get_and_be_overtaken(key: str) -> Any:
        value = await get(key)
        await client.fake.set(key, (7).to_bytes(8, "big") + b"theirs")
        return value

    monkeypatch.setattr(pipeline, "get", get_and_be_overtaken)
    monkeypatch.setattr(client, "pipeline", lambda transaction: pipeline)
    assert not await queue.write("n", b"ours", 0)
    assert await queue.read("n") == (b"theirs", 7)


async def test_only_the_keys_of_one_campaign_are_destroyed(queue: RedisQueue, client: Client) -> None:
    other = RedisQueue(client, "camp2")
    for one in (queue, other):
        await one.put(chunks(1))
        await one.write("rate", b"5", 0)
        await one.report(b"r", "nonce")
    await queue.destroy()
    keys = [key for key in await client.fake.keys("*") if b":camp}" in key]
    assert keys == []
    assert (await other.stats()).depth == 1
    assert (await other.read("rate")).value == b"5"
