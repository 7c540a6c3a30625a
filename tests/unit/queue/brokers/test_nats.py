"""The queue on NATS over a JetStream in memory: the checks of every adapter, and what stands in its way.

tests/e2e/queue/test_conformance.py and test_errors.py do the same with a real server.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("nats")

from nats import errors as nats_errors
from nats.js import errors as js_errors

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access
from pushcore.queue.brokers import conformance, nats
from pushcore.queue.brokers.conformance import CHECKS, Check, chunks
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.nats_wire import PROMPT
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import ChunkError, QueueError, QueueFull, QueueRefused, QueueUnavailable
from pushcore.queue.protocol import NOTHING, Broker, QueueStats
from tests.support import virtual
from tests.support.jetstream import JetStream, NatsConnection

from .clock import LoopClock


@pytest.fixture
def server() -> JetStream:
    return JetStream()


@pytest.fixture
def connection(server: JetStream) -> NatsConnection:
    return NatsConnection(server)


@pytest.fixture
def queue(connection: NatsConnection) -> NatsQueue:
    """A queue whose streams are made by its first call, as by a connection of the user's own."""
    return NatsQueue(connection, "camp", name="NATS at h:1")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_does_what_every_adapter_must(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "time", LoopClock)
    server = JetStream(page=100)

    async def open_one(campaign: str, idle: float) -> Broker:
        queue = NatsQueue(NatsConnection(server), campaign, idle=idle)
        await queue._make()
        return queue

    virtual.run(check(open_one))


# --- opening and closing ----------------------------------------------------------------------------------------------


@pytest.fixture
def dialled(connection: NatsConnection, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], str, Any]]:
    """With what connections were asked for; each of them is `connection`."""
    calls: list[tuple[list[str], str, Any]] = []

    async def connect(servers: list[str], shown: str, options: Any) -> NatsConnection:
        calls.append((servers, shown, dict(options)))
        return connection

    monkeypatch.setattr(nats, "connect", connect)
    return calls


async def test_everything_is_made_when_it_is_opened_and_closed_with_it(
    server: JetStream, connection: NatsConnection, dialled: list[Any]
) -> None:
    async with await NatsQueue.open("nats://h", "camp", idle=7.0) as queue:
        assert sorted(server.streams) == ["pushcore-camp", "pushcore-camp-results"]
        config = server.streams["pushcore-camp"].config
        assert (config.subjects, config.max_msgs_per_subject) == (["pushcore.camp.chunk.*"], 1)
        assert config.num_replicas == 1
        assert server.streams["pushcore-camp"].consumers["workers"].config.ack_wait == 7.0
        assert await queue.put(chunks(1)) == 1
    assert connection.closed == 1


async def test_the_first_opening_sets_the_duration_of_leases(dialled: list[Any]) -> None:
    first = await NatsQueue.open("nats://h", "camp", idle=7.0)
    second = await NatsQueue.open("nats://h", "camp", idle=99.0)
    assert (first.idle, second.idle) == (7.0, 7.0)


async def test_a_connection_of_the_users_own_stays_open(queue: NatsQueue, connection: NatsConnection) -> None:
    await queue.close()
    assert connection.closed == 0


async def test_an_error_while_closing_is_ignored(connection: NatsConnection, dialled: list[Any]) -> None:
    queue = await NatsQueue.open("nats://h", "camp")
    connection.errors["close"] = [nats_errors.ConnectionClosedError()]
    await queue.close()
    assert connection.closed == 1


async def test_a_connection_that_cannot_be_used_is_closed(
    connection: NatsConnection, dialled: list[Any]
) -> None:
    connection.errors["request"] = [nats_errors.NoRespondersError()]
    with pytest.raises(QueueUnavailable, match="NATS at h:4222 has no JetStream, or it is not ready yet"):
        await NatsQueue.open("nats://h", "camp")
    assert connection.closed == 1


