"""A notification becomes a request or a result that says why not; nothing that is wrong with one push raises."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from pushcore.apns import request
from pushcore.apns.request import MAX_TOKEN, ApnsRequestBuilder
from pushcore.errors import ConfigurationError
from pushcore.http2.exchange import Exchange
from pushcore.models import warned
from pushcore.models.apns import PUSH_TYPES, ApnsPushType, Notification, PushType
from pushcore.models.aps import Aps
from pushcore.requests import END, build_one
from pushcore.results import Result, Verdict
from tests.support.strange_values import Array

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
    fields = {
        name.decode(): value.decode() for name, value in (*exchange.template.fields, *exchange.own_fields)
    }
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
        ({"collapse_id": " "}, "BadCollapseId"),
        ({"collapse_id": "game-1 "}, "BadCollapseId"),
        ({"collapse_id": " game-1"}, "BadCollapseId"),
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
    exchanges: list[Exchange] = []
    rejected: list[Result] = []

    class Subclass(Notification):
        pass

    types: list[Any] = ["alert", "voip", "alert", "voip", "voip", "nonsense", "alert"]
    stranger = Subclass(TOKEN, PAYLOAD)
    pushes = [Notification(TOKEN, PAYLOAD, push_type=push_type) for push_type in types]
    pushes[2:2] = [Notification("xx", PAYLOAD), Notification(TOKEN, {"a": object()})]
    source = iter([*pushes, stranger, *pushes])
    builder = requests()
    assert builder.build(source, Notification, lambda ended: None, 10.0, exchanges, rejected) is stranger
    assert len(list(source)) == len(pushes)
    sent = [dict(exchange.template.fields)[b"apns-push-type"].decode() for exchange in exchanges]
    assert sent == [push_type for push_type in types if push_type != "nonsense"]
    assert [exchange.context for exchange in exchanges] == [*pushes[:2], *pushes[4:7], pushes[8]]
    assert [result.push for result in rejected] == [*pushes[2:4], pushes[7]]


def test_a_source_may_change_its_pushes_in_place() -> None:
    """Each push is made a request before the next is read."""
    payload: dict[str, Any] = {"aps": {"badge": 0}}

    def source() -> Iterator[Notification]:
        for badge in range(5):
            payload["aps"]["badge"] = badge
            yield Notification(TOKEN, payload)

    made: list[Exchange] = []
    assert requests().build(source(), Notification, lambda finished: None, 10.0, made, []) is END
    assert [orjson.loads(exchange.body)["aps"]["badge"] for exchange in made] == list(range(5))


# --- what cannot be meant ---------------------------------------------------------------------------------------------

NOW = 1_790_000_000
UPDATE: dict[str, Any] = {"event": "update", "timestamp": NOW, "content-state": {"score": 1}}


@pytest.mark.parametrize("expiration", [3600, 1, NOW * 1000, NOW * 10**9])
def test_an_expiration_in_other_units(expiration: int) -> None:
    result = refused(Notification(TOKEN, PAYLOAD, expiration=expiration))
    assert result.reason == "BadExpirationDate"
    unit = {3600: "seconds from now", 1: "seconds from now", NOW * 1000: "milliseconds"}
    assert f"the expiration is in {unit.get(expiration, 'nanoseconds')}: it takes" in str(result.detail)


@pytest.mark.parametrize("expiration", [0, NOW])
def test_plausible_expirations(expiration: int) -> None:
    assert built(Notification(TOKEN, PAYLOAD, expiration=expiration))[0]["apns-expiration"] == str(expiration)


@pytest.mark.parametrize("value", [NOW * 1000, NOW + 0.5, float(NOW), str(NOW), None])
@pytest.mark.parametrize("name", ["timestamp", "stale-date", "dismissal-date"])
def test_times_of_a_live_activity_in_every_push(name: str, value: Any) -> None:
    builder = requests()
    right, wrong = {"aps": UPDATE}, {"aps": {**UPDATE, name: value}}
    for payload in (right, wrong, right, wrong):
        for form in (payload, orjson.dumps(payload)):
            push = Notification(TOKEN, form, push_type="liveactivity")
            if payload is right:
                built(push, builder)
            else:
                assert f"{name} is " in str(refused(push, builder).detail)


def test_a_live_activity_in_bytes_is_read_once_for_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    payload, builder = orjson.dumps({"aps": UPDATE}), requests()
    read: list[Any] = []
    monkeypatch.setattr(request, "check_moments", read.append)
    for _ in range(3):
        built(Notification(TOKEN, payload, push_type="liveactivity"), builder)
    assert read == [payload]


def in_one_burst(*payloads: bytes, builder: ApnsRequestBuilder | None = None) -> list[bool]:
    """Of each payload, whether its push was accepted."""
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    pushes = [Notification(TOKEN, payload) for payload in payloads]
    (builder or requests()).build(pushes, Notification, lambda finished: None, 10.0, exchanges, rejected)
    accepted = [id(exchange.context) for exchange in exchanges]
    assert all(result.verdict is Verdict.INVALID for result in rejected)
    return [id(push) in accepted for push in pushes]


@pytest.mark.parametrize(
    "payload", [b'{"aps":', b"{", b'{"aps": {"alert": "Hi"}', b"{'aps': {}}", b'{"n": NaN}', b'{"a": "\xe9"}']
)
def test_bytes_that_are_no_json_are_invalid(payload: bytes) -> None:
    builder = requests()
    right = b'{"aps": {"alert": "Hi"}}'
    for _ in range(2):  # alone, as by client.send, and after right ones
        assert "the payload is not JSON" in str(refused(Notification(TOKEN, payload), builder).detail)
        assert built(Notification(TOKEN, right), builder)[1] == right
    assert in_one_burst(*[payload] * 3, right, right, builder=requests()) == [False] * 3 + [True] * 2
    # Of different bytes in one burst, the ends are checked.
    other = b'{"aps": {"alert": "Ho"}}'
    assert in_one_burst(right, other, b'{"aps":', b'{"aps": {}}\n') == [True, True, False, True]


def test_bytes_that_all_devices_share_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    payload, builder = orjson.dumps(PAYLOAD), requests()
    parsed: list[bytes] = []
    monkeypatch.setattr(request, "content_of", parsed.append)
    for _ in range(3):
        assert in_one_burst(payload, payload, builder=builder) == [True, True]
    assert parsed == [payload]


class Hostile:
    """An object that fails whenever it is looked at."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("never")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("never")


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "payload",
        "topic",
        "push_type",
        "priority",
        "expiration",
        "collapse_id",
        "apns_id",
        "environment",
    ],
)
def test_an_object_that_fails_when_it_is_looked_at_costs_its_push_alone(name: str) -> None:
    fields: dict[str, Any] = {"token": TOKEN, "payload": PAYLOAD, name: Hostile()}
    assert name in str(refused(Notification(**fields)).detail)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Array(), "must be a value of JSON, not Array"),
        (Decimal("sNaN"), "must be a value of JSON, not Decimal"),
        (MappingProxyType({"title": "Hi"}), "must be a dict, not mappingproxy"),
        (UserDict(title="Hi"), "must be a dict, not UserDict"),
    ],
)
@pytest.mark.parametrize("name", ["alert", "badge", "content-available", "event", "interruption-level", "x"])
def test_a_value_in_the_payload_is_not_told_as_a_token(name: str, value: Any, words: str) -> None:
    """Whatever it raises, in the first push of its kind, whose payload is looked at, and in the next."""
    builder = requests()
    payload = {"aps": {"alert": "Hi", name: value}}
    for _ in range(2):
        detail = str(refused(Notification(TOKEN, payload), builder).detail)
        assert detail.startswith(f"the payload cannot be JSON: payload.aps.{name} {words}")
    payload = {"aps": {**UPDATE, "timestamp": value}}
    detail = str(refused(Notification(TOKEN, payload, push_type="liveactivity")).detail)
    assert "timestamp" in detail
    assert "token" not in detail


