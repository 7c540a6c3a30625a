"""Every reason of Apple's table over the wire, by breaking the rule and by a fated token."""

from __future__ import annotations

import re

import pytest

from fakeservers import ApnsRegistry, FakeApns, fated_token
from fakeservers.apns.fates import CODES
from fakeservers.responses.apns import STATUSES
from tests.fakeservers.client import DEVICE, PAYLOAD, Client, Reply, headers_for, provider_token

UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
OWN_ID = "12345678-9abc-def0-1234-56789abcdef0"


async def push(
    changes: dict[str, str | None], body: bytes = PAYLOAD, *, registry: ApnsRegistry | None = None
) -> Reply:
    async with FakeApns(registry=registry) as fake, await Client.connect(fake) as client:
        return await client.push(headers_for(fake, provider_token(fake), **changes), body)


def test_the_table_is_complete() -> None:
    assert len(STATUSES) == 33
    assert set(STATUSES) <= set(CODES.values())
    assert len(set(CODES.values())) == len(CODES)
    assert all(code.startswith(str(STATUSES[fate])) for code, fate in CODES.items() if fate in STATUSES)


async def test_every_reason_is_the_fate_of_some_token() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        for reason, status in STATUSES.items():
            reply = await client.push(headers_for(fake, token, fated_token(reason, 7)))
            assert (reply.status, reply.reason) == (status, reason)
            assert reply.headers["content-type"] == "application/json"
            assert UUID.fullmatch(reply.headers["apns-id"])
            assert (b"timestamp" in reply.body) == (status == 410)
        assert fake.counts == {(status, reason): 1 for reason, status in STATUSES.items()}
        assert [record.reason for record in fake.received] == list(STATUSES)


@pytest.mark.parametrize("own", [OWN_ID, OWN_ID.upper(), OWN_ID.title()])
async def test_accepted(own: str) -> None:
    reply = await push(
        {"apns_id": own, "apns_priority": "5", "apns_expiration": "0", "apns_collapse_id": "x" * 64}
    )
    assert (reply.status, reply.body, reply.headers["apns-id"]) == (200, b"", own)


@pytest.mark.parametrize("priority", ["1", "7", "10"])
async def test_of_accessory_neither_size_nor_priority_is_checked(priority: str) -> None:
    topic = "com.example.app.push-type.accessory"
    options: dict[str, str | None] = {"apns_push_type": "accessory", "apns_topic": topic}
    body = b'{"aps":{"encryptedData":"%b"}}' % (b"x" * 6000)
    assert (await push({**options, "apns_priority": priority}, body)).status == 200
    assert (await push({**options, "apns_topic": "com.example.app"})).reason == "TopicDisallowed"


async def test_an_id_is_made_when_none_is_given() -> None:
    reply = await push({})
    assert UUID.fullmatch(reply.headers["apns-id"])


BROKEN: list[tuple[str, dict[str, str | None], bytes]] = [
    ("MethodNotAllowed", {"method": "PUT"}, PAYLOAD),
    ("BadPath", {"path": "/"}, PAYLOAD),
    ("BadPath", {"path": "/4/device/" + DEVICE}, PAYLOAD),
    ("BadPath", {"path": "/3/devices"}, PAYLOAD),
    ("MissingDeviceToken", {"path": "/3/device/"}, PAYLOAD),
    ("MissingDeviceToken", {"path": "/3/device"}, PAYLOAD),
    ("BadDeviceToken", {"path": "/3/device/xyz0"}, PAYLOAD),
    ("BadDeviceToken", {"path": "/3/device/abc"}, PAYLOAD),
    ("BadDeviceToken", {"path": f"/3/device/{DEVICE}/"}, PAYLOAD),
    ("InvalidPushType", {"apns_push_type": "loud"}, PAYLOAD),
    ("MissingTopic", {"apns_topic": None}, PAYLOAD),
    ("BadTopic", {"apns_topic": "com example"}, PAYLOAD),
    ("BadTopic", {"apns_topic": ""}, PAYLOAD),
    ("TopicDisallowed", {"apns_topic": "com.example.other"}, PAYLOAD),
    ("TopicDisallowed", {"apns_topic": "com.example.app.voip"}, PAYLOAD),
    ("TopicDisallowed", {"apns_push_type": "voip"}, PAYLOAD),
    ("BadPriority", {"apns_priority": "11"}, PAYLOAD),
    ("BadPriority", {"apns_push_type": "background"}, PAYLOAD),
    ("BadPriority", {"apns_push_type": "background", "apns_priority": "10"}, PAYLOAD),
    ("BadExpirationDate", {"apns_expiration": "tomorrow"}, PAYLOAD),
    ("BadExpirationDate", {"apns_expiration": "-1"}, PAYLOAD),
    ("BadMessageId", {"apns_id": OWN_ID + "0"}, PAYLOAD),
    ("BadMessageId", {"apns_id": OWN_ID.replace("-", "")}, PAYLOAD),
    ("BadCollapseId", {"apns_collapse_id": "x" * 65}, PAYLOAD),
    ("PayloadEmpty", {}, b""),
    ("PayloadEmpty", {}, b"not json"),
    ("PayloadEmpty", {}, b"[1]"),
    ("PayloadTooLarge", {}, b'{"a":"' + b"x" * 4089 + b'"}'),
    ("PayloadTooLarge", {}, b"x" * 60_000),
    (
        "PayloadTooLarge",
        {"apns_push_type": "voip", "apns_topic": "com.example.app.voip"},
        b" " * 5119 + b"{}",
    ),
    ("MissingProviderToken", {"authorization": None}, PAYLOAD),
    ("MissingProviderToken", {"authorization": "bearer"}, PAYLOAD),
    ("InvalidProviderToken", {"authorization": "basic YTpi"}, PAYLOAD),
    ("InvalidProviderToken", {"authorization": "bearer a.b.c"}, PAYLOAD),
    ("InvalidProviderToken", {"authorization": "bearer nonsense"}, PAYLOAD),
]


