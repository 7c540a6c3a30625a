"""What Google would refuse is found before it is sent: targets, data, parts, durations, sizes."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.fcm.request import LegacyRequestBuilder
from pushcore.models.fcm import (
    AndroidConfig,
    AndroidConfigV2,
    ApnsConfig,
    FcmNotification,
    LegacyMessage,
    Message,
)
from pushcore.results import Result

from .building import APNS, FID, TOKEN, build, refused, requests, sent, to


@pytest.mark.parametrize(
    "target", [{"token": TOKEN}, {"token": FID}, {"fid": FID}, {"topic": "a-b_c.d~e%1"}, {"token": "odd"}]
)
def test_targets(target: dict[str, str]) -> None:
    assert sent(Message(**target)) == {"message": target}  # type: ignore[arg-type]  # fields by their names


def test_one_target_exactly() -> None:
    assert "no target" in refused(Message(data={"a": "b"}))
    for pair in (
        {"token": TOKEN, "fid": FID},
        {"token": TOKEN, "topic": "a"},
        {"fid": FID, "condition": "x"},
    ):
        text = refused(Message(**pair))  # type: ignore[arg-type]  # fields by their names
        assert " and ".join(pair) in text


@pytest.mark.parametrize("name", ["token", "fid"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "empty"),
        (7, "string"),
        (b"a:b", "string"),
        ([":"], "string"),
        (APNS, "APNs"),
        (APNS.upper() * 2, "APNs"),
        ("ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]", "getDevicePushTokenAsync"),
        ("ExpoPushToken[abc]", "getDevicePushTokenAsync"),
        ("eabeae54-14a8-11e5-b60b-1697f925ec7b", "getDevicePushTokenAsync"),
        ("x:" * 4000, "longer"),
    ],
)
def test_tokens_that_are_not_fcms(name: str, value: Any, words: str) -> None:
    assert words in refused(Message(**{name: value}))


ODDITIES = {
    "{},": "has a comma or semicolon at an end",
    "{};": "has a comma or semicolon at an end",
    ";{}": "has a comma or semicolon at an end",
    "<{}>": "angle brackets",
    "<{}": "has '<' in it",
    '"{}"': "quotation mark",
    "'{}'": "quotation mark",
    "`{}`": "quotation mark",
    '{}"': "quotation mark",
    "token={}": "name of a field",
    "registration_token={}": "name of a field",
    "fcm_token:{}": "name of a field",
    "token={}&platform=android": "name of a field",
    "registration_id={}": "a platform or a field in front of it",
    "fcm:{}": "a platform or a field in front of it",
    "{}%20": "percent-encoded",
    "%20{}": "percent-encoded",
    "{}%0A": "percent-encoded",
    "{}&quot;": "semicolon",
    "https://fcm.googleapis.com/fcm/send/{}": "is a URL",
    "/{}": "has '/' before it",
    "{}/": "has '/' after it",
    "{}.": "has '.' after it",
    "{}:": "has ':' after it",
    "{}=": "has '=' after it",
    "({})": "has '(' before it",
    "[{}]": "begins like JSON",
    '["{}"]': "begins like JSON",
    "{}|": "has '|' after it",
    "{}#1": "has '#' after it",
    "{}?a": "has '?' after it",
    "{}@x": "has '@' after it",
    "*{}*": "has '*' before it",
    "{0}|{0}": "more than one token",
    "{0},{0}": "has ',' in it",
    "{}\\n": "has '\\\\' in it",
    "b'{}'": "Python's bytes",
    "{}...": "is cut short",
    "projects/p/messages/0:1%2f{}": "percent-encoded",
}


@pytest.mark.parametrize("form", ODDITIES)
def test_a_token_with_printable_characters_around_it_is_refused_and_its_form_named(form: str) -> None:
    token = form.format(TOKEN)
    for push in (Message(token=token), Message(token=token, validate_only=True), Message(fid=token)):
        assert ODDITIES[form] in refused(push)
    builder = LegacyRequestBuilder("fcm.example")
    for legacy in (LegacyMessage(to=token), LegacyMessage(registration_ids=[TOKEN, token])):
        assert ODDITIES[form] in refused(legacy, builder)


@pytest.mark.parametrize("character", "!\"#$%&'()*,;<>?@[\\]^`{|}")
def test_characters_of_no_token_are_refused_in_tokens_of_any_shape(character: str) -> None:
    for token in (TOKEN[:9] + character + TOKEN[9:], FID[:9] + character + FID[9:], f"a:{character}b"):
        assert refused(Message(token=token))
        assert refused(Message(fid=token))
        assert refused(LegacyMessage(to=token), LegacyRequestBuilder("fcm.example"))


def test_a_registration_token_is_no_fid() -> None:
    assert "set it as token" in refused(Message(fid=TOKEN))


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("/topics/news", "/topics/"),
        ("", "1 to 900"),
        ("a b", "1 to 900"),
        ("ä", "1 to 900"),
        ("x" * 901, "1 to 900"),
        ("a\n", "1 to 900"),
        (7, "string"),
    ],
)
def test_bad_topics(topic: Any, words: str) -> None:
    assert words in refused(Message(topic=topic))


@pytest.mark.parametrize(
    "condition",
    [
        "'news' in topics",
        "'a' in topics && ('b' in topics || 'c' in topics)",
        "!('a' in topics) && !'b' in topics",
        "((('a' in topics)))",
        " || ".join(f"'{topic}' in topics" for topic in "abcde"),
        '"a" in topics',
        "'a' in topics&&'b'  in  topics ",
    ],
)
def test_conditions(condition: str) -> None:
    assert sent(Message(condition=condition)) == {"message": {"condition": condition}}


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("", "ends"),
        ("'a' in topics &&", "ends"),
        ("!", "ends"),
        ("'a' in topics 'b' in topics", "surplus"),
        ("&& 'a' in topics", "surplus"),
        ("()", "surplus"),
        ("('a' in topics", "parentheses"),
        ("'a' in topics)", "parentheses"),
        ("'a' in topics & 'b' in topics", "cannot be read"),
        ("a in topics", "cannot be read"),
        ("'a' in topicsx", "cannot be read"),
        ("'a b' in topics", "1 to 900"),
        ("'/topics/a' in topics", "/topics/"),
        (" || ".join(f"'{topic}' in topics" for topic in "abcdef"), "6 topics"),
        (7, "string"),
    ],
)
def test_bad_conditions(condition: Any, words: str) -> None:
    assert words in refused(Message(condition=condition))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"n": 12}, "data['n'] must be a string, not 12"),
        ({"a": "b", "n": None}, "data['n']"),
        ({"n": {"x": "y"}}, "data['n']"),
        ({7: "x"}, "a key of data"),
        ([("a", 1)], "data['a']"),
        ("text", "object"),
        (7, "object"),
        ({"from": "x"}, "'from'"),
        ({"message_type": "x"}, "'message_type'"),
        ({"gcm": "x"}, "'gcm'"),
        ({"google": "x"}, "'google'"),
        ({"google.a": "x"}, "'google.a'"),
        ({"gcm.notification.a": "x"}, "'gcm.notification.a'"),
        ({"a": "\ud800"}, "data.a must be valid Unicode"),
    ],
)
def test_bad_data(data: Any, words: str) -> None:
    builder = requests()
    for _ in range(2):
        assert words in refused(to(data=data), builder)
    if isinstance(data, dict):
        for name in ("android", "android_v2", "webpush"):
            assert refused(to(**{name: {"data": data}}), builder)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"android": {}, "android_v2": {}}, "android and android_v2"),
        ({"android": {"key": 1}}, "unknown key 'key' in android"),
        ({"android": {"collapse_key": "a", "collapseKey": "b"}}, "twice"),
        ({"android": []}, "android must be an object"),
        ({"android": "x"}, "android must be an object"),
        ({"android": {"priority": "URGENT"}}, "NORMAL, HIGH"),
        ({"android": {"priority": True}}, "NORMAL, HIGH"),
        ({"android": {"priority": 2}}, "NORMAL, HIGH"),
        ({"android": {"direct_boot_ok": "yes"}}, "true or false"),
        ({"android": {"collapse_key": 1}}, "android.collapse_key must be a string"),
        ({"android": {"notification": {"id": 7}}}, "unknown key 'id' in android.notification"),
        ({"android": {"notification": {"visibility": "VISIBILITY_PRIVATE"}}}, "PRIVATE"),
        ({"android": {"notification": {"notification_priority": "HIGH"}}}, "PRIORITY_HIGH"),
        ({"android": {"notification": {"proxy": "MAYBE"}}}, "IF_PRIORITY_LOWERED"),
        ({"android": {"notification": {"color": "red"}}}, "colour"),
        ({"android": {"notification": {"event_time": "2026-01-15"}}}, "RFC 3339"),
        ({"android": {"notification": {"body_loc_args": "x"}}}, "list"),
        ({"android": {"notification": {"body_loc_args": [1]}}}, "body_loc_args[0] must be a string"),
        ({"android": {"notification": {"vibrate_timings": [1]}}}, "duration"),
        ({"android": {"notification": {"notification_count": -1}}}, "from 0"),
        ({"android": {"notification": {"notification_count": 1 << 31}}}, "32 bits"),
        ({"android": {"notification": {"light_settings": {"color": {"red": 2}}}}}, "0 to 1"),
        ({"android": {"fcm_options": {"analytics_label": "x" * 51}}}, "1 to 50"),
        ({"android_v2": {"priority": "HIGH"}}, "unknown key 'priority'"),
        ({"android_v2": {"remote_notification": {"notification": {"proxy": "DENY"}}}}, "unknown key 'proxy'"),
        ({"android_v2": {"remote_notification": {}, "backgroundSync": {}}}, "not both"),
        ({"android_v2": {"background_sync": {"x": 1}}}, "unknown key 'x'"),
        ({"android_v2": {"background_sync": True}}, "object"),
        ({"webpush": {"headers": {"TTL": 1}}}, "webpush.headers['TTL']"),
        ({"webpush": {"fcm_options": {"link": "http://e.com"}}}, "https"),
        ({"webpush": {"notification": "x"}}, "object"),
        ({"apns": {"headers": {"apns-priority": 10}}}, "apns.headers['apns-priority']"),
        ({"apns": {"payload": []}}, "object"),
        ({"apns": {"payload": {"aps": {"badge": "1"}}}}, "apns.payload.aps.badge must be a number"),
        ({"apns": {"payload": {"aps": 1}}}, "aps"),
        ({"notification": {"title": 1}}, "notification.title must be a string"),
        ({"notification": {"sound": "x"}}, "unknown key 'sound' in notification"),
        ({"notification": "x"}, "object"),
        ({"notification": FcmNotification(title=7)}, "notification.title"),  # type: ignore[arg-type]  # what the types forbid
        ({"fcm_options": {"analytics_label": "ä"}}, "1 to 50"),
        ({"validate_only": 1}, "true or false"),
        ({"android": object()}, "android must be an object, not object"),
        ({"android": {"data": {"a": b"x"}}}, "must be a string, not b'x'"),
        ({"apns": {"payload": {1: 2}}}, "the keys of apns.payload must be strings, not int (1)"),
        ({"android": AndroidConfig(ttl=object())}, "android.ttl must be a duration"),  # type: ignore[arg-type]  # what the types forbid
    ],
)
def test_bad_parts(fields: dict[str, Any], words: str) -> None:
    builder = requests()
    for _ in range(2):
        assert words in refused(to(**fields), builder)


@pytest.mark.parametrize("ttl", ["0s", "3.5s", "2419200s", "0.000000001s", 0, 2419200, 1.5])
def test_ttl(ttl: Any) -> None:
    assert sent(to(android=AndroidConfig(ttl=ttl)))["message"]["android"]["ttl"].endswith("s")


@pytest.mark.parametrize(
    "ttl",
    ["", "s", "5", "5m", "-1s", "1.s", "1e3s", " 1s", "2419201s", "2419200.1s", -1, float("nan"), 1e300],
)
def test_bad_ttl(ttl: Any) -> None:
    assert "android.ttl" in refused(to(android=AndroidConfig(ttl=ttl)))
    assert "android_v2.ttl" in refused(to(android_v2=AndroidConfigV2(ttl=ttl)))


def test_values_that_proto3_json_accepts() -> None:
    sent(
        to(
            android={
                "priority": "high",
                "ttl": None,
                "notification": {"notification_count": "3", "visibility": 1},
            }
        )
    )
    sent(to(notification={"title": None}))
    sent(to(android_v2=AndroidConfigV2(background_sync=True)))
    sent(to(android_v2=AndroidConfigV2(background_sync=False, remote_notification={})))
    sent(to(android_v2={}))


@pytest.mark.parametrize(
    ("target", "limit"),
    [
        ({"token": TOKEN}, 4096),
        ({"fid": FID}, 4096),
        ({"topic": "t"}, 2048),
        ({"condition": "'t' in topics"}, 2048),
    ],
)
def test_size_limits_to_the_byte(target: dict[str, Any], limit: int) -> None:
    room = limit - len("key") - len("title") - len("ä".encode())
    for over in (0, 1):
        data, notification = {"key": "\n" * (room + over)}, {"title": "ä"}
        versions = [
            Message(**target, data=data, notification=notification),
            Message(**target, notification=notification, android={"data": data}),
            Message(**target, data=data, android_v2={"remoteNotification": {"notification": notification}}),
            Message(**target, notification=notification, webpush={"data": data}),
            Message(**target, data={"a": "b"}, android={"data": data, "notification": notification}),
        ]
        for push in versions:
            if over:
                assert f"{limit + 1} bytes in keys and values, {limit} are allowed" in refused(push)
            else:
                sent(push)


def test_a_message_that_is_too_large_says_so_by_its_row() -> None:
    large, wrong = build(to(data={"key": "x" * 4096})), build(to(data={"from": "x"}))
    assert isinstance(large, Result)
    assert isinstance(wrong, Result)
    assert (large.row.too_large, wrong.row.too_large) == (True, False)


def test_size_of_the_apns_payload() -> None:
    room = 4096 - len('{"aps":{"alert":""}}')
    sent(to(apns={"payload": {"aps": {"alert": "x" * room}}}))
    assert "4097" in refused(to(apns=ApnsConfig(payload={"aps": {"alert": "x" * (room + 1)}})))
