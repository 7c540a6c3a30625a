"""A field of a wrong type in one message is INVALID and named; durations, times and tokens in the forms that people have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pushcore.auth.service_account import ServiceAccount
from pushcore.fcm.client import FcmClient
from pushcore.fcm.request import LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.aps import Aps
from pushcore.models.fcm import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    ApnsConfig,
    ApnsFcmOptions,
    FcmNotification,
    FcmOptions,
    LegacyMessage,
    LegacyNotification,
    LightSettings,
    Message,
    RemoteNotification,
    WebpushConfig,
    WebpushFcmOptions,
)
from pushcore.requests import END
from pushcore.results import Result

from .building import FID, TOKEN, build, refused, requests, sent, to

NOW = 1_790_000_000
WRONG: list[Any] = [b"x", 7j, {"x"}, object()]
"""What is a value of no field and of no JSON."""

ACCOUNT = ServiceAccount(
    rsa.generate_private_key(public_exponent=65537, key_size=2048),
    client_email="a@b.example",
    token_uri="https://oauth2.example/token",
    project_id="my-project",
)
APART = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "y" * 134


def legacy_refused(**values: Any) -> str:
    return refused(LegacyMessage(**values), LegacyRequestBuilder("gcm.example"))


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", Message.__slots__)
def test_each_field_of_a_message(name: str) -> None:
    for value in WRONG:
        push = to()
        if name in ("fid", "topic", "condition"):
            push = Message()
        setattr(push, name, value)
        text = refused(push)
        assert name in text
        assert "must be" in text


@pytest.mark.parametrize("name", ["token", "fid", "topic", "condition"])
@pytest.mark.parametrize("value", [7, True, b"a:b", [":"], ["a:b"], (":",), {":": 1}, 1.5])
def test_targets_are_strings(name: str, value: Any) -> None:
    text = refused(Message(**{name: value}))
    assert text == f"the {name} must be a string, not {type(value).__name__}"


@pytest.mark.parametrize("name", LegacyMessage.__slots__)
def test_each_field_of_a_legacy_message(name: str) -> None:
    for value in WRONG:
        push = LegacyMessage(to="t") if name not in ("registration_ids", "condition") else LegacyMessage()
        setattr(push, name, value)
        text = refused(push, LegacyRequestBuilder("gcm.example"))
        assert name in text
        assert "must be" in text


@pytest.mark.parametrize(
    ("wrap", "part", "where"),
    [
        (lambda part: {"notification": part}, FcmNotification, "notification"),
        (lambda part: {"fcm_options": part}, FcmOptions, "fcm_options"),
        (lambda part: {"android": part}, AndroidConfig, "android"),
        (lambda part: {"android_v2": part}, AndroidConfigV2, "android_v2"),
        (lambda part: {"webpush": part}, WebpushConfig, "webpush"),
        (lambda part: {"apns": part}, ApnsConfig, "apns"),
        (
            lambda part: {"android": AndroidConfig(notification=part)},
            AndroidNotification,
            "android.notification",
        ),
        (
            lambda part: {"android": AndroidConfig(notification=AndroidNotification(light_settings=part))},
            LightSettings,
            "android.notification.light_settings",
        ),
        (
            lambda part: {"android_v2": AndroidConfigV2(remote_notification=part)},
            RemoteNotification,
            "android_v2.remote_notification",
        ),
        (lambda part: {"webpush": WebpushConfig(fcm_options=part)}, WebpushFcmOptions, "webpush.fcm_options"),
        (lambda part: {"apns": ApnsConfig(fcm_options=part)}, ApnsFcmOptions, "apns.fcm_options"),
    ],
)
def test_each_field_of_each_typed_part(wrap: Callable[[Any], dict[str, Any]], part: Any, where: str) -> None:
    for field in fields(part):
        for value in WRONG:
            text = refused(to(**wrap(part(**{field.name: value}))))
            assert f"{where}.{field.name}" in text
            assert "must be" in text


def test_each_field_of_a_legacy_notification() -> None:
    for field in fields(LegacyNotification):
        if not field.name.endswith("_args"):  # which are encoded into a string
            for value in WRONG:
                text = legacy_refused(to="t", notification=LegacyNotification(**{field.name: value}))
                assert f"notification.{field.name} must be a string" in text


@pytest.mark.parametrize("name", ["token", "data", "android", "validate_only"])
def test_a_subclass_that_leaves_out_a_field(name: str) -> None:
    push = to()
    delattr(push, name)
    assert refused(push) == f"the message has no {name}: Message never set it"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have(number: float) -> None:
    for fields_, where in (
        ({"apns": {"payload": {"aps": {}, "n": number}}}, "apns.payload.n"),
        ({"apns": ApnsConfig(payload=Aps("Hi", custom={"n": [number]}))}, "apns.payload.n[0]"),
        ({"webpush": {"notification": {"badge": number}}}, "webpush.notification.badge"),
        ({"android": AndroidConfig(ttl=number)}, "android.ttl"),
    ):
        assert refused(to(**fields_)).startswith(f"{where} is {number}, a number that JSON does not have")
    assert "message.data.n is" in legacy_refused(to="t", data={"n": number})


def test_a_number_after_the_null_that_it_would_become() -> None:
    builder = LegacyRequestBuilder("gcm.example")
    sent(LegacyMessage(to="t", data={"n": None}), builder)
    refused(LegacyMessage(to="t", data={"n": float("nan")}), builder)
    own = requests()
    for _ in range(3):
        sent(to(apns={"payload": {"aps": {}, "n": None}}), own)
        refused(to(apns={"payload": {"aps": {}, "n": float("nan")}}), own)


# --- durations and times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(hours=1), "3600s"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=250), "0.25s"),
        (3600, "3600s"),
    ],
)
def test_durations(duration: Any, text: str) -> None:
    message = sent(to(android=AndroidConfig(ttl=duration)))["message"]
    assert message["android"] == {"ttl": text}
    if isinstance(duration, timedelta):
        assert sent(to(android={"ttl": duration}))["message"]["android"] == {"ttl": text}
        assert to(android={"ttl": duration}).to_dict()["message"]["android"] == {"ttl": text}
    shown = AndroidNotification(
        vibrate_timings=[duration], light_settings=LightSettings(light_on_duration=duration)
    )
    notification = sent(to(android=AndroidConfig(notification=shown)))["message"]["android"]["notification"]
    assert notification == {"vibrate_timings": [text], "light_settings": {"light_on_duration": text}}


def test_a_part_with_a_timedelta_is_kept_like_others() -> None:
    part = AndroidConfig(ttl=timedelta(hours=1))
    builder = requests()
    for _ in range(4):
        assert sent(to(android=part), builder)["message"]["android"] == {"ttl": "3600s"}


@pytest.mark.parametrize("duration", [timedelta(seconds=-1), timedelta(days=29)])
def test_durations_that_google_rejects(duration: timedelta) -> None:
    assert "android.ttl must be" in refused(to(android=AndroidConfig(ttl=duration)))
    assert "time_to_live must be" in legacy_refused(to="t", time_to_live=duration)


def test_the_lifetime_of_a_legacy_message() -> None:
    push = LegacyMessage(to="t", time_to_live=timedelta(minutes=5))
    assert sent(push, LegacyRequestBuilder("gcm.example"))["time_to_live"] == 300
    assert "time_to_live must be" in legacy_refused(to="t", time_to_live=timedelta(seconds=0.5))


def test_headers_for_apns_and_for_web_push() -> None:
    moment = datetime.fromtimestamp(NOW, UTC)
    apns = sent(to(apns=ApnsConfig(headers={"apns-expiration": moment})))["message"]["apns"]
    assert apns == {"headers": {"apns-expiration": str(NOW)}}
    for value in (moment.replace(tzinfo=None), "soon", ""):
        text = refused(to(apns=ApnsConfig(headers={"apns-expiration": value})))
        assert "apns.headers.apns-expiration must be UNIX seconds in digits" in text
    assert "webpush.headers.TTL must be" in refused(to(webpush={"headers": {"TTL": timedelta(hours=1)}}))
    assert sent(to(webpush={"headers": {"TTL": "3600"}}))


# --- tokens -----------------------------------------------------------------------------------------------------------

MISTYPED = [
    (" {}", "has white space around it"),
    ("{} ", "has white space around it"),
    ("{}\n", "has white space around it"),
    ("{}\r\n", "has white space around it"),
    ("\t{}", "has white space around it"),
    ("{}\u00a0", "has white space around it"),
    ("\ufeff{}", "has an invisible character in it"),
    ("{}\u200b", "has an invisible character in it"),
    ("{}\x00", "has a control character in it"),
    ("{}\x1b[0m", "has a control character in it"),
    ('"{}"', "has a quotation mark around it"),
    ('{}"', "has a quotation mark around it"),
    ("{}\\n", "in it"),
    ("{}é", "not ASCII"),
]


@pytest.mark.parametrize(("form", "words"), MISTYPED)
@pytest.mark.parametrize("target", [TOKEN, FID], ids=["token", "fid"])
def test_mistyped_tokens(form: str, words: str, target: str) -> None:
    wrong = form.format(target)
    name = "fid" if target == FID else "token"
    push = Message(**{name: wrong})  # type: ignore[arg-type]  # a field by its name
    assert words in refused(push)
    assert words in refused(Message(token=wrong, data={"title": 'a "quoted" text\n'}))
    assert words in refused(Message(token=wrong, validate_only=True))
    assert words in refused(Message(token=wrong, android=AndroidConfig(collapse_key="k"), data={"a": "b"}))


@pytest.mark.parametrize("inside", [" ", "\n", "\t", "\x7f" * 0 + "\r\n", "\u2028", "\x01", '"', "\\"])
def test_a_character_in_the_middle(inside: str) -> None:
    assert refused(Message(token=TOKEN[:60] + inside + TOKEN[60:]))
    assert refused(Message(token=TOKEN[:10] + inside + TOKEN[10:]))


@pytest.mark.parametrize(
    "parts", [{}, {"android": {"priority": "HIGH"}}, {"fcm_options": FcmOptions("label")}]
)
def test_in_any_place_of_a_burst(parts: dict[str, Any]) -> None:
    """The JSON of the messages before and after a wrong one is of other lengths, with and without data."""
    wrong = TOKEN[:50] + "\n" + TOKEN[50:]
    messages = [
        Message(
            token=wrong if at % 4 == 3 else (TOKEN, APART)[at % 2],
            data={"n": "x" * at} if at % 3 else None,
            **parts,
        )
        for at in range(40)
    ]
    messages.insert(7, Message(topic="news"))
    messages.insert(9, Message(fid=FID, **parts))
    made: list[Exchange] = []
    rejected: list[Result] = []
    requests().build(messages, Message, lambda finished: None, 10.0, made, rejected)
    assert [result.push for result in rejected] == [push for push in messages if push.token == wrong]
    assert len(made) == len(messages) - len(rejected)


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("dPx6Y0k3Qm2Vb1N9zW8aLk%3AAPA91bx", "is percent-encoded"),
        ("q83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq80=", "seems to be base64"),
        ("{length = 32, bytes = 0x124686a5 556a72ca ... 8f80dde4}", "by iOS 13"),
        ("<abcd1234 abcd1234>", "is the description of an NSData object"),
        ("null", "is a word that programs write"),
        ("BLACKLISTED", "is a word that programs write"),
        ("/topics/news", "is the name of a topic"),
        ("https://fcm.googleapis.com/fcm/send/abc", "is a URL"),
        (f"'{FID}'", "has a quotation mark around it"),
        (f"{FID},", "has a comma or semicolon at an end"),
        ("abcd" * 15 + "…", "is cut short"),
        ("ab" * 32, "a device token of APNs"),
        ("0x" + "ab" * 32, 'begins with "0x"'),
    ],
)
def test_tokens_that_are_not_fcms(token: str, words: str) -> None:
    assert words in refused(Message(token=token))
    assert words in refused(Message(fid=token))


@pytest.mark.parametrize("token", [TOKEN, FID, "odd", "x" * 200, "a.b-c~d", "f8mNlJq4VOY:" + "x" * 64])
def test_tokens_of_other_shapes_are_sent(token: str) -> None:
    assert sent(Message(token=token))["message"]["token"] == token


def test_a_long_token_with_a_colon() -> None:
    assert "longer than 4096" in refused(Message(token="a:" + "b" * 5000))
    assert sent(Message(token="a:" + "b" * 1000))


@pytest.mark.parametrize(
    "condition", ["'a' in topics\n", "'a' in topics &&\n'b' in topics", "'a' in\ttopics"]
)
def test_conditions_of_one_line(condition: str) -> None:
    assert "line break" in refused(Message(condition=condition))
    assert "line break" in legacy_refused(condition=condition)


@pytest.mark.parametrize("topic", ["news ", " news", "news\n", "ne ws", "news\x00", "news\u200b"])
def test_topics(topic: str) -> None:
    assert "the topic must be" in refused(Message(topic=topic))
    assert "the topic must be" in legacy_refused(to=f"/topics/{topic}")


@pytest.mark.parametrize(("form", "words"), MISTYPED[:10])
def test_mistyped_tokens_of_the_legacy_api(form: str, words: str) -> None:
    wrong = form.format(TOKEN)
    assert words in legacy_refused(to=wrong)
    assert f"registration_ids[1] {words}" in legacy_refused(registration_ids=[TOKEN, wrong])


@pytest.mark.parametrize("form", ["fcm:{}", "{}:", "fcm_token:{}"])
def test_a_token_with_a_second_colon_is_refused_alone_and_never_dropped(form: str) -> None:
    """Among others it is sent, since the accepted path does not count colons; then Google's answer is not believed."""
    wrong = Message(token=form.format(TOKEN))
    assert "colon" in refused(wrong) or "':'" in refused(wrong) or "in front of it" in refused(wrong)
    exchange = build(to())
    assert isinstance(exchange, Exchange)
    exchange.status = 404
    exchange.data = (
        b'{"error": {"code": 404, "status": "NOT_FOUND", "details": [{"@type": '
        b'"type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]}}'
    )
    for sent_push, drop in ((wrong, False), (Message(token=TOKEN), True)):
        result = FcmClient(ACCOUNT)._dispatcher.result(exchange, sent_push)
        assert isinstance(result, Result)
        assert (result.drop_token, result.reason) == (drop, "UNREGISTERED")