@pytest.mark.parametrize(("reason", "changes", "body"), BROKEN)
async def test_broken_rule(reason: str, changes: dict[str, str | None], body: bytes) -> None:
    reply = await push(changes, body)
    assert (reply.status, reply.reason) == (STATUSES[reason], reason)


KEPT: list[tuple[dict[str, str | None], bytes]] = [
    ({"path": "/3/device/" + DEVICE.upper()}, PAYLOAD),
    ({"path": "/3/device/" + "0123456789abcdef" * 20}, PAYLOAD),
    ({"path": "/3/device/00"}, PAYLOAD),
    ({"apns_push_type": None}, PAYLOAD),
    ({"apns_push_type": None, "apns_topic": "com.example.app.voip"}, b" " * 5118 + b"{}"),
    ({"apns_push_type": "voip", "apns_topic": "com.example.app.voip"}, b" " * 5118 + b"{}"),
    ({"apns_push_type": "liveactivity", "apns_topic": "com.example.app.push-type.liveactivity"}, PAYLOAD),
    ({"apns_push_type": "background", "apns_priority": "5"}, PAYLOAD),
    ({"apns_priority": "1"}, PAYLOAD),
    ({}, b" " * 4094 + b"{}"),
]


@pytest.mark.parametrize(("changes", "body"), KEPT)
async def test_kept_rule(changes: dict[str, str | None], body: bytes) -> None:
    reply = await push(changes, body)
    assert (reply.status, reply.reason) == (200, "")


async def test_repeated_header() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        reply = await client.push([*headers, headers[-1]])
        assert (reply.status, reply.reason) == (400, "DuplicateHeaders")


async def test_a_good_push_does_not_vouch_for_the_next() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        for changes, reason in (
            ({}, ""),
            ({"method": "GET"}, "MethodNotAllowed"),
            ({"path": "/3/device/"}, "MissingDeviceToken"),
            ({"path": "/"}, "BadPath"),
            ({"apns_topic": "com.example.other"}, "TopicDisallowed"),
            ({"apns_priority": "7"}, "BadPriority"),
            ({"apns_push_type": "background"}, "BadPriority"),
            ({"authorization": None}, "MissingProviderToken"),
            ({}, ""),
        ):
            reply = await client.push(headers_for(fake, token, **changes))
            assert reply.reason == reason


async def test_devices_of_the_world() -> None:
    registry = ApnsRegistry(known_only=True)
    registry.add_device("aa" * 32)
    registry.add_device("BB" * 32, fate="Unregistered", since=1_700_000_000_123)
    registry.add_device("cc" * 32, topic="com.example.other")
    async with FakeApns(registry=registry) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)

        async def reply_to(device: str) -> Reply:
            return await client.push(headers_for(fake, token, device))

        assert (await reply_to("AA" * 32)).status == 200
        gone = await reply_to("bb" * 32)
        assert (gone.status, gone.body) == (410, b'{"reason":"Unregistered","timestamp":1700000000123}')
        assert (await reply_to("cc" * 32)).reason == "DeviceTokenNotForTopic"
        assert (await reply_to("dd" * 32)).reason == "BadDeviceToken"
        registry.add_device("dd" * 32)
        assert (await reply_to("dd" * 32)).status == 200


async def test_the_timestamp_is_in_milliseconds() -> None:
    async with FakeApns(now=lambda: 1_700_000_000.0) as fake, await Client.connect(fake) as client:
        token = provider_token(fake, issued=1_700_000_000)
        reply = await client.push(headers_for(fake, token, fated_token("ExpiredToken")))
        assert reply.body == b'{"reason":"ExpiredToken","timestamp":1699913600000}'