def test_a_live_activity_has_its_limit_too() -> None:
    payload = {"aps": UPDATE, "x": "y" * 4096}
    assert refused(Notification(TOKEN, payload)).reason == "PayloadTooLarge"
    detail = refused(Notification(TOKEN, b"{nonsense", push_type="liveactivity")).detail
    assert "the payload is not JSON" in str(detail)


@pytest.mark.parametrize(
    ("payload", "push_type", "words"),
    [
        (Aps(event="end", timestamp=NOW), "alert", "its event belongs to a Live Activity"),
        (Aps(content_available=True), "alert", "content-available alone has no effect"),
        (
            Aps("Hi", content_available=True),
            "background",
            "a background push shows nothing, but it has alert",
        ),
        (Aps(), "background", "has no effect without content-available"),
        (Aps(content_changed=True), None, "expected widgets or controls"),
        (Aps(), "widgets", 'without "content-changed": true'),
        (Aps("Hi", custom={"n": [float("nan")]}), None, "a number that JSON does not have"),
    ],
)
def test_a_typed_payload_that_does_nothing_is_refused(payload: Aps, push_type: Any, words: str) -> None:
    assert words in str(refused(Notification(TOKEN, payload, push_type=push_type)).detail)


def test_typed_payloads_of_every_kind_are_built() -> None:
    for payload, push_type, expected in (
        (Aps(content_changed=True), "widgets", {"content-changed": True}),
        (Aps(content_changed=True), "controls", {"content-changed": True}),
        (Aps(content_available=True), None, {"content-available": 1}),
        (Aps(custom={"n": 1}), "voip", {}),
        (Aps(custom={"n": 1}), None, {}),  # nothing is visible, which may be meant
    ):
        any_push_type: Any = push_type
        assert (
            orjson.loads(built(Notification(TOKEN, payload, push_type=any_push_type))[1])["aps"] == expected
        )


