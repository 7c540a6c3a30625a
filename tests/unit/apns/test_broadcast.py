"""A broadcast becomes a request to its channel, or the result that says why not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.apns.broadcast import BroadcastRequest, build, bundle_id_of, find_id, template_for
from pushcore.apns.request import ApnsRequestBuilder
from pushcore.models.apns import LARGE_LIMIT, Broadcast
from pushcore.results import Result, Verdict

CHANNEL = "dHN0LXNyY2gtY2hubA=="
UPDATE: dict[str, Any] = {"aps": {"timestamp": 1_700_000_000, "event": "update", "content-state": {"a": 1}}}
REQUEST_ID = "a1b2c3d4-0000-4000-8000-000000000001"


def requests(
    topic: str | None = "com.example.app", topics: frozenset[str] | None = None
) -> ApnsRequestBuilder:
    return ApnsRequestBuilder("api.push.apple.com", topic, token_auth=True, key_topics=topics)


def broadcast(**fields: Any) -> Broadcast:
    return Broadcast(**{"channel_id": CHANNEL, "payload": UPDATE, **fields})


def built(push: Broadcast, builder: ApnsRequestBuilder | None = None) -> BroadcastRequest:
    request = build(push, builder or requests())
    assert isinstance(request, BroadcastRequest), request
    return request


def test_a_plain_broadcast() -> None:
    request = built(broadcast())
    assert request.path == b"/4/broadcasts/apps/com.example.app"
    assert orjson.loads(request.body) == UPDATE
    assert request.own_fields == (
        (b"apns-channel-id", CHANNEL.encode()),
        (b"apns-expiration", b"0"),
        (b"apns-priority", b"10"),
    )
    fields = dict(template_for("push.example:2197").fields)
    assert fields[b"apns-push-type"] == b"liveactivity"
    assert (fields[b":method"], fields[b":authority"]) == (b"POST", b"push.example:2197")


def test_every_field_of_a_broadcast() -> None:
    push = broadcast(topic="com.other", expiration=1_800_000_000, priority=1, request_id=REQUEST_ID)
    request = built(push)
    assert request.path == b"/4/broadcasts/apps/com.other"
    assert request.own_fields[1:] == (
        (b"apns-expiration", b"1800000000"),
        (b"apns-priority", b"1"),
        (b"apns-request-id", REQUEST_ID.encode()),
    )


def test_the_app_is_named_without_the_suffix_of_live_activities() -> None:
    assert bundle_id_of("com.example.app.push-type.liveactivity", requests()) == "com.example.app"
    assert bundle_id_of(None, requests("com.example.app")) == "com.example.app"


@pytest.mark.parametrize("payload", [b'{"aps":{"event":"end"}}', {"aps": []}, {"other": 1}])
def test_payloads_of_any_kind_that_start_nothing(payload: Any) -> None:
    built(broadcast(payload=payload))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channel_id": ""}, "BadChannelId"),
        ({"channel_id": "a b"}, "BadChannelId"),
        ({"channel_id": "a\n"}, "BadChannelId"),
        ({"channel_id": "x" * 513}, "BadChannelId"),
        ({"channel_id": 5}, "BadChannelId"),
        ({"topic": "com example"}, "BadTopic"),
        ({"topic": 5}, "BadTopic"),
        ({"expiration": -1}, "BadExpirationDate"),
        ({"expiration": 1.5}, "BadExpirationDate"),
        ({"expiration": True}, "BadExpirationDate"),
        ({"expiration": 1 << 63}, "BadExpirationDate"),
        ({"priority": 2}, "BadPriority"),
        ({"priority": "10"}, "BadPriority"),
        ({"request_id": REQUEST_ID.upper()}, "BadMessageId"),
        ({"request_id": 5}, "BadMessageId"),
        ({"payload": {"aps": {"event": "start"}}}, None),
        ({"payload": {"a": object()}}, None),
        ({"payload": b"{"}, "BadRequestPayload"),
    ],
)
def test_an_invalid_broadcast_has_apples_reason(fields: dict[str, Any], reason: str | None) -> None:
    push = broadcast(**fields)
    result = build(push, requests())
    assert isinstance(result, Result)
    assert (result.push, result.verdict, result.reason) == (push, Verdict.INVALID, reason)
    assert result.detail


def test_the_size_limit_to_the_byte() -> None:
    room = LARGE_LIMIT - len(b'{"a":""}')
    built(broadcast(payload={"a": "x" * room}))
    result = build(broadcast(payload={"a": "x" * (room + 1)}), requests())
    assert isinstance(result, Result)
    assert result.reason == "PayloadTooLarge"


@pytest.mark.parametrize(
    ("builder", "topic", "reason"),
    [
        (requests(None), None, "MissingTopic"),
        (requests(topics=frozenset({"com.example.app"})), "com.other", "TopicDisallowed"),
    ],
)
def test_a_topic_that_the_client_cannot_send_to_is_its_configuration(
    builder: ApnsRequestBuilder, topic: str | None, reason: str
) -> None:
    result = build(broadcast(topic=topic), builder)
    assert isinstance(result, Result)
    assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, reason)


def test_the_id_is_the_requests_or_the_responses() -> None:
    block = [(b":status", b"200"), (b"apns-request-id", b"theirs"), (b"apns-unique-id", b"unique")]
    assert find_id(broadcast(), block, "id") == "theirs"
    assert find_id(broadcast(request_id=REQUEST_ID), block, "id") == REQUEST_ID
    assert find_id(broadcast(request_id=REQUEST_ID), block, "unique_id") == "unique"
    assert find_id(broadcast(), [(b":status", b"200")], "id") is None