@pytest.mark.parametrize(
    ("url", "servers", "shown"),
    [
        ("nats://h", ["nats://h"], "h:4222"),
        ("tls://h:1,i", ["tls://h:1", "nats://i"], "h:1, i:4222"),
        ("nats://u:p@h:1?replicas=3", ["nats://u:p@h:1"], "h:1"),
    ],
)
async def test_servers_by_the_url(
    url: str, servers: list[str], shown: str, server: JetStream, dialled: list[Any]
) -> None:
    await NatsQueue.open(url, "camp", name="mine")
    assert dialled == [(servers, shown, {"name": "mine"})]
    config = server.streams["pushcore-camp-results"].config
    assert config.num_replicas == (3 if "replicas" in url else 1)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nats://h:port", "this is not a URL of a NATS server: its host or its port cannot be read"),
        ("nats://", "it has no host"),
        ("nats://h?replicas=9", "replicas=N, N from 1 to 5"),
        ("nats://h?copies=3", "replicas=N, N from 1 to 5"),
    ],
)
async def test_a_url_that_cannot_be_read(url: str, sentence: str, dialled: list[Any]) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        await NatsQueue.open(url, "camp")
    assert dialled == []


async def test_without_nats_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "INSTALLED", False)
    with pytest.raises(ConfigurationError, match=r'pip install "pushcore\[nats\]"'):
        await NatsQueue.open("nats://h", "camp")


def test_a_lease_must_last_a_while(connection: NatsConnection) -> None:
    with pytest.raises(ConfigurationError, match=r"at least 0\.1 seconds, not 0\.05"):
        NatsQueue(connection, "camp", idle=0.05)


@pytest.mark.parametrize(
    ("url", "access", "servers", "options"),
    [
        ("nats://h", Access(), ["nats://h"], {}),
        ("nats://h", Access(password="s3cret"), ["nats://h"], {"token": "s3cret"}),
        (
            "nats://me:old@h:1,nats://me:old@i",
            Access(password="s3cret"),
            ["nats://h:1", "nats://i"],
            {"user": "me", "password": "s3cret"},
        ),
    ],
)
async def test_a_password_that_is_not_in_the_url(
    url: str, access: Access, servers: list[str], options: dict[str, str], dialled: list[Any]
) -> None:
    await NatsQueue.open(url, "camp", access=access)
    ((used, _, settings),) = dialled
    assert (used, settings) == (servers, options)