def test_a_payload_without_effect_is_warned_about_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warned.forget()
    builder = requests()
    for _ in range(3):
        built(Notification(TOKEN, {"aps": {**UPDATE, "event": "updte"}}), builder)
        built(Notification(TOKEN, {"aps": UPDATE}, push_type="alert"), builder)
        built(Notification(TOKEN, {"aps": {"alert": "Hi", "badge": float("nan")}}, topic="com.x"), builder)
    assert caplog.messages == [
        "a payload for APNs: its event 'updte' is none of start, update, end",
        "a payload for APNs: its event belongs to a Live Activity and has no effect with push type alert; "
        "expected liveactivity",
        "a payload for APNs: payload.aps.badge is nan, a number that JSON does not have and that would become null",
    ]
    warned.forget()


def test_a_push_type_that_apple_has_added_since() -> None:
    new = PushType("future", ".push-type.future", priorities=(1, 5, 7, 10))
    fields, _ = built(Notification(TOKEN, {"aps": {}}, push_type=new, priority=7))  # type: ignore[arg-type]
    assert fields["apns-push-type"] == "future"
    assert fields["apns-topic"] == "com.example.app.push-type.future"
    assert fields["apns-priority"] == "7"
    for wrong in (PushType("a b", ""), PushType("", ".x"), PushType("x", ".x\r\n")):
        assert refused(Notification(TOKEN, PAYLOAD, push_type=wrong)).reason == "InvalidPushType"
    wrong_name: Any = "future"
    detail = refused(Notification(TOKEN, PAYLOAD, push_type=wrong_name)).detail
    assert "accessory, or a PushType for a new one" in str(detail)


# --- keys for some topics, and environments ---------------------------------------------------------------------------


def builder_of(**options: Any) -> ApnsRequestBuilder:
    return ApnsRequestBuilder("api.push.apple.com", "com.example.app", token_auth=True, **options)


def test_a_topic_that_the_key_is_not_for_is_refused_until_it_is_replaced() -> None:
    builder = builder_of(key_topics=frozenset({"com.example.app"}))
    built(Notification(TOKEN, PAYLOAD, topic="com.example.app.voip", push_type="voip"), builder)
    other = Notification(TOKEN, PAYLOAD, topic="com.other")
    result = refused(other, builder)
    assert (result.reason, result.verdict) == ("TopicDisallowed", Verdict.MISCONFIGURED)
    assert "the key is not valid for the topic com.other" in str(result.detail)
    builder.use(token_auth=True, key_topics=None)
    built(other, builder)
    assert builder.takes("com.other")


def test_a_client_without_a_topic_takes_no_push_without_one_where_the_key_names_some() -> None:
    builder = ApnsRequestBuilder("h", None, token_auth=True, key_topics=frozenset({"a.b"}))
    assert (builder.takes(None), builder.takes("a.b"), builder.takes("a.c")) == (False, True, False)


def test_a_token_of_the_other_environment_is_refused_and_one_of_none_is_not() -> None:
    builder = builder_of(environment="production")
    built(Notification(TOKEN, PAYLOAD), builder)
    built(Notification(TOKEN, PAYLOAD, environment="production"), builder)
    result = refused(Notification(TOKEN, PAYLOAD, environment="sandbox"), builder)
    assert "the token belongs to sandbox, and this client sends to production" in str(result.detail)
    result = refused(Notification(TOKEN, PAYLOAD, environment="test"), builder)  # type: ignore[arg-type]
    assert "the environment must be production or sandbox, not 'test'" in str(result.detail)
    assert [builder.takes_environment(name) for name in (None, "production", "sandbox")] == [
        True,
        True,
        False,
    ]
    assert builder_of().takes_environment("sandbox")


def test_a_push_for_another_client_ends_a_burst_that_has_begun() -> None:
    """So that what comes before it is sent first; at the beginning of one it is this client's to refuse."""
    own, others = (
        Notification(TOKEN, PAYLOAD, environment=environment) for environment in ("production", "sandbox")
    )
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    builder = builder_of(environment="production")
    source = iter([own, others, own])
    assert builder.build(source, Notification, lambda _: None, 10.0, exchanges, rejected) is others
    assert ([each.context for each in exchanges], rejected, list(source)) == ([own], [], [own])
    exchanges.clear()
    assert builder.build(iter([others]), Notification, lambda _: None, 10.0, exchanges, rejected) is END
    assert [each.push for each in rejected] == [others]


def test_a_field_that_was_never_set_is_named() -> None:
    push = Notification.__new__(Notification)
    assert "Notification never set it" in str(refused(push).detail)
