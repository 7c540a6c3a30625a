"""A field of a wrong type in one push is INVALID, and the sentence says which field, what it must be and what it is."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from pushcore.apns.broadcast import BroadcastRequest
from pushcore.apns.broadcast import build as build_broadcast
from pushcore.apns.dispatcher import _find
from pushcore.apns.request import ApnsRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.apns import PUSH_TYPES, Broadcast, Notification, PushType
from pushcore.models.aps import Aps
from pushcore.models.warned import forget
from pushcore.payloads.apns_rows import ApnsRow
from pushcore.requests import build_one
from pushcore.results import Result, Verdict

TOKEN = "ab" * 32
PAYLOAD: dict[str, Any] = {"aps": {"alert": "Hi"}}
NOW = 1_790_000_000
UPDATE: dict[str, Any] = {"aps": {"event": "update", "timestamp": NOW, "content-state": {}}}
ID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"

NO_STRINGS: list[Any] = [b"x", 7, 1.5, True, ["x"], {"x": 1}, {"x"}, ("x",), object()]
NO_MOMENTS: list[Any] = ["soon", str(NOW), float(NOW), True, [NOW], b"1", {}, object()]


def requests() -> ApnsRequestBuilder:
    return ApnsRequestBuilder(
        "api.push.apple.com", "com.example.app", token_auth=True, now=lambda: float(NOW)
    )


def build(push: Notification, builder: ApnsRequestBuilder | None = None) -> Exchange | Result:
    return build_one(builder or requests(), push, lambda finished: None, 10.0)


def detail_of(push: Any, builder: ApnsRequestBuilder | None = None) -> str:
    result = build_broadcast(push, requests()) if isinstance(push, Broadcast) else build(push, builder)
    assert isinstance(result, Result)
    assert (result.push is push, result.verdict, result.attempts) == (True, Verdict.INVALID, 0)
    assert isinstance(result.detail, str)
    assert len(result.detail) < 600
    return result.detail


def header_of(push: Notification, name: str) -> str:
    exchange = build(push)
    assert isinstance(exchange, Exchange), exchange
    return dict(exchange.own_fields)[name.encode()].decode()


def name_of(value: object) -> str:
    return "None" if value is None else type(value).__name__


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        ("token", [*NO_STRINGS, None, bytearray(b"ab"), memoryview(b"ab")], "a string of hexadecimal digits"),
        (
            "payload",
            ["text", 7, None, ["x"], {"x"}, object(), bytearray(b"{}")],
            "a dict, JSON in bytes, or an Aps",
        ),
        ("topic", NO_STRINGS, "a string"),
        ("push_type", [None, 7, b"alert", ["alert"], {"alert"}], ""),
        ("priority", [True, 10.0, "10", b"10", [10], {10}, {}, object()], "1, 5 or 10"),
        ("expiration", NO_MOMENTS, "UNIX seconds, a datetime or a timedelta"),
        ("collapse_id", NO_STRINGS, "a string"),
        ("apns_id", [*NO_STRINGS, uuid], "a string or a uuid.UUID"),
    ],
)
def test_each_field_of_a_notification(field: str, values: list[Any], expected: str) -> None:
    for value in values:
        push = Notification(TOKEN, PAYLOAD)
        setattr(push, field, value)
        text = detail_of(push)
        assert field in text
        assert expected in text
        if expected:
            assert text.endswith(f", not {name_of(value)}")


@pytest.mark.parametrize("value", [True, 10.0, "10"])
def test_a_priority_that_equals_a_right_one_is_wrong_after_it_too(value: Any) -> None:
    builder = requests()
    for right in (1, 10):
        push = Notification(TOKEN, PAYLOAD)
        push.priority = right
        assert isinstance(build(push, builder), Exchange)
    assert "priority must be" in detail_of(Notification(TOKEN, PAYLOAD, priority=value), builder)


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        ("channel_id", [*NO_STRINGS, None], "a string"),
        ("payload", ["text", 7, None, ["x"], object()], "a dict, JSON in bytes, or an Aps"),
        ("topic", NO_STRINGS, "a string"),
        ("expiration", [*NO_MOMENTS, None], "UNIX seconds, a datetime or a timedelta"),
        ("priority", [None, True, 10.0, "10", [10]], "1, 5 or 10"),
        ("request_id", NO_STRINGS, "a string or a uuid.UUID"),
    ],
)
def test_each_field_of_a_broadcast(field: str, values: list[Any], expected: str) -> None:
    for value in values:
        fields: dict[str, Any] = {"channel_id": "abc=", "payload": UPDATE, field: value}
        text = detail_of(Broadcast(**fields))
        assert field.replace("channel_id", "channel id") in text
        assert expected in text
        assert f", not {name_of(value)}" in text or field == "priority"


@pytest.mark.parametrize("field", Notification.__slots__)
def test_a_subclass_that_leaves_out_a_field(field: str) -> None:
    push = Notification(TOKEN, PAYLOAD)
    delattr(push, field)
    text = detail_of(push)
    assert text == f"the push has no {field}: Notification never set it"


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"aps": {"badge": {1}}}, "payload.aps.badge must be a value of JSON, not set"),
        ({"aps": {"alert": b"Hi"}}, "payload.aps.alert must be a value of JSON, not bytes"),
        ({"aps": {}, 7: 8}, "the keys of payload must be strings, not int (7)"),
        ({"n": 1 << 70}, "payload.n must be a whole number of 64 bits"),
        (Aps("Hi", custom={"n": object()}), "payload.n must be a value of JSON, not object"),
        (Aps("Hi", custom={"n": float("inf")}), "payload.n is inf, a number that JSON does not have"),
    ],
)
def test_where_a_payload_cannot_be_json(payload: Any, words: str) -> None:
    assert words in detail_of(Notification(TOKEN, payload))


def test_one_invalid_push_does_not_end_the_burst() -> None:
    made: list[Exchange] = []
    rejected: list[Result] = []
    wrong: Any = None
    pushes = [Notification(wrong if at % 3 else TOKEN, PAYLOAD) for at in range(9)]
    requests().build(pushes, Notification, lambda finished: None, 10.0, made, rejected)
    assert (len(made), len(rejected)) == (3, 6)


def test_the_parts_of_a_push_type() -> None:
    wrong: Any
    for name, wrong in (
        ("name", b"new"),
        ("suffix", None),
        ("limit", "4096"),
        ("limit", 0),
        ("priorities", [5, 10]),
        ("priorities", ("5",)),
        ("priorities", ()),
        ("token_auth_only", 1),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            PushType(**{"name": "new", "suffix": ".new", name: wrong})
    assert PushType("new", ".new").priorities == PUSH_TYPES["alert"].priorities


# --- times, ids and bytes in other forms ------------------------------------------------------------------------------

MOMENT = datetime.fromtimestamp(NOW, UTC)


@pytest.mark.parametrize(
    ("expiration", "header"),
    [
        (MOMENT, NOW),
        (MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30))), NOW),
        (MOMENT + timedelta(microseconds=999_999), NOW),
        (timedelta(hours=1), NOW + 3600),
        (timedelta(seconds=0.5), NOW),
        (timedelta(0), 0),
        (0, 0),
        (NOW, NOW),
    ],
)
def test_expirations(expiration: Any, header: int) -> None:
    assert header_of(Notification(TOKEN, PAYLOAD, expiration=expiration), "apns-expiration") == str(header)
    request = build_broadcast(Broadcast("abc=", UPDATE, expiration=expiration), requests())
    assert isinstance(request, BroadcastRequest)
    assert (b"apns-expiration", str(header).encode()) in request.own_fields


@pytest.mark.parametrize(
    ("expiration", "words"),
    [
        (datetime.fromtimestamp(NOW), "a datetime without a time zone"),  # that is what is tried
        (datetime(1970, 1, 2, tzinfo=UTC), "seconds from now"),
        (datetime(1960, 1, 1, tzinfo=UTC), "negative"),
        (timedelta(seconds=-1), "negative"),
        (timedelta(days=999_999_999), "milliseconds"),
        (MOMENT.date(), "not date"),
    ],
)
def test_implausible_expirations(expiration: Any, words: str) -> None:
    assert words in detail_of(Notification(TOKEN, PAYLOAD, expiration=expiration))


def test_ids_as_uuids() -> None:
    push = Notification(TOKEN, PAYLOAD, apns_id=uuid.UUID(ID))
    assert header_of(push, "apns-id") == ID
    assert _find(push, b"", "id") == ID
    assert Result(push, Verdict.UNKNOWN).to_dict()["push"]["apns_id"] == ID
    request = build_broadcast(Broadcast("abc=", UPDATE, request_id=uuid.UUID(ID)), requests())
    assert isinstance(request, BroadcastRequest)
    assert (b"apns-request-id", ID.encode()) in request.own_fields


@pytest.mark.parametrize("before", [b"", b"\n", b"\r\n\t ", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_json_in_bytes_with_something_before_it(before: bytes) -> None:
    content = orjson.dumps(PAYLOAD)
    exchange = build(Notification(TOKEN, before + content))
    assert isinstance(exchange, Exchange)
    assert exchange.body == content


def test_bytes_that_are_nothing_but_white_space() -> None:
    result = build(Notification(TOKEN, b" \n"))
    assert isinstance(result, Result)
    assert result.reason == "PayloadEmpty"
    assert "not a JSON object" in detail_of(
        Notification(TOKEN, orjson.dumps(PAYLOAD).decode().encode("utf-16"))
    )


# --- tokens in other forms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "form"),
    [
        ("q83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq80=", "seems to be base64"),
        ("q83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq80", "seems to be base64"),
        ("-_" * 40, "seems to be base64"),
        ("<" + " ".join(["abcd1234"] * 8) + ">", "is the description of an NSData object"),
        ("<abcd1234>", "is the description of an NSData object"),
        (
            "{length = 32, bytes = 0x124686a5 556a72ca ... 8f80dde4}",
            "is the description of a token by iOS 13",
        ),
        ("{length=32,bytes=0x124686a5556a72ca}", "is the description of a token by iOS 13"),
        ("0x" + TOKEN, 'begins with "0x"'),
        (TOKEN + "\n", "has white space around it"),
        (f" {TOKEN}", "has white space around it"),
        ("\ufeff" + TOKEN, "has an invisible character in it"),
        (TOKEN[:32] + "\u200b" + TOKEN[32:], "has an invisible character in it"),
        (TOKEN[:32] + "\x00" + TOKEN[32:], "has a control character in it"),
        (" ".join(["abcd1234"] * 8), "has separators between its hexadecimal digits"),
        (":".join(["ab"] * 32), "has separators between its hexadecimal digits"),
        (f'"{TOKEN}"', "has a quotation mark around it"),
        (f"'{TOKEN}", "has a quotation mark around it"),
        (f"\u201c{TOKEN}\u201d", "has a quotation mark around it"),
        (f"{TOKEN},", "has a comma or semicolon at an end"),
        (f"b'{TOKEN}'", "is the text of Python's bytes"),
        (f'{{"type": "ios", "data": "{TOKEN}"}}', "begins like JSON"),
        (f'["{TOKEN}"]', "begins like JSON"),
        (f"token={TOKEN}", "has the name of a field in front of it"),
        (f"deviceToken: {TOKEN}", "has the name of a field in front of it"),
        ("%3C" + TOKEN + "%3E", "is percent-encoded"),
        (TOKEN[:-1], "has an odd number of hexadecimal digits"),
        (TOKEN[:40] + "…", "is cut short"),
        ("null", "is a word that programs write"),
        ("(null)", "is a word that programs write"),
        ("https://web.push.apple.com/abc", "is a URL"),
        ("dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134, "is a registration token of FCM"),
        ("dPx6Y0k3Qm2Vb1N9zW8aLk", "is a Firebase installation id"),
        ("ExponentPushToken[abc]", "is Expo's own"),
        ("eabeae54-14a8-11e5-b60b-1697f925ec7b", "is Expo's own"),
        ("é" * 32, "has a character in it that is not ASCII"),
    ],
)
def test_the_form_of_a_token_is_named(token: str, form: str) -> None:
    text = detail_of(Notification(token, PAYLOAD))
    assert text.startswith(f"the device token is not hexadecimal: it {form}")
    assert token not in text


def test_no_token_at_all() -> None:
    assert "2 to 512" in detail_of(Notification("", PAYLOAD))
    assert detail_of(Notification("zz", PAYLOAD)) == "the device token is not hexadecimal: it has 'z' in it"


@pytest.mark.parametrize("form", [dict, orjson.dumps])
def test_a_value_that_apple_ignores_is_a_warning_once(form: Any, caplog: pytest.LogCaptureFixture) -> None:
    forget()
    builder = requests()
    payload = {"aps": {"alert": "T", "badge": "1", "mutable-content": True}}
    for _ in range(3):
        assert isinstance(build(Notification(TOKEN, form(payload)), builder), Exchange)
    assert caplog.messages == [
        "a payload for APNs: badge must be a number, not a string",
        "a payload for APNs: mutable-content must be the number 1, not true",
    ]


@pytest.mark.parametrize(
    ("aps", "words"),
    [
        (Aps(alert={"title": 5}), "alert.title must be a string, not a number"),  # type: ignore[arg-type]
        (Aps("T", sound={"volume": "1"}), "sound.volume must be a number, not a string"),  # type: ignore[arg-type]
    ],
)
def test_a_typed_payload_with_a_value_that_apple_ignores_is_refused(aps: Aps, words: str) -> None:
    assert words in detail_of(Notification(TOKEN, aps))


REFERENCE_DATE = NOW - 978_307_200
"""Seconds since 2001, as in Swift."""


@pytest.mark.parametrize("form", [dict, orjson.dumps])
@pytest.mark.parametrize("name", ["timestamp", "stale-date", "dismissal-date"])
@pytest.mark.parametrize(
    ("value", "words"), [(3600, "is in seconds from now"), (REFERENCE_DATE, "is in seconds since 2001")]
)
def test_moments_that_do_not_count_from_1970(form: Any, name: str, value: int, words: str) -> None:
    aps = {"event": "end", "timestamp": NOW, "content-state": {}, name: value}
    push = Notification(TOKEN, form({"aps": aps}), push_type="liveactivity")
    assert f"{name} {words}" in detail_of(push)
    fields: Any = {"timestamp": NOW, name.replace("-", "_"): value}
    with pytest.raises(ValueError, match=words):
        Aps(event="end", **fields)


@pytest.mark.parametrize("moment", [0, 1, NOW - 1, NOW - 86_400 * 365, -62_135_769_600])
def test_an_activity_may_be_dismissed_in_the_past(moment: int) -> None:
    aps = {"event": "end", "timestamp": NOW, "dismissal-date": moment}
    assert isinstance(build(Notification(TOKEN, {"aps": aps})), Exchange)


def test_an_expiration_since_2001() -> None:
    assert "is in seconds since 2001" in detail_of(Notification(TOKEN, PAYLOAD, expiration=REFERENCE_DATE))


def test_the_payload_of_a_file_is_warned_of_when_the_file_is_read_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forget()
    content = b'{"aps":{"alert":"T","badge":"1"}}'
    push = ApnsRow(1, TOKEN, content, None, "alert", None, None, None, ID)
    assert isinstance(build(push), Exchange)
    assert isinstance(build(Notification(TOKEN, b'{"aps":{"alert":"T"}}')), Exchange)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("payload", "push_type", "words"),
    [
        (b'{"aps":{"event":"end","timestamp":1}}', None, "its event belongs to a Live Activity"),
        (b'{"aps":{"content-available":1}}', None, "content-available alone has no effect"),
        (b"{}", "alert", "no part of it is visible"),
        (Aps(), None, "no part of it is visible"),
        ({}, "background", "has no effect without content-available"),
        ({"data": 1}, "liveactivity", "has no effect without an event"),
        ({"aps": "Hi"}, "voip", "aps must be an object, not a string"),
    ],
)
def test_a_payload_that_does_nothing_is_warned_of_whatever_its_form(
    payload: Any, push_type: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    forget()
    assert isinstance(build(Notification(TOKEN, payload, push_type=push_type)), Exchange)
    assert [words in message for message in caplog.messages] == [True]


def test_a_uuid_is_a_collapse_id() -> None:
    push = Notification(TOKEN, PAYLOAD, collapse_id=uuid.UUID(ID))  # type: ignore[arg-type]
    assert header_of(push, "apns-collapse-id") == ID