MISTAKEN = [f"{TOKEN} ", f"{TOKEN}\n", f"\t{TOKEN}", f"{TOKEN}\x7f", f"{TOKEN}\u200b", f"{TOKEN},", f"<{TOKEN}>", "no colon", f'"{TOKEN}"', "", 7, TOKEN.encode(), [":"]]  # fmt: skip


@pytest.mark.parametrize("wrong", MISTAKEN, ids=repr)
@pytest.mark.parametrize("count", [1, 3, 5, 50])
def test_a_mistaken_token_is_found_wherever_it_stands_in_a_burst(wrong: Any, count: int) -> None:
    for position in {0, count // 2, count}:
        pushes = [Message(token=TOKEN, data={"number": str(number)}) for number in range(count)]
        bad = Message(token=wrong)
        pushes.insert(position, bad)
        pushes.append(Message(topic="news"))
        pushes.append(Message(fid=FID))
        exchanges: list[Exchange] = []
        rejected: list[Result] = []
        assert requests().build(pushes, Message, lambda _: None, 1.0, exchanges, rejected) is END
        assert [each.push for each in rejected] == [bad]
        assert "token" in str(rejected[0].detail)
        assert [each.context for each in exchanges] == [push for push in pushes if push is not bad]


def test_mistaken_tokens_are_found_when_the_source_fails() -> None:
    def source() -> Iterator[Message]:
        yield from [Message(token=TOKEN)] * 10
        yield Message(token=f"{TOKEN} ")
        raise OSError("the disk")

    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    with pytest.raises(OSError, match="the disk"):
        requests().build(source(), Message, lambda _: None, 1.0, exchanges, rejected)
    assert (len(exchanges), len(rejected)) == (10, 1)


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize(
    "token",
    [
        *(f"{prefix}:{'0123456789abcdef' * 4}" for prefix in ("ios", "apns", "device_token")),
        *(f"{prefix}:{TOKEN}" for prefix in ("android", "fcm", "registration_token")),
        *(f"{prefix}:{TOKEN.partition(':')[2]}" for prefix in ("android", "fcm")),
        *(f"Bearer {TOKEN}", f'"{TOKEN}"', TOKEN.replace(":", "%3A")),
    ],
)
def test_a_token_with_something_in_front_is_not_sent(token: str, count: int) -> None:
    """Alone, and in a burst, whose tokens are checked together."""
    tokens = [TOKEN] * count
    tokens[count // 2] = token
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    pushes = [Message(token=each, data={"a": "b"}) for each in tokens]
    assert requests().build(iter(pushes), Message, lambda exchange: None, 1.0, exchanges, rejected) is END
    assert len(exchanges) == count - 1
    assert [str(result.detail)[:10] for result in rejected] == ["the token "]
    assert [result.verdict.value for result in rejected] == ["INVALID"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("", "a string"),
        (b"", "bytes"),
        ("ab", "a string"),
        (b"ab", "bytes"),
        (["ab c"], "a list"),
        (5, "a number"),
        (dict, "type"),
    ],
)
def test_data_is_an_object(data: Any, kind: str) -> None:
    assert refused(to(data=data)) == f"data must be an object, not {kind}"
