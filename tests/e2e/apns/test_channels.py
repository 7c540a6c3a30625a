"""Broadcast channels with our client against the strict fake: management, broadcasts, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fakeservers import ApnsRegistry, Certificates, FakeApns, Fault
from fakeservers.faults.actions import Action, Answer, Goaway, Reset, Stall
from fakeservers.faults.when import When
from pushcore import (
    ApnsCertificate,
    ApnsClient,
    Aps,
    Broadcast,
    Channel,
    Channels,
    PushcoreError,
    Result,
    Verdict,
)
from pushcore.errors import ClosedError, ConfigurationError, PushRejected
from tests.e2e.support import ENGINES, cancel_after, client_of, key_of, push, soon, using
from tests.support.proxy import ConnectProxy

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]

APP = "com.example.app"
UPDATE = Aps(event="update", timestamp=1_700_000_000, content_state={"goals": 1})
UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
OWN_ID = "12345678-9abc-def0-1234-56789abcdef0"
MANAGEMENT = When(path="/1/apps/")


@asynccontextmanager
async def managed(fake: FakeApns, http2: str, **options: Any) -> AsyncIterator[tuple[ApnsClient, Channels]]:
    async with using(client_of(fake, http2=http2, **options)) as client:
        yield client, Channels(client, url=fake.channels_url)


async def test_the_life_of_a_channel(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, channels):
        plain, storing = await channels.create(), await channels.create(stores=True)
        assert (plain.stores, storing.stores) == (False, True)
        assert fake.registry.channels.of(APP) == {plain.id: 0, storing.id: 1}
        assert await channels.read(plain.id) == plain
        assert await channels.read(storing.id) == storing
        assert await channels.list() == [plain.id, storing.id]

        sent = await client.broadcast(Broadcast(plain.id, UPDATE, request_id=OWN_ID))
        assert (sent.verdict, sent.status, sent.id) == (Verdict.ACCEPTED, 200, OWN_ID)
        stored = await client.broadcast(Broadcast(storing.id, UPDATE, expiration=1_800_000_000, priority=5))
        assert stored.ok
        assert stored.id
        assert UUID.fullmatch(stored.id)
        headers = fake.received[-1].headers
        assert headers["apns-channel-id"] == storing.id
        assert (headers["apns-expiration"], headers["apns-priority"]) == ("1800000000", "5")
        assert "apns-topic" not in headers
        refused = await client.broadcast(Broadcast(plain.id, UPDATE, expiration=1_800_000_000))
        assert (refused.verdict, refused.reason) == (Verdict.INVALID, "BadExpirationDate")

        await channels.delete(plain.id)
        assert await channels.list() == [storing.id]
        gone = await client.broadcast(Broadcast(plain.id, UPDATE))
        assert (gone.verdict, gone.reason) == (Verdict.INVALID, "ChannelNotRegistered")
        assert (await client.send(push())).ok
        assert fake.accepted == 1  # broadcasts share the connections of pushes


async def test_the_largest_list_is_taken(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (_, channels):
        made = [fake.registry.channels.create(APP, 0) for _ in range(10_000)]
        assert await channels.list() == made
        with pytest.raises(PushRejected) as refused:
            await channels.create()
        assert refused.value.result.reason == "CannotCreateChannelConfig"
        assert refused.value.result.verdict is Verdict.MISCONFIGURED


async def test_a_list_that_is_too_long_is_not_kept(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (_, channels):
        for number in range(16_384):
            fake.registry.channels.add(APP, f"{number:064d}")
        with pytest.raises(PushRejected, match="larger than 1048576 bytes") as refused:
            await channels.list()
        assert refused.value.result.verdict is Verdict.UNKNOWN


async def test_a_rejection_by_apns_is_raised_with_its_reason(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, channels):
        for call in (channels.read("Zm9v"), channels.delete("Zm9v")):
            with pytest.raises(PushRejected, match="ChannelNotRegistered") as refused:
                await call
            assert isinstance(refused.value, PushcoreError)
            assert refused.value.result.status == 400
        other = Channels(client, topic="com.example.other", url=fake.channels_url)
        with pytest.raises(PushRejected) as refused:
            await other.create()
        assert (refused.value.result.reason, refused.value.result.verdict) == (
            "TopicMismatch",
            Verdict.MISCONFIGURED,
        )
        sent = await client.broadcast(Broadcast("Zm9v", UPDATE, topic="com.example.other"))
        assert (sent.reason, sent.verdict) == ("TopicMismatch", Verdict.MISCONFIGURED)
        asked = sum(fake.counts.values())
        with pytest.raises(PushRejected, match="BadChannelId"):  # found before anything is sent
            await channels.read("a!\r\nx: y")
        assert sum(fake.counts.values()) == asked


async def test_certificates(http2: str, certs: Certificates, tmp_path: Path) -> None:
    file = tmp_path / "client.pem"
    file.write_bytes(certs.client_certificate(APP, topics=[f"{APP}.voip"]).pem())
    auth = ApnsCertificate.from_file(file)
    async with FakeApns(certs=certs) as fake, managed(fake, http2, auth=auth) as (client, channels):
        channel = await channels.create()
        assert (await client.broadcast(Broadcast(channel.id, UPDATE))).ok
        assert not fake.tokens_seen


@pytest.mark.parametrize(
    "what",
    [Reset(code="REFUSED_STREAM"), Goaway(last="before")],
    ids=["refused stream", "goaway"],
)
async def test_an_unprocessed_request_is_retried(what: Action, http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, channels):
        fake.faults.add(Fault(what=what, when=When(path="/1/apps/", nth=(2,))))
        fake.faults.add(Fault(what=what, when=When(path="/4/", nth=(1,))))
        channel = await channels.create()
        assert await channels.list() == [channel.id]
        sent = await client.broadcast(Broadcast(channel.id, UPDATE))
        assert (sent.verdict, sent.attempts) == (Verdict.ACCEPTED, 2)
        assert fake.counts[200, ""] == 2


async def test_no_response_is_unknown(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2, timeout=0.3) as (client, channels):
        fake.faults.add(Fault(what=Stall(processed=True), when=MANAGEMENT))
        fake.faults.add(Fault(what=Stall(), when=When(path="/4/")))
        with pytest.raises(PushRejected) as refused:
            await channels.create()
        assert refused.value.result.verdict is Verdict.UNKNOWN
        fake.faults.clear()
        [made] = await channels.list()  # it was made all the same, once
        fake.faults.add(Fault(what=Stall(), when=When(path="/4/")))
        assert (await client.broadcast(Broadcast(made, UPDATE))).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "response",
    [
        Answer(status=200, body="[]"),
        Answer(status=200, body='{"channels":[1]}'),
        Answer(status=200, body="<html>"),
        Answer(status=200),
    ],
    ids=["list", "numbers", "html", "empty"],
)
async def test_a_response_that_is_not_apples(response: Answer, http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (_, channels):
        fake.faults.add(Fault(what=response, when=MANAGEMENT))
        for call in (channels.create(), channels.read("Zm9v"), channels.list()):
            with pytest.raises(PushRejected) as refused:
                await call
            assert refused.value.result.verdict is Verdict.UNKNOWN


async def test_html_of_a_front_end_goes_by_its_status(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (_, channels):
        fake.faults.add(Fault(what=Answer(status=503, body="<html>"), when=MANAGEMENT))
        with pytest.raises(PushRejected) as refused:
            await channels.list()
        assert refused.value.result.verdict is Verdict.UNAVAILABLE


async def test_a_connection_of_another_key_and_a_token_that_is_called_expired(
    http2: str, certs: Certificates
) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, channels):
        for path in ("/1/apps/", "/4/"):
            fake.faults.add(Fault(what=Answer(reason="UnrelatedKeyIdInToken"), when=When(path=path, limit=1)))
        channel = await channels.create()
        assert await channels.list() == [channel.id]
        sent = await client.broadcast(Broadcast(channel.id, UPDATE))
        assert (sent.verdict, sent.attempts) == (Verdict.ACCEPTED, 2)
        assert fake.accepted == 2

        fake.faults.add(Fault(what=Answer(reason="ExpiredProviderToken"), when=When(path="/")))
        fake.faults.add(Fault(what=Answer(reason="ExpiredProviderToken"), when=MANAGEMENT))
        with pytest.raises(PushRejected, match="ExpiredProviderToken") as refused:
            await channels.list()
        result = await client.broadcast(Broadcast(channel.id, UPDATE))
        assert refused.value.result.verdict is result.verdict is Verdict.MISCONFIGURED
        assert "clock" not in f"{refused.value.result.detail} {result.detail}"  # ours and the server's agree


async def test_through_a_proxy(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, ConnectProxy(credentials="user:secret") as proxy:
        async with managed(fake, http2, proxy=proxy.url("user:secret")) as (client, channels):
            channel = await channels.create()
            assert (await client.broadcast(Broadcast(channel.id, UPDATE))).ok
        ports = [url.removeprefix("https://") for url in (fake.channels_url, fake.url)]
        assert proxy.targets == ports


async def test_cancelling_leaves_nothing_behind(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs, delay=0.02) as fake, managed(fake, http2) as (client, channels):
        channel = await channels.create()
        for turns in range(0, 60, 5):
            await cancel_after(channels.list(), turns)
            await cancel_after(client.broadcast(Broadcast(channel.id, UPDATE)), turns)
        assert await channels.list() == [channel.id]
        for pool in client._dispatcher._pools.values():
            assert not pool.waiting
            await soon(lambda: not any(link.connection.streams for link in pool.links))  # noqa: B023  # called before the loop goes on


async def test_a_client_that_is_closed_says_so(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake:
        async with managed(fake, http2) as (client, channels):
            await channels.create()
        for call in (channels.list(), client.broadcast(Broadcast("Zm9v", UPDATE))):
            with pytest.raises(ClosedError):
                await call
        async with client:  # and opens again
            assert len(await channels.list()) == 1


async def test_many_calls_at_once(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, channels):
        made = await asyncio.gather(*(channels.create() for _ in range(200)))
        assert len({channel.id for channel in made}) == 200
        sent = await asyncio.gather(*(client.broadcast(Broadcast(channel.id, UPDATE)) for channel in made))
        assert all(result.ok for result in sent)
        assert len({result.id for result in sent}) == 200
        await asyncio.gather(*(channels.delete(channel.id) for channel in made))
        assert await channels.list() == []


BROADCASTS: list[tuple[dict[str, Any], str | None, str]] = [
    ({"channel_id": ""}, "BadChannelId", "channel id"),
    ({"channel_id": "a b"}, "BadChannelId", "channel id"),
    ({"channel_id": "ä"}, "BadChannelId", "channel id"),
    ({"channel_id": None}, "BadChannelId", "channel id"),
    ({"topic": "a/b"}, "BadTopic", "bundle id"),
    ({"expiration": -1}, "BadExpirationDate", "negative"),
    ({"expiration": 1.5}, "BadExpirationDate", "UNIX"),
    ({"priority": 7}, "BadPriority", "10"),
    ({"request_id": OWN_ID.upper()}, "BadMessageId", "UUID"),
    ({"payload": b""}, "PayloadEmpty", "empty"),
    ({"payload": b"{"}, "BadRequestPayload", "JSON"),
    ({"payload": {"aps": {"event": "update", "x": "y" * 5200}}}, "PayloadTooLarge", "5120"),
    ({"payload": {"aps": object()}}, None, "JSON"),
    ({"payload": {"aps": {"event": "start"}}}, None, "cannot start"),
    ({"payload": b'{"aps":{"event":"start"}}'}, None, "cannot start"),
]


@pytest.mark.parametrize(("changes", "reason", "words"), BROADCASTS)
async def test_an_invalid_broadcast_is_not_sent(
    changes: dict[str, Any], reason: str | None, words: str, http2: str, certs: Certificates
) -> None:
    async with FakeApns(certs=certs) as fake, managed(fake, http2) as (client, _):
        broadcast = Broadcast(**{"channel_id": "Zm9v", "payload": UPDATE, **changes})
        result: Result = await client.broadcast(broadcast)
        assert (result.verdict, result.reason, result.attempts) == (Verdict.INVALID, reason, 0)
        assert words in str(result.detail)
        assert result.push is broadcast
        assert fake.accepted == 0


async def test_servers(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, FakeApns(certs=certs, registry=fake.registry) as other:
        options = {"http2": http2, "broadcast_url": other.url}
        async with using(client_of(fake, **options)) as client:
            channel = await Channels(client, url=other.channels_url).create()
            assert (await client.broadcast(Broadcast(channel.id, UPDATE))).ok
            assert (await client.send(push())).ok
        assert (fake.accepted, other.accepted) == (1, 1)
        with pytest.raises(ConfigurationError, match="url"):
            Channels(client)
        with pytest.raises(ConfigurationError, match="topic"):
            Channels(client_of(fake, topic=None), url=fake.channels_url)
        apple = ApnsClient(key_of(fake), topic=f"{APP}.push-type.liveactivity", environment="sandbox")
        channels = Channels(apple)
        assert channels._origin.authority == "api-manage-broadcast.sandbox.push.apple.com:2195"
        assert channels._path == b"/1/apps/com.example.app/channels"


async def test_unique_ids_of_the_sandbox(http2: str, certs: Certificates) -> None:
    for environment in ("sandbox", "production"):
        registry = ApnsRegistry(environment=environment)
        async with (
            FakeApns(certs=certs, registry=registry) as fake,
            using(client_of(fake, http2=http2)) as client,
        ):
            for apns_id in (None, OWN_ID):
                result = await client.send(push(apns_id=apns_id))
                assert result.ok
                assert result.id
                assert result.id == (apns_id or result.id)
                assert (result.unique_id is not None) == (environment == "sandbox")
                assert result.unique_id != result.id
            refused = await client.send(push(topic="com.example.other"))
            assert (refused.id is None, refused.unique_id) == (False, None)


def test_a_channel_is_a_value(http2: str) -> None:
    assert Channel("Zm9v", True) == Channel("Zm9v", stores=True)
    assert len({Broadcast("Zm9v", b"{}"), Broadcast("Zm9v", b"{}", expiration=0)}) == 1
