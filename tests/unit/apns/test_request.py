"""A notification becomes a request or a result that says why not; nothing that is wrong with one push raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from pushcore.apns.request import MAX_TOKEN, ApnsRequestBuilder
from pushcore.errors import ConfigurationError
from pushcore.http2.exchange import Exchange
from pushcore.models.apns import PUSH_TYPES, ApnsPushType, Aps, Notification
from pushcore.requests import END, build_one
from pushcore.results import Result, Verdict

TOKEN = "ab" * 32
PAYLOAD = {"aps": {"alert": "Hi"}}


def requests(topic: str | None = "com.example.app", *, token_auth: bool = True) -> ApnsRequestBuilder:
    return ApnsRequestBuilder("api.push.apple.com", topic, token_auth=token_auth)


def build(push: Notification, builder: ApnsRequestBuilder | None = None) -> Exchange | Result:
    return build_one(builder or requests(), push, lambda finished: None, 10.0)


def built(push: Notification, builder: ApnsRequestBuilder | None = None) -> tuple[dict[str, str], bytes]:
    """The request's own header fields by name, and its body."""
    exchange = build(push, builder)
    assert isinstance(exchange, Exchange), exchange
    fields = {name.decode(): value.decode() for name, value in (*exchange.template.fields, *exchange.tail)}
    fields[":path"] = (exchange.template.path + exchange.path).decode()
    return fields, exchange.body


def refused(push: Notification, builder: ApnsRequestBuilder | None = None) -> Result:
    result = build(push, builder)
    assert isinstance(result, Result)
    assert result.push is push
    assert result.status is None
    assert result.attempts == 0
    assert result.detail
    return result


def test_a_plain_push() -> None:
    fields, body = built(Notification(TOKEN, PAYLOAD))
    assert fields == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": "api.push.apple.com",
        ":path": f"/3/device/{TOKEN}",
        "apns-push-type": "alert",
        "apns-topic": "com.example.app",
    }
    assert orjson.loads(body) == PAYLOAD


def test_every_field() -> None:
    push = Notification(
        TOKEN,
        b'{"aps":{}}',
        topic="com.example.other",
        priority=5,
        expiration=0,
        collapse_id="game-1",
        apns_id="eabeae54-14a8-11e5-b60b-1697f925ec7b",
    )
    fields, body = built(push)
    assert body == b'{"aps":{}}'
    assert fields["apns-topic"] == "com.example.other"
    assert fields["apns-priority"] == "5"
    assert fields["apns-expiration"] == "0"
    assert fields["apns-collapse-id"] == "game-1"
    assert fields["apns-id"] == "eabeae54-14a8-11e5-b60b-1697f925ec7b"


@pytest.mark.parametrize("name", PUSH_TYPES)
def test_push_types_add_their_suffix_once(name: ApnsPushType) -> None:
    kind = PUSH_TYPES[name]
    for topic in ("com.example.app", "com.example.app" + kind.suffix):
        fields, _ = built(Notification(TOKEN, PAYLOAD, push_type=name, topic=topic))
        assert fields["apns-topic"] == "com.example.app" + kind.suffix
        assert fields["apns-push-type"] == name
    assert fields.get("apns-priority") == ("5" if name == "background" else None)


@pytest.mark.parametrize("name", PUSH_TYPES)
def test_size_limits_to_the_byte(name: ApnsPushType) -> None:
    limit = PUSH_TYPES[name].limit
    padding = limit - len(orjson.dumps({"aps": ""}))
    assert len(built(Notification(TOKEN, {"aps": "x" * padding}, push_type=name))[1]) == limit
    result = refused(Notification(TOKEN, {"aps": "x" * (padding + 1)}, push_type=name))
    assert (result.verdict, result.reason) == (Verdict.INVALID, "PayloadTooLarge")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "xyz",
        "ab/cd",
        "ab\r\ncd",
        "ab\x00",
        "ä",
        "a b",
        None,
        7,
        b"ab",
        "0x12",
        "a" * (MAX_TOKEN + 2),
        "abc",
        "ab cd",
        " abcd ",
    ],
)
def test_bad_tokens(token: Any) -> None:
    assert refused(Notification(token, PAYLOAD)).verdict is Verdict.INVALID


@pytest.mark.parametrize("length", [2, 4, 62, 64, 100, 200, MAX_TOKEN])
def test_tokens_of_any_length(length: int) -> None:
    token = ("0123456789abcdefABCDEF" * 30)[:length]
    assert built(Notification(token, PAYLOAD))[0][":path"] == f"/3/device/{token}"


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "PayloadEmpty"),
        (b"[1]", None),
        (b"not json", None),
        ("text", None),
        (None, None),
        ([1], None),
        ({1: 2}, None),
        ({"a": object()}, None),
        ({"a": "\ud800"}, None),
        ({"a": 1 << 70}, None),
    ],
)
def test_bad_payloads(payload: Any, reason: str | None) -> None:
    result = refused(Notification(TOKEN, payload))
    assert (result.verdict, result.reason) == (Verdict.INVALID, reason)


