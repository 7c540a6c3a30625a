"""What stands in a queue's way, on real servers: each has a name, a sentence without secrets, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.brokers.conformance import chunks
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import ChunkError, QueueFull, QueueReadOnly, QueueRefused, QueueUnavailable
from pushcore.queue.opening import open_queue
from tests.support import nats, redis

PASSWORD = "s3cret-word"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[redis.RedisServer]:
    if redis.BINARY is None:
        pytest.skip(redis.MISSING)
    server = redis.RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[nats.NatsServer]:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path / "nats").start()
    yield server
    server.stop()


def plain(server: redis.RedisServer) -> Any:
    from redis.asyncio import Redis

    return Redis.from_url(server.url)


@pytest.mark.parametrize("scheme", ["redis", "valkey", "nats"])
async def test_a_queue_that_is_not_there(scheme: str) -> None:
    url = f"{scheme}://user:{PASSWORD}@127.0.0.1:{redis.free_port()}"
    with pytest.raises(QueueUnavailable, match=r"127.0.0.1:\d+ cannot be reached") as caught:
        await open_queue(url, "camp")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1:port", ""])
async def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigurationError):
        await open_queue(url, "camp")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a*", "x" * 65, "{tag}", "é"])
async def test_a_name_that_cannot_be(name: str) -> None:
    with pytest.raises(ConfigurationError, match="campaign's name"):
        await open_queue("redis://127.0.0.1:1", name)


async def test_redis_wants_a_password(tmp_path: Path) -> None:
    if redis.BINARY is None:
        pytest.skip(redis.MISSING)
    server = redis.RedisServer(tmp_path, "--requirepass", PASSWORD).start()
    try:
        for user in ("", ":wrong@"):
            with pytest.raises(QueueRefused, match=r"does not permit|rejects the credentials") as caught:
                await RedisQueue.open(server.url.replace("://", f"://{user}"), "camp")
            assert "wrong" not in str(caught.value).replace("wrong password", "")
        async with await RedisQueue.open(server.url.replace("://", f"://:{PASSWORD}@"), "camp") as queue:
            assert await queue.put(chunks(1)) == 1
    finally:
        server.stop()


async def test_redis_without_room_takes_nothing_new_and_lets_go_of_nothing(
    redis_server: redis.RedisServer,
) -> None:
    async with await RedisQueue.open(redis_server.url, "camp") as queue, plain(redis_server) as client:
        await queue.put(chunks(2))
        (lease,) = await queue.lease(1, 1.0)
        await client.config_set("maxmemory", "1")
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.put(chunks(5))
        with pytest.raises(QueueFull, match="maxmemory"):
            await queue.done(lease, b"r")
        assert await queue.extend([lease]) == []
        assert await queue.present() == {0, 1}
        await client.config_set("maxmemory", "0")
        await queue.done(lease, b"r")
        assert [result.data for result in await queue.results(5, 1.0)] == [b"r"]
        assert await queue.put(chunks(5)) == 3


async def test_redis_that_became_a_replica_takes_no_writes(redis_server: redis.RedisServer) -> None:
    async with await RedisQueue.open(redis_server.url, "camp") as queue, plain(redis_server) as client:
        await queue.put(chunks(2))
        (lease,) = await queue.lease(1, 1.0)
        await client.replicaof("127.0.0.1", str(redis.free_port()))
        with pytest.raises(QueueReadOnly, match="replica"):
            await queue.put(chunks(5))
        with pytest.raises(QueueReadOnly, match="replica"):
            await queue.done(lease, b"r")
        await client.replicaof("NO", "ONE")
        await queue.done(lease, b"r")


async def test_redis_user_who_may_not(redis_server: redis.RedisServer) -> None:
    async with plain(redis_server) as client:
        await client.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read")
        url = redis_server.url.replace("://", f"://reader:{PASSWORD}@")
        with pytest.raises(QueueRefused, match="does not permit this"):
            await RedisQueue.open(url, "camp")


async def test_redis_that_lost_its_memory_goes_on(redis_server: redis.RedisServer) -> None:
    async with await RedisQueue.open(redis_server.url, "camp") as queue, plain(redis_server) as client:
        await queue.put(chunks(2))
        (lease,) = await queue.lease(1, 1.0)
        await client.flushall()
        assert (await queue.stats()).depth == 0
        assert await queue.extend([lease]) == [lease]
        assert await queue.lease(1, 0.0) == []
        await queue.done(lease, b"r")
        assert len(await queue.results(5, 1.0)) == 1
        assert await queue.put(chunks(2), 1) == 2
        assert len(await queue.lease(2, 1.0)) == 2


async def test_entries_of_others_do_not_stop_redis(redis_server: redis.RedisServer) -> None:
    """Somebody adds nonsense to the stream: workers see it as a chunk that cannot be read, and putting goes on."""
    async with await RedisQueue.open(redis_server.url, "camp") as queue, plain(redis_server) as client:
        await client.xadd("{pushcore:camp}:chunks", {"x": "y"})
        (lease,) = await queue.lease(1, 1.0)
        with pytest.raises(ChunkError):
            Chunk.decode(lease.data)
        await queue.done(lease, b"bad")
        epoch = await queue.epoch() + 1
        assert await queue.put(chunks(2), epoch) == 2


async def test_redis_goes_and_comes_back(redis_server: redis.RedisServer) -> None:
    async with await RedisQueue.open(redis_server.url, "camp") as queue:
        await queue.put(chunks(3))
        (lease,) = await queue.lease(1, 1.0)
        redis_server.kill()
        for command in (queue.lease(1, 0.1), queue.done(lease, b"r"), queue.stats(), queue.read("n")):
            with pytest.raises(QueueUnavailable):
                await command
        await asyncio.to_thread(redis_server.start)
        await queue.done(lease, b"r")
        assert await queue.present() == {1, 2}


async def test_nats_goes_and_comes_back(nats_server: nats.NatsServer) -> None:
    async with await NatsQueue.open(nats_server.url, "camp") as queue:
        await queue.put(chunks(3))
        (lease,) = await queue.lease(1, 1.0)
        nats_server.kill()
        await asyncio.sleep(0.1)  # else it is still waited for an answer
        with pytest.raises(QueueUnavailable):
            await queue.stats()
        await asyncio.to_thread(nats_server.start)
        async with asyncio.timeout(20):
            while True:
                try:
                    await queue.done(lease, b"r")
                    break
                except QueueUnavailable:
                    await asyncio.sleep(0.05)
        assert await queue.present() == {0, 1, 2} - {Chunk.decode(lease.data).number}
        assert (await queue.stats()).results == 1


async def test_nats_that_lost_its_streams_goes_on(nats_server: nats.NatsServer) -> None:
    async with (
        await NatsQueue.open(nats_server.url, "camp") as queue,
        await NatsQueue.open(nats_server.url, "camp") as other,
    ):
        await queue.put(chunks(2))
        await queue.write("n", b"1", 0)
        (lease,) = await queue.lease(1, 1.0)
        await other.destroy()
        assert (await queue.stats()).depth == 0
        assert await queue.present() == set()
        assert await queue.lease(1, 0.0) == []
        assert await queue.put(chunks(2), 1) == 2
        assert (await queue.read("n")).revision == 0
        assert await queue.write("n", b"2", 0)
        await queue.done(lease, b"r")
        assert [result.data for result in await queue.results(5, 1.0)] == [b"r"]


async def test_nats_takes_no_chunk_above_its_limit(tmp_path: Path) -> None:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path, "max_payload: 10000\n").start()
    try:
        async with await NatsQueue.open(server.url, "camp") as queue:
            with pytest.raises(ChunkError, match=r"chunk 0 has 3 rows, which are too many: .* 10000 bytes"):
                await queue.put([Chunk(0, 1, 3, payload=bytes(20_000))])
    finally:
        server.stop()


async def test_nats_without_room_lets_go_of_nothing(tmp_path: Path) -> None:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path).start()
    try:
        async with await NatsQueue.open(server.url, "camp") as queue:
            await queue.put(chunks(1))
            (lease,) = await queue.lease(1, 1.0)
            await limit(server, "pushcore-camp", 2000)
            await limit(server, "pushcore-camp-results", 2000)
            with pytest.raises(QueueFull, match="has no room"):
                await queue.put([Chunk(1, 4, 3, payload=bytes(5000))])
            with pytest.raises(QueueFull, match="has no room"):
                await queue.done(lease, bytes(5000))
            assert await queue.present() == {0}
            await limit(server, "pushcore-camp-results", -1)
            await queue.done(lease, bytes(5000))
            assert await queue.present() == set()
    finally:
        server.stop()


async def limit(server: nats.NatsServer, stream: str, size: int) -> None:
    """Let a stream have so many bytes."""
    from nats.aio.client import Client

    connection = Client()
    await connection.connect(server.url)
    try:
        js = connection.jetstream()
        config = (await js.stream_info(stream)).config
        config.max_bytes = size
        await js.update_stream(config)
    finally:
        await connection.close()


async def test_nats_that_does_not_let_us_in(tmp_path: Path) -> None:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path, f'authorization {{ user: u, password: "{PASSWORD}" }}\n').start()
    try:
        for user in ("", "u:wrong@"):
            with pytest.raises(QueueRefused, match="rejects the credentials"):
                await NatsQueue.open(server.url.replace("://", f"://{user}"), "camp")
        async with await NatsQueue.open(server.url.replace("://", f"://u:{PASSWORD}@"), "camp") as queue:
            assert await queue.put(chunks(1)) == 1
    finally:
        server.stop()


async def test_nats_user_who_may_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He may read, or not even that: the server says so aside, and gives no answer."""
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    monkeypatch.setattr("pushcore.queue.brokers.nats.ANSWER", 1.0)
    reader = f"""{{ user: reader, password: "{PASSWORD}", permissions: {{ publish: {{ deny: ["pushcore.>"] }} }} }}"""
    powerless = (
        f"""{{ user: nobody, password: "{PASSWORD}", permissions: {{ publish: {{ deny: ["$JS.>"] }} }} }}"""
    )
    users = f'authorization {{ users: [{{ user: u, password: "{PASSWORD}" }}, {reader}, {powerless}] }}\n'
    server = nats.NatsServer(tmp_path, users).start()

    def url(user: str) -> str:
        return server.url.replace("://", f"://{user}:{PASSWORD}@")

    try:
        async with await NatsQueue.open(url("u"), "camp") as queue:
            await queue.put(chunks(2))
            async with await NatsQueue.open(url("reader"), "camp") as other:
                (lease,) = await other.lease(1, 1.0)
                for command in (other.put(chunks(3)), other.done(lease, b"r")):
                    with pytest.raises(QueueRefused, match=r"does not permit this .*permissions violation"):
                        await command
            with pytest.raises(QueueRefused, match="does not permit this") as caught:
                await NatsQueue.open(url("nobody"), "camp")
            assert PASSWORD not in str(caught.value)
            assert await queue.present() == {0, 1}
    finally:
        server.stop()


async def test_nats_without_jetstream(tmp_path: Path) -> None:
    if nats.BINARY is None:
        pytest.skip(nats.MISSING)
    server = nats.NatsServer(tmp_path, jetstream=False).start()
    try:
        with pytest.raises(QueueUnavailable, match="no JetStream"):
            await NatsQueue.open(server.url, "camp")
    finally:
        server.stop()