async def test_certificates_that_are_not_in_the_url(
    dialled: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []

    def context(cafile: str | None) -> Any:
        loaded.append(cafile)
        return SimpleNamespace(load_cert_chain=lambda *files: loaded.append(files))

    monkeypatch.setattr(ssl, "create_default_context", context)
    await NatsQueue.open("tls://h", "camp", access=Access(ca_file="ca.pem"))
    assert loaded == ["ca.pem"]
    await NatsQueue.open(
        "tls://h", "camp", access=Access(ca_file="ca.pem", cert_file="c.pem", key_file="k.pem")
    )
    assert loaded[1:] == ["ca.pem", ("c.pem", "k.pem")]
    assert all("tls" in settings for _, _, settings in dialled)


async def test_certificates_that_cannot_be_used(dialled: list[Any], tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    bad = str(tmp_path / "bad.pem")
    for access in (Access(ca_file=bad), Access(cert_file=bad)):
        with pytest.raises(ConfigurationError, match="the queue's PEM files cannot be used"):
            await NatsQueue.open("tls://h", "camp", access=access)
    assert not dialled


# --- a server that forgets, is full, or is no longer there ------------------------------------------------------------


def test_a_server_that_has_forgotten_everything_is_begun_anew(
    queue: NatsQueue, server: JetStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        assert await queue.stats() == QueueStats(0, 0, 0, 0.0)
        assert await queue.present() == set()
        assert await queue.put(chunks(2)) == 2
        assert await queue.write("n", b"1", 0)
        assert len(await queue.lease(1, 0.0)) == 1
        server.streams.clear()
        server.buckets.clear()
        assert await queue.lease(1, 0.0) == []
        assert (await queue.stats()).depth == 0
        assert await queue.read("n") == NOTHING
        assert await queue.put(chunks(2)) == 2
        server.buckets.clear()
        assert await queue.write("n", b"2", 0)
        assert (await queue.read("n")).value == b"2"
        server.streams.clear()
        await queue.report(b"r", "nonce")
        assert [result.data for result in await queue.results(1, 0.0)] == [b"r"]

    virtual.run(work())


async def test_a_bucket_that_is_gone_each_time_it_is_looked_for_has_no_values(
    queue: NatsQueue, server: JetStream, connection: NatsConnection
) -> None:
    await queue.write("n", b"1", 0)
    connection.errors["get"] = [js_errors.NotFoundError(), js_errors.BucketNotFoundError()]
    assert await queue.read("n") == NOTHING
    assert (await queue.read("n")).value == b"1"


async def test_chunks_without_a_consumer_are_not_leased(queue: NatsQueue, server: JetStream) -> None:
    await queue.put(chunks(3))
    server.streams["pushcore-camp"].consumers.clear()
    stats = await queue.stats()
    assert (stats.depth, stats.leased, stats.results) == (3, 0, 0)
    del server.streams["pushcore-camp-results"]
    assert (await queue.stats()).results == 0


async def test_a_chunk_that_is_there_is_not_put_again_in_another_epoch_either(queue: NatsQueue) -> None:
    assert await queue.put(chunks(2)) == 2
    assert await queue.put(chunks(3), await queue.epoch() + 1) == 1


async def test_subjects_that_are_no_numbers_are_no_chunks(queue: NatsQueue, server: JetStream) -> None:
    await queue.put(chunks(2))
    server.keep("pushcore.camp.chunk.x", b"", "stray")
    assert await queue.present() == {0, 1}


async def test_a_chunk_that_is_too_large_is_named_with_the_servers_limit(
    queue: NatsQueue, connection: NatsConnection
) -> None:
    connection.max_payload = 10_000
    with pytest.raises(
        ChunkError,
        match=r"^chunk 0 has 3 rows, which are too many: NATS at h:1 accepts at most 10000 bytes per message",
    ):
        await queue.put([Chunk(0, 1, 3, payload=bytes(20_000))])


async def test_a_server_without_room_lets_go_of_nothing(queue: NatsQueue, connection: NatsConnection) -> None:
    await queue.put(chunks(1))
    (lease,) = await queue.lease(1, 0.0)
    full = js_errors.APIError(400, "maximum bytes exceeded", 10047)
    connection.errors["js.publish"] = [full]
    with pytest.raises(QueueFull, match=r"NATS at h:1 has no room for this \(maximum bytes exceeded\)"):
        await queue.done(lease, b"r")
    assert await queue.present() == {0}
    await queue.done(lease, b"r")
    assert await queue.present() == set()


def test_a_chunk_goes_even_where_the_server_does_not_confirm_its_acknowledgement(
    queue: NatsQueue, server: JetStream
) -> None:
    async def work() -> None:
        await queue.put(chunks(1))
        (lease,) = await queue.lease(1, 0.0)
        server.silent = True
        await queue.done(lease, b"r")
        await queue.done(lease, b"r")
        assert await queue.present() == set()
        assert (await queue.stats()).results == 1

    virtual.run(work())


async def test_without_a_connection_nothing_is_tried(queue: NatsQueue, connection: NatsConnection) -> None:
    connection.is_connected = False
    with pytest.raises(QueueUnavailable, match="NATS at h:1 cannot be reached; trying again"):
        await queue.stats()


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (nats_errors.TimeoutError(), QueueUnavailable, "cannot be reached (TimeoutError)"),
        (nats_errors.ConnectionClosedError(), QueueUnavailable, "cannot be reached (ConnectionClosedError)"),
        (OSError("s3cret"), QueueUnavailable, "cannot be reached (OSError)"),
        (nats_errors.AuthorizationError(), QueueRefused, "does not permit this"),
        (js_errors.APIError(503, "no leader", 1), QueueUnavailable, "is not ready (no leader)"),
        (js_errors.NoStreamResponseError(), QueueUnavailable, "cannot be reached (NoStreamResponseError)"),
    ],
)
async def test_an_error_of_the_server_is_named_without_secrets(
    queue: NatsQueue, connection: NatsConnection, error: Exception, kind: type[QueueError], sentence: str
) -> None:
    connection.errors["js.publish"] = [error, error]
    with pytest.raises(kind) as caught:
        await queue.report(b"r", "nonce")
    assert str(caught.value) == f"NATS at h:1 {sentence}"


async def test_a_missing_permission_is_reported(queue: NatsQueue, connection: NatsConnection) -> None:
    """The server does not reply to what was forbidden; its error comes by itself. One from before is not of this call."""
    connection.last_error = nats_errors.Error('nats: permissions violation for publish to "old"')
    connection.errors["flush"] = [nats_errors.TimeoutError()]
    await queue.put(chunks(1))
    (lease,) = await queue.lease(1, 0.0)
    with pytest.raises(QueueUnavailable):
        await queue.extend([lease])

    class Forbidden(nats_errors.TimeoutError):
        def __init__(self) -> None:
            connection.last_error = nats_errors.Error('nats: permissions violation for publish to "new"')

    async def refuse(timeout: float) -> None:
        raise Forbidden

    connection.flush = refuse  # type: ignore[method-assign]
    with pytest.raises(QueueRefused, match=r'does not permit this \(nats: permissions violation .* "new"\)'):
        await queue.extend([lease])


# --- leases and values ------------------------------------------------------------------------------------------------


async def test_signs_of_life_of_nothing_are_not_sent(queue: NatsQueue, connection: NatsConnection) -> None:
    connection.is_connected = False
    assert await queue.extend([]) == []


@pytest.mark.parametrize(("delay", "data"), [(0.0, b"-NAK"), (2.5, b'-NAK {"delay": 2500000000}')])
async def test_a_chunk_is_given_back_with_its_delay(
    queue: NatsQueue, connection: NatsConnection, delay: float, data: bytes
) -> None:
    await queue.put(chunks(1))
    (lease,) = await queue.lease(1, 0.0)
    said: list[Any] = []

    async def publish(subject: str, words: bytes) -> None:
        said.append((subject, words))

    connection.publish = publish  # type: ignore[assignment, method-assign]
    await queue.release(lease, delay)
    assert said == [(lease.handle.reply, data)]


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_promised(
    queue: NatsQueue, server: JetStream
) -> None:
    """It says nothing where there is no consumer; then both of them are made."""

    async def work() -> float:
        began = LoopClock.monotonic()
        assert await queue.lease(1, 0.0) == []
        assert set(server.streams["pushcore-camp"].consumers) == {"workers"}
        return LoopClock.monotonic() - began

    assert virtual.run(work()) == pytest.approx(PROMPT, abs=0.5)


@pytest.mark.parametrize("code", [10071, 10164])
@pytest.mark.parametrize("revision", [0, 5])
async def test_a_value_that_another_changed_meanwhile_is_not_overwritten(
    queue: NatsQueue, connection: NatsConnection, code: int, revision: int
) -> None:
    connection.errors["update"] = [js_errors.APIError(400, "wrong last sequence", code)]
    assert not await queue.write("n", b"x", revision)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda queue: queue.write("n", b"x", 0), js_errors.APIError(503, "no leader", 1)),
        (lambda queue: queue.read("n"), js_errors.APIError(503, "no leader", 1)),
    ],
)
async def test_a_store_that_cannot_be_used_is_an_error(
    queue: NatsQueue, connection: NatsConnection, call: Callable[[NatsQueue], Any], error: Exception
) -> None:
    connection.errors["update"] = connection.errors["get"] = [error]
    with pytest.raises(QueueUnavailable, match="no leader"):
        await call(queue)


async def test_a_queue_can_be_destroyed_twice(queue: NatsQueue, server: JetStream) -> None:
    await queue.put(chunks(1))
    await queue.write("n", b"1", 0)
    await queue.destroy()
    await queue.destroy()
    assert (server.streams, server.buckets) == ({}, {})