def test_typed_payloads_and_dict_subclasses() -> None:
    class Payload(dict[str, Any]):
        pass

    assert orjson.loads(built(Notification(TOKEN, Aps(alert="Hi")))[1]) == PAYLOAD
    assert orjson.loads(built(Notification(TOKEN, Payload(PAYLOAD)))[1]) == PAYLOAD


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"collapse_id": "x" * 65}, "BadCollapseId"),
        ({"collapse_id": "a\r\nb"}, "BadCollapseId"),
        ({"collapse_id": ""}, "BadCollapseId"),
        ({"collapse_id": "ü"}, "BadCollapseId"),
        ({"collapse_id": 7}, "BadCollapseId"),
        ({"apns_id": "nonsense"}, "BadMessageId"),
        ({"apns_id": "EABEAE54-14A8-11E5-B60B-1697F925EC7B"}, "BadMessageId"),
        ({"apns_id": "eabeae54-14a8-11e5-b60b-1697f925ec7b\n"}, "BadMessageId"),
        ({"expiration": -1}, "BadExpirationDate"),
        ({"expiration": "soon"}, "BadExpirationDate"),
        ({"expiration": True}, "BadExpirationDate"),
        ({"priority": 7}, "BadPriority"),
        ({"priority": 10, "push_type": "background"}, "BadPriority"),
        ({"priority": 1, "push_type": "liveactivity"}, "BadPriority"),
        ({"push_type": "fanfare"}, "InvalidPushType"),
        ({"topic": "com.example\r\nx: y"}, "BadTopic"),
        ({"topic": ""}, "BadTopic"),
        ({"topic": "x" * 300}, "BadTopic"),
    ],
)
def test_bad_fields(fields: dict[str, Any], reason: str) -> None:
    result = refused(Notification(TOKEN, PAYLOAD, **fields))
    assert (result.verdict, result.reason) == (Verdict.INVALID, reason)


def test_unhashable_fields_are_invalid_too() -> None:
    assert refused(Notification(TOKEN, PAYLOAD, topic=["x"])).verdict is Verdict.INVALID  # type: ignore[arg-type]  # what the types forbid


def test_without_any_topic() -> None:
    result = refused(Notification(TOKEN, PAYLOAD), requests(None))
    assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "MissingTopic")
    # A certificate of a single topic implies it.
    assert "apns-topic" not in built(Notification(TOKEN, PAYLOAD), requests(None, token_auth=False))[0]


def test_location_needs_a_key() -> None:
    result = refused(Notification(TOKEN, PAYLOAD, push_type="location"), requests(token_auth=False))
    assert result.reason == "InvalidPushType"


def test_a_bad_topic_of_the_client_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="bundle id"):
        requests("com example")


def test_templates_are_shared_by_pushes_of_one_kind_and_bounded() -> None:
    builder = requests()
    first, second = (build(Notification(TOKEN, PAYLOAD), builder) for _ in range(2))
    assert isinstance(first, Exchange)
    assert isinstance(second, Exchange)
    assert first.template is second.template
    for number in range(5000):
        build(Notification(TOKEN, PAYLOAD, topic=f"com.example.app{number}"), builder)
    assert len(builder._kinds) <= 4096


def test_one_bad_push_does_not_spoil_the_next() -> None:
    builder = requests()
    refused(Notification(TOKEN, PAYLOAD, push_type="fanfare"), builder)  # type: ignore[arg-type]
    built(Notification(TOKEN, PAYLOAD), builder)
    refused(Notification(TOKEN, PAYLOAD, push_type="fanfare"), builder)  # type: ignore[arg-type]


def test_a_burst() -> None:
    """What cannot be sent does not hinder the others, kinds alternate, and a push of another class ends it."""
    made: list[Exchange] = []
    refused: list[Result] = []

    class Own(Notification):
        pass

    types: list[Any] = ["alert", "voip", "alert", "voip", "voip", "nonsense", "alert"]
    stranger = Own(TOKEN, PAYLOAD)
    pushes = [Notification(TOKEN, PAYLOAD, push_type=each) for each in types]
    pushes[2:2] = [Notification("xx", PAYLOAD), Notification(TOKEN, {"a": object()})]
    source = iter([*pushes, stranger, *pushes])
    builder = requests()
    assert builder.build(source, Notification, lambda finished: None, 10.0, made, refused) is stranger
    assert len(list(source)) == len(pushes)
    sent = [dict(exchange.template.fields)[b"apns-push-type"].decode() for exchange in made]
    assert sent == [each for each in types if each != "nonsense"]
    assert [exchange.context for exchange in made] == [*pushes[:2], *pushes[4:7], pushes[8]]
    assert [result.push for result in refused] == [*pushes[2:4], pushes[7]]


def test_a_source_may_change_in_place_what_it_hands_out() -> None:
    """Each push is made a request before the next is read."""
    payload: dict[str, Any] = {"aps": {"badge": 0}}

    def source() -> Iterator[Notification]:
        for badge in range(5):
            payload["aps"]["badge"] = badge
            yield Notification(TOKEN, payload)

    made: list[Exchange] = []
    assert requests().build(source(), Notification, lambda finished: None, 10.0, made, []) is END
    assert [orjson.loads(exchange.body)["aps"]["badge"] for exchange in made] == list(range(5))
