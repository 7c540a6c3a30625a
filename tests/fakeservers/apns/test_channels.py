"""Channel management on its own port and broadcasts on the ordinary one: every rule of Apple's, by foreign clients."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, FakeApns, Fault
from fakeservers.apns.channel_api import STATUSES
from fakeservers.apns.channels import ChannelRegistry, is_channel_id
from fakeservers.faults.actions import Answer
from fakeservers.faults.when import When
from tests.fakeservers.client import Client, Reply, headers_for, provider_token
from tests.fakeservers.test_command import output_of

APP = "com.example.app"
UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
OWN_ID = "12345678-9abc-def0-1234-56789abcdef0"
CREATION = b'{"message-storage-policy":1,"push-type":"LiveActivity"}'
UPDATE = b'{"aps":{"event":"update","timestamp":1700000000,"content-state":{"goals":1}}}'


@asynccontextmanager
async def manager(fake: FakeApns, **options: Any) -> AsyncIterator[Client]:
    """A client of the management port."""
    port: Any = SimpleNamespace(url=fake.channels_url, ca_file=fake.ca_file)
    async with await Client.connect(port, **options) as client:
        yield client


_TOKENS: WeakKeyDictionary[FakeApns, str] = WeakKeyDictionary()


def token_of(fake: FakeApns) -> str:
    """One token for the whole test: each new one has another signature, and counts as an update."""
    if fake not in _TOKENS:
        _TOKENS[fake] = provider_token(fake)
    return _TOKENS[fake]


def asking(fake: FakeApns, method: str, /, **changes: str | None) -> list[tuple[str, str]]:
    """Headers of a request to the management port."""
    fields = {"method": method, "path": f"/1/apps/{APP}/channels", "apns_topic": None, "apns_push_type": None}
    return headers_for(fake, token_of(fake), **{**fields, **changes})


def sending(fake: FakeApns, channel_id: str | None, /, **changes: str | None) -> list[tuple[str, str]]:
    """Headers of a broadcast."""
    fields: dict[str, str | None] = {
        "path": f"/4/broadcasts/apps/{APP}",
        "apns_topic": None,
        "apns_push_type": "liveactivity",
        "apns_channel_id": channel_id,
        "apns_expiration": "0",
        "apns_priority": "10",
    }
    return headers_for(fake, token_of(fake), **{**fields, **changes})


async def test_the_life_of_a_channel() -> None:
    async with FakeApns() as fake, manager(fake) as client:
        made = await client.push(asking(fake, "POST", apns_request_id=OWN_ID), CREATION)
        assert (made.status, made.body) == (201, b"")
        assert made.headers["apns-request-id"] == OWN_ID
        channel_id = made.headers["apns-channel-id"]
        assert len(b64decode(channel_id, validate=True)) == 16

        read = await client.push(asking(fake, "GET", apns_channel_id=channel_id), b"")
        assert (read.status, json.loads(read.body)) == (200, json.loads(CREATION))
        assert UUID.fullmatch(read.headers["apns-request-id"])
        listed = await client.push(asking(fake, "GET", path=f"/1/apps/{APP}/all-channels"), b"")
        assert (listed.status, json.loads(listed.body)) == (200, {"channels": [channel_id]})

        async with await Client.connect(fake) as sender:
            sent = await sender.push(sending(fake, channel_id, apns_expiration="1700000000"), UPDATE)
            assert (sent.status, sent.body) == (200, b"")
            assert UUID.fullmatch(sent.headers["apns-request-id"])

            gone = await client.push(asking(fake, "DELETE", apns_channel_id=channel_id), b"")
            assert (gone.status, gone.body) == (204, b"")
            assert (await sender.push(sending(fake, channel_id), UPDATE)).reason == "ChannelNotRegistered"
        for method in ("GET", "DELETE"):
            reply = await client.push(asking(fake, method, apns_channel_id=channel_id), b"")
            assert (reply.status, reply.reason) == (400, "ChannelNotRegistered")
        assert fake.counts == {
            (201, ""): 1,
            (200, ""): 3,
            (204, ""): 1,
            (400, "ChannelNotRegistered"): 3,
        }
        assert [record.headers[":method"] for record in fake.received] == [
            *("POST", "GET", "GET", "POST", "DELETE", "POST", "GET", "DELETE")
        ]


CREATIONS: list[tuple[str, dict[str, str | None], bytes]] = [
    ("BadPath", {"path": "/1/apps/channels"}, CREATION),
    ("BadPath", {"path": f"/1/apps/{APP}/channels/"}, CREATION),
    ("BadPath", {"path": f"/3/device/{'ab' * 32}"}, CREATION),
    ("MethodNotAllowed", {"method": "PUT"}, CREATION),
    ("MethodNotAllowed", {"path": f"/1/apps/{APP}/all-channels"}, CREATION),
    ("MissingProviderToken", {"authorization": None}, CREATION),
    ("InvalidProviderToken", {"authorization": "bearer a.b.c"}, CREATION),
    ("TopicMismatch", {"path": "/1/apps/com.example.other/channels"}, CREATION),
    ("TopicDisallowed", {"path": f"/1/apps/{APP}.push-type.liveactivity/channels"}, CREATION),
    ("BadMessageId", {"apns_request_id": OWN_ID + "0"}, CREATION),
    ("PayloadEmpty", {}, b""),
    ("PayloadTooLarge", {}, CREATION.ljust(5121)),
    ("BadRequestPayload", {}, b"{"),
    ("BadRequestPayload", {}, b"[]"),
    ("BadRequestParams", {}, CREATION.replace(b"}", b',"name":"x"}')),
    ("MissingPushType", {}, b'{"message-storage-policy":0}'),
    ("InvalidPushType", {}, b'{"message-storage-policy":0,"push-type":"liveactivity"}'),
    ("MissingChannelQueueSize", {}, b'{"push-type":"LiveActivity"}'),
    ("MissingChannelQueueSize", {}, b'{"message-storage-policy":2,"push-type":"LiveActivity"}'),
    ("MissingChannelQueueSize", {}, b'{"message-storage-policy":true,"push-type":"LiveActivity"}'),
]


@pytest.mark.parametrize(("reason", "changes", "body"), CREATIONS)
async def test_a_channel_is_refused(reason: str, changes: dict[str, str | None], body: bytes) -> None:
    async with FakeApns() as fake, manager(fake) as client:
        reply = await client.push(asking(fake, "POST", **changes), body)
        assert (reply.status, reply.reason) == (STATUSES[reason], reason)
        assert UUID.fullmatch(reply.headers["apns-request-id"])
        assert fake.registry.channels.of(APP) == {}


@pytest.mark.parametrize(
    ("reason", "channel_id"),
    [
        ("MissingChannelId", None),
        ("BadChannelId", "a!"),
        ("BadChannelId", "Zm9v" * 17),
        ("BadChannelId", "Zg"),
    ],
)
async def test_a_channel_id_is_refused(reason: str, channel_id: str | None) -> None:
    async with FakeApns() as fake, manager(fake) as client, await Client.connect(fake) as sender:
        replies: list[Reply] = [
            await client.push(asking(fake, "GET", apns_channel_id=channel_id), b""),
            await client.push(asking(fake, "DELETE", apns_channel_id=channel_id), b""),
            await sender.push(sending(fake, channel_id), UPDATE),
        ]
        assert [(reply.status, reply.reason) for reply in replies] == [(400, reason)] * 3


BROADCASTS: list[tuple[str, dict[str, str | None], bytes]] = [
    ("BadPath", {"path": "/4/broadcasts/apps/"}, UPDATE),
    ("BadPath", {"path": f"/4/broadcasts/apps/{APP}/x"}, UPDATE),
    ("MethodNotAllowed", {"method": "GET"}, UPDATE),
    ("MissingProviderToken", {"authorization": None}, UPDATE),
    ("TopicMismatch", {"path": "/4/broadcasts/apps/com.example.other"}, UPDATE),
    ("TopicDisallowed", {"path": f"/4/broadcasts/apps/{APP}.push-type.liveactivity"}, UPDATE),
    ("BadMessageId", {"apns_request_id": "1"}, UPDATE),
    ("MissingPushType", {"apns_push_type": None}, UPDATE),
    ("InvalidPushType", {"apns_push_type": "alert"}, UPDATE),
    ("BadExpirationDate", {"apns_expiration": None}, UPDATE),
    ("BadExpirationDate", {"apns_expiration": "soon"}, UPDATE),
    ("BadExpirationDate", {"apns_expiration": "1700000000"}, UPDATE),
    ("BadPriority", {"apns_priority": None}, UPDATE),
    ("BadPriority", {"apns_priority": "7"}, UPDATE),
    ("PayloadEmpty", {}, b""),
    ("PayloadTooLarge", {}, UPDATE.ljust(5121)),
    ("BadRequestPayload", {}, b"[1]"),
]


@pytest.mark.parametrize(("reason", "changes", "body"), BROADCASTS)
async def test_a_broadcast_is_refused(reason: str, changes: dict[str, str | None], body: bytes) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        channel_id = fake.registry.channels.create(APP, 0)
        reply = await client.push(sending(fake, channel_id, **changes), body)
        assert (reply.status, reply.reason) == (STATUSES[reason], reason)
        # Nothing of it stays: the next ones are in order, and so is a push to a device.
        assert (await client.push(sending(fake, channel_id), UPDATE.ljust(5120))).status == 200
        assert (await client.push(headers_for(fake, token_of(fake)))).status == 200


async def test_an_app_has_so_many_channels_and_no_more() -> None:
    assert ChannelRegistry().limit == 10_000
    registry = ApnsRegistry()
    registry.channels.limit = 2
    async with FakeApns(registry=registry) as fake, manager(fake) as client:
        replies = [await client.push(asking(fake, "POST"), CREATION) for _ in range(3)]
        assert [reply.status for reply in replies] == [201, 201, 400]
        assert replies[2].reason == "CannotCreateChannelConfig"
        first = replies[0].headers["apns-channel-id"]
        assert (await client.push(asking(fake, "DELETE", apns_channel_id=first), b"")).status == 204
        assert (await client.push(asking(fake, "POST"), CREATION)).status == 201


async def test_an_app_without_the_capability() -> None:
    async with FakeApns() as fake, manager(fake) as client, await Client.connect(fake) as sender:
        channel_id = fake.registry.channels.create(APP, 0)
        fake.registry.channels.disabled.add(APP)
        assert (await client.push(asking(fake, "POST"), CREATION)).reason == "FeatureNotEnabled"
        assert (await sender.push(sending(fake, channel_id), UPDATE)).reason == "FeatureNotEnabled"


async def test_certificates(tmp_path: Path) -> None:
    """They need no token, and are for the apps that they name."""
    async with FakeApns() as fake:
        file = tmp_path / "client.pem"
        file.write_bytes(fake.certs.client_certificate(APP, topics=[f"{APP}.voip"]).pem())
        async with manager(fake, pem=str(file)) as client:
            assert client.streams == 1000
            assert (await client.push(asking(fake, "POST", authorization=None), CREATION)).status == 201
            for name, reason in ((f"{APP}.voip", "TopicDisallowed"), ("com.example.b", "TopicMismatch")):
                reply = await client.push(asking(fake, "POST", path=f"/1/apps/{name}/channels"), CREATION)
                assert reply.reason == reason
        file.write_bytes(fake.certs.client_certificate("").pem())
        async with manager(fake, pem=str(file)) as client:
            assert (await client.push(asking(fake, "POST"), CREATION)).reason == "BadCertificate"


async def test_a_token_opens_streams_here_too_and_is_not_changed_by_a_broadcast() -> None:
    start = 1_700_000_000.0
    async with FakeApns(now=lambda: start) as fake, manager(fake) as client:
        first, second = (f"bearer {provider_token(fake, issued=start + item)}" for item in (0, 1))
        assert client.streams == 1
        assert (await client.push(asking(fake, "POST", authorization=first), CREATION)).status == 201
        await client.until(lambda: client.streams == 1000)
        reply = await client.push(asking(fake, "POST", authorization=second), CREATION)
        assert (reply.status, reply.reason) == (429, "TooManyProviderTokenUpdates")
        channel_id = fake.registry.channels.create(APP, 0)
        async with await Client.connect(fake) as sender:
            assert (await sender.push(sending(fake, channel_id, authorization=first), UPDATE)).status == 200
            reply = await sender.push(headers_for(fake, authorization=second))
            assert reply.reason == "TooManyProviderTokenUpdates"


async def test_the_same_seed_gives_the_same_channels() -> None:
    results = []
    for _ in range(2):
        async with FakeApns(faults="calm") as fake, manager(fake) as client:
            replies = [await client.push(asking(fake, "POST"), CREATION) for _ in range(2)]
            results.append([sorted(reply.headers.items()) for reply in replies])
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]


async def test_faults_reach_the_port_by_its_paths_alone() -> None:
    async with FakeApns() as fake, manager(fake) as client, await Client.connect(fake) as sender:
        fake.faults.add(Fault(what=Answer(reason="ServiceUnavailable"), when=When(path="/1/apps/", limit=1)))
        fake.faults.add(Fault(what=Answer(reason="Shutdown")))
        reply = await client.push(asking(fake, "POST", apns_request_id=OWN_ID), CREATION)
        assert (reply.status, reply.reason) == (503, "ServiceUnavailable")
        assert reply.headers["apns-request-id"] == OWN_ID
        assert (await client.push(asking(fake, "POST"), CREATION)).status == 201
        assert (await sender.push(headers_for(fake, token_of(fake)))).reason == "Shutdown"
        reply = await sender.push(sending(fake, "Zm9v"), UPDATE)
        assert (reply.reason, "apns-request-id" in reply.headers) == ("Shutdown", True)


async def test_unique_ids_are_given_in_the_sandbox_alone() -> None:
    for environment in ("sandbox", "production", None):
        registry = ApnsRegistry(environment=environment)
        async with FakeApns(registry=registry) as fake, await Client.connect(fake) as client:
            headers = headers_for(fake, token_of(fake), apns_id=OWN_ID)
            results = [(await client.push(headers)).headers for _ in range(2)]
            refused = (await client.push(headers, b"")).headers
        assert [item["apns-id"] for item in results] == [OWN_ID] * 2
        ids = {item.get("apns-unique-id") for item in results}
        if environment == "sandbox":
            assert len(ids) == 2
            assert all(channel_id and UUID.fullmatch(channel_id) for channel_id in ids)
        else:
            assert ids == {None}
        assert "apns-unique-id" not in refused


async def test_related_keys_share_a_connection_and_each_keeps_its_token() -> None:
    start = 1_700_000_000.0
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("WATCHKEY01", "WATCHKEY02")}
    registry = ApnsRegistry()
    for (name, key), related in zip(keys.items(), ("WATCHKEY02", None), strict=True):
        pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        registry.add_key(name, "FAKETEAM01", pem, topics=[f"com.example.{name.lower()}"], related=related)
    async with FakeApns(registry=registry, now=lambda: start) as fake, await Client.connect(fake) as client:

        @cache
        def headers(name: str, topic: str, issued: float = start) -> list[tuple[str, str]]:
            return headers_for(fake, token(name, issued), apns_topic=f"com.example.{topic}")

        @cache
        def token(name: str, issued: float) -> str:
            return provider_token(fake, issued=issued, header={"kid": name}, key=keys[name])

        for _ in range(2):  # to and fro: a related key's first token is no update of the other's
            assert (await client.push(headers("WATCHKEY01", "watchkey01"))).status == 200
            assert (await client.push(headers("WATCHKEY02", "watchkey02"))).status == 200
        assert (await client.push(headers("WATCHKEY02", "watchkey01"))).reason == "TopicDisallowed"
        late = await client.push(headers("WATCHKEY02", "watchkey02", start + 1))
        assert late.reason == "TooManyProviderTokenUpdates"


@pytest.mark.parametrize("shared", [False, True])
def test_channels_of_apps(shared: bool, tmp_path: Path) -> None:
    channels = ChannelRegistry()
    channels.add(APP, "Zm9v", 1)
    if shared:
        channels.share(tmp_path)
    other = channels.create("..", 0)
    hard = "+/" * 8
    channels.add(APP, hard, 0)
    assert channels.of(APP) == {"Zm9v": 1, hard: 0}
    assert channels.of("..") == {other: 0}
    channels.add(APP, "Zm9v", 0)
    assert channels.policy(APP, "Zm9v") == 0
    assert channels.remove(APP, "Zm9v")
    assert not channels.remove(APP, "Zm9v")
    assert channels.policy(APP, "Zm9v") is None
    assert (channels.clear(APP), channels.clear(APP)) == (1, 0)
    assert [is_channel_id(item) for item in ("", "a", "Zg==", "Zm9v" * 16, "Zm9v" * 17)] == [
        *(False, False, True, True, False)
    ]
    for channel_id, policy in (("a!", 0), ("Zm9v", 2), ("Zm9v", True)):
        with pytest.raises(ValueError, match="a channel"):
            channels.add(APP, channel_id, policy)


@pytest.mark.parametrize("shared", [False, True])
def test_channels_are_put_back_as_they_were(shared: bool, tmp_path: Path) -> None:
    channels = ChannelRegistry()
    channels.add(APP, "Zm9v", 1)
    channels.add(APP, "YmFy", 0)
    channels.disabled.add("com.example.off")
    if shared:
        channels.share(tmp_path)
    first = channels.snapshot()
    for _ in range(2):
        channels.remove(APP, "Zm9v")
        channels.add(APP, "YmFy", 1)
        channels.add("..", "Zm9v", 0)
        channels.disabled.clear()
        channels.disabled.add(APP)
        channels.restore(first)
        assert channels.of(APP) == {"Zm9v": 1, "YmFy": 0}
        assert channels.of("..") == {}
        assert channels.disabled == {"com.example.off"}


@pytest.mark.needs("curl")
async def test_curl() -> None:
    async with FakeApns() as fake:
        token = f"authorization: bearer {provider_token(fake)}"
        options = ["curl", "-sS", "-i", "--http2", "--cacert", fake.ca_file, "-H", token]
        url = f"{fake.channels_url.replace('127.0.0.1', 'localhost')}/1/apps/{APP}"
        out = await output_of(*options, "-d", CREATION.decode(), f"{url}/channels")
        match = re.search(r"^apns-channel-id: (\S+)\r$", out, re.MULTILINE)
        assert out.startswith("HTTP/2 201 \r\n"), out
        assert match
        channel = ["-H", f"apns-channel-id: {match[1]}"]
        out = await output_of(*options, *channel, f"{url}/channels")
        assert out.endswith(CREATION.decode())
        out = await output_of(*options, f"{url}/all-channels")
        assert json.loads(out.rpartition("\r\n")[2]) == {"channels": [match[1]]}
        more = ["apns-push-type: liveactivity", "apns-expiration: 0", "apns-priority: 5"]
        headers = [part for header in more for part in ("-H", header)]
        sent = await output_of(
            *options, *channel, *headers, "-d", UPDATE.decode(), f"{fake.url}/4/broadcasts/apps/{APP}"
        )
        assert sent.startswith("HTTP/2 200 \r\n"), sent
        out = await output_of(*options, *channel, "-X", "DELETE", f"{url}/channels")
        assert out.startswith("HTTP/2 204 \r\n"), out
