"""Payload files: which format they have, whom they serve, and what is wrong with them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.audience.problems import BadInput, BadRow
from pushcore.models.warned import forget
from pushcore.payloads.formats import PayloadFiles
from pushcore.payloads.payload import ApnsPayload, ExpoPayload, FcmPayload, Payload

from .rendering import fcm_message

EXPO = {"title": "Hi {{name}}", "data": {"n": 1}}
APNS = {"aps": {"alert": "Hi"}, "data": {"n": 1}}
FCM = {"message": {"data": {"n": "1"}}}
BOTH = ("apns", "fcm")


def load(tmp_path: Path, content: Any, *platforms: str, **options: Any) -> dict[str, Payload]:
    path = tmp_path / "payload.json"
    path.write_text(json.dumps(content))
    return PayloadFiles(**{"common": str(path), **options}).load(platforms or BOTH)


def load_problem(tmp_path: Path, content: Any, *platforms: str, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        load(tmp_path, content, *platforms, **options)
    text = str(caught.value)
    assert len(text) < 500
    return text


@pytest.mark.parametrize(
    ("content", "platforms", "expected"),
    [
        (EXPO, BOTH, {"apns": ExpoPayload, "fcm": ExpoPayload}),
        (EXPO, ("apns",), {"apns": ExpoPayload}),
        ({"body": "Hi"}, ("fcm",), {"fcm": ExpoPayload}),
        ({"title": "a", "_contentAvailable": True}, BOTH, {"apns": ExpoPayload, "fcm": ExpoPayload}),
        (APNS, ("apns",), {"apns": ApnsPayload}),
        ({"mdm": "magic"}, ("apns",), {"apns": ApnsPayload}),
        ({"container-identifier": "x"}, ("apns",), {"apns": ApnsPayload}),
        ({}, ("apns",), {"apns": ApnsPayload}),
        (FCM, ("fcm",), {"fcm": FcmPayload}),
        ({"validate_only": True, **FCM}, ("fcm",), {"fcm": FcmPayload}),
        ({"notification": {"title": "Hi"}}, ("fcm",), {"fcm": FcmPayload}),
        ({"fcmOptions": {"analyticsLabel": "x"}}, ("fcm",), {"fcm": FcmPayload}),
        ({"apns": {"payload": {"aps": {}}}}, ("fcm",), {"fcm": FcmPayload}),
        ({"apns": APNS, "fcm": FCM}, BOTH, {"apns": ApnsPayload, "fcm": FcmPayload}),
        ({"apns": APNS, "fcm": FCM["message"] | {"android": {}}}, ("fcm",), {"fcm": FcmPayload}),
        ({"apns": APNS, "fcm": EXPO}, BOTH, {"apns": ApnsPayload, "fcm": ExpoPayload}),
        ({"apns": APNS}, ("apns",), {"apns": ApnsPayload}),
        ({"title": "a", "futureKey": 1}, BOTH, {"apns": ExpoPayload, "fcm": ExpoPayload}),
        ({"titel": "a", "body": "b"}, ("apns",), {"apns": ExpoPayload}),
        ({"data": {"title": "T", "message": "B"}, "priority": "high"}, ("fcm",), {"fcm": FcmPayload}),
        ({"data": {"screen": "inbox"}}, ("fcm",), {"fcm": FcmPayload}),
        ({"data": {"screen": "inbox"}, "priority": "high"}, BOTH, {"apns": ExpoPayload, "fcm": ExpoPayload}),
        ({"apns": APNS, "fcm": {"data": {"title": "T"}}}, BOTH, {"apns": ApnsPayload, "fcm": FcmPayload}),
        (
            {"apns": APNS, "fcm": {"data": {"order": "{{order}}"}}},
            BOTH,
            {"apns": ApnsPayload, "fcm": FcmPayload},
        ),
    ],
)
def test_the_format_is_recognised(
    tmp_path: Path, content: Any, platforms: tuple[str, ...], expected: dict[str, type]
) -> None:
    assert {
        platform: type(payload) for platform, payload in load(tmp_path, content, *platforms).items()
    } == expected


def test_a_payload_of_a_voip_push_is_not_taken_for_expos(tmp_path: Path) -> None:
    content = {"title": "Call", "body": "Ada"}
    assert isinstance(load(tmp_path, content, "apns", push_type="voip")["apns"], ApnsPayload)
    assert isinstance(load(tmp_path, content, "apns", push_type="alert")["apns"], ExpoPayload)
    assert isinstance(load(tmp_path, content, "apns", form="apns")["apns"], ApnsPayload)


def test_one_file_for_each_provider(tmp_path: Path) -> None:
    (tmp_path / "apns.json").write_text(json.dumps(APNS))
    (tmp_path / "fcm.json").write_text(json.dumps(FCM))
    paths: dict[str, Any] = {"apns": str(tmp_path / "apns.json"), "fcm": str(tmp_path / "fcm.json")}
    payloads = PayloadFiles(**paths).load(BOTH)
    assert [type(payloads["apns"]), type(payloads["fcm"])] == [ApnsPayload, FcmPayload]
    assert [payloads["apns"].name, payloads["fcm"].name] == [paths["apns"], paths["fcm"]]
    payloads = load(tmp_path, EXPO, fcm=paths["fcm"])
    assert [type(payloads["apns"]), type(payloads["fcm"])] == [ExpoPayload, FcmPayload]


@pytest.mark.parametrize(
    ("content", "platforms", "options", "complaint"),
    [
        (APNS, BOTH, {}, "payload.json is a payload of APNs, which FCM cannot take; expected --fcm-payload"),
        (FCM, BOTH, {}, "payload.json is a message of FCM, which APNs cannot take; expected --apns-payload"),
        (FCM, ("apns",), {}, "which APNs cannot take"),
        (EXPO, BOTH, {"form": "apns"}, "which FCM cannot take"),
        ({"apns": APNS, "fcm": 5}, BOTH, {}, 'payload.json: "fcm" is not a JSON object'),
        ({"fcm": FCM}, BOTH, {}, 'payload.json: "apns" is missing; expected the payload for APNs'),
        ({"data": {"a": "b"}}, BOTH, {}, 'payload.json has only "data", which may be a data message of FCM'),
        ({"data": {"a": "b"}}, ("apns",), {}, "expected --payload-format expo, or a payload for each"),
        ({"data": {"a": 1}}, ("fcm",), {}, "FCM allows only strings in data"),
        ({}, BOTH, {}, "payload.json is an empty object; expected a message"),
        ({"titel": "x"}, BOTH, {}, "unknown key 'titel' in the message in Expo's format"),
        ({"titel": "x"}, ("fcm",), {}, "expected --payload-format"),
        ({"title": 5}, BOTH, {}, "payload.json: title must be a string, not 5; expected a message in Expo's"),
        ({"title": "x", "to": "y"}, BOTH, {}, 'the message has a "to"; expected none, the rows are'),
        ({"title": "x", "priority": "max"}, BOTH, {}, "priority must be one of default, normal, high"),
        ({"title": "x" * 5000}, BOTH, {}, "bytes in keys and values, 4096 are allowed"),
        ({"message": {"token": "x"}}, ("fcm",), {}, "the message has a token; expected none, the rows are"),
        ({"message": {"topic": "x"}}, ("fcm",), {}, "the message has a topic; expected none"),
        (
            {"message": {"key": "x"}},
            ("fcm",),
            {},
            "unknown key 'key' in the message; expected a message of FCM's",
        ),
        (
            {"message": {"data": {"count": 5}}},
            ("fcm",),
            {},
            "FCM allows only strings in data, but data['count'] is '5'; write it as a string",
        ),
        (
            {"message": {"data": {"count": "{{n:int}}"}}},
            ("fcm",),
            {},
            "data['count'] becomes a number; leave out the conversion in '{{n:int}}'",
        ),
        ({"message": {"android": {"data": {"a": None}}}}, ("fcm",), {}, "but android.data['a'] is 'null'"),
        ({"message": {"data": {"google.x": "a"}}}, ("fcm",), {}, "data must not have the key 'google.x'"),
        (
            {"message": {"android": {}, "android_v2": {}}},
            ("fcm",),
            {},
            "android and android_v2; expected one of",
        ),
        ({"message": {"android": {"ttl": "1h"}}}, ("fcm",), {}, "android.ttl must be a duration such as"),
        (
            {"message": {"data": {"a": "b"}}, "validate_only": "yes"},
            ("fcm",),
            {},
            "validate_only must be true",
        ),
        ({"aps": {"alert": "{{name"}}, ("apns",), {}, "opens a placeholder and does not close it"),
        (EXPO, ("apns",), {"common": None}, "--payload or --apns-payload is missing: a payload for APNs"),
        (EXPO, ("apns",), {"fcm": "x"}, "--fcm-payload needs --fcm-service-account"),
        (EXPO, ("fcm",), {"apns": "x"}, "--apns-payload needs --apns-key or --apns-cert"),
        (EXPO, BOTH, {"apns": "x", "fcm": "y"}, "--payload has no effect beside a payload for each provider"),
        (EXPO, ("fcm",), {"common": None, "fcm": "/nonexistent.json"}, "/nonexistent.json cannot be read"),
    ],
)
def test_unusable_payload_files(
    tmp_path: Path, content: Any, platforms: tuple[str, ...], options: dict[str, Any], complaint: str
) -> None:
    assert complaint in load_problem(tmp_path, content, *platforms, **options)


# --- warnings ---------------------------------------------------------------------------------------------------------


def notices(tmp_path: Path, content: Any, *platforms: str, **options: Any) -> dict[str, list[str]]:
    payloads = load(tmp_path, content, *platforms, **options)
    return {
        platform: [notice.removeprefix(f"{tmp_path / 'payload.json'}: ") for notice in payload.notices]
        for platform, payload in payloads.items()
    }


def test_an_unknown_key_is_left_out_with_a_warning(tmp_path: Path) -> None:
    expected = ["the key 'futureKey' is unknown in Expo's format and is left out"]
    content = {"title": "{{name}}", "futureKey": "{{not a column}}"}
    assert notices(tmp_path, content) == {"apns": expected, "fcm": expected}
    payload = load(tmp_path, content)["fcm"]
    assert payload.columns == ("name",)
    assert isinstance(payload, ExpoPayload)
    assert fcm_message(payload, ["name"], ["Ada"])["data"] == {"title": "Ada"}


@pytest.mark.parametrize(
    ("content", "android"),
    [
        ({"title": "{{name}}"}, {"notification": {"title": "Ada"}, "data": {"title": "Ada"}}),
        ({"title": "Ada"}, {"notification": {"title": "Ada"}, "data": {"title": "Ada"}}),
    ],
)
def test_the_form_for_android(tmp_path: Path, content: Any, android: dict[str, Any]) -> None:
    for form in ("notification", "data"):
        payload = load(tmp_path, content, "fcm", android=form)["fcm"]
        assert isinstance(payload, ExpoPayload)
        message = fcm_message(payload, ["name"], ["Ada"])
        assert message == {key: android[key] for key in android if key in ("data", form)}


NOW = 1_790_000_000
ACTIVITY: dict[str, Any] = {"event": "update", "timestamp": NOW, "content-state": {"score": "{{score}}"}}


@pytest.mark.parametrize(
    ("aps", "push_type"),
    [
        ({"alert": "Hi"}, "alert"),
        ({"content-available": 1}, "background"),
        (ACTIVITY, "liveactivity"),
        ({**ACTIVITY, "event": "{{event}}"}, "liveactivity"),
    ],
)
def test_a_file_has_the_push_type_that_it_is_for(tmp_path: Path, aps: Any, push_type: str) -> None:
    payload = load(tmp_path, {"aps": aps}, "apns")["apns"]
    assert isinstance(payload, ApnsPayload)
    assert (payload.push_type, payload.notices) == (push_type, [])
    payload = load(tmp_path, {"aps": aps}, "apns", push_type="voip")["apns"]
    assert isinstance(payload, ApnsPayload)
    assert payload.push_type == "voip"


@pytest.mark.parametrize(
    ("aps", "push_type", "expected"),
    [
        (ACTIVITY, "alert", "its event belongs to a Live Activity and has no effect with push type alert"),
        ({"content-available": 1}, "alert", "content-available alone has no effect with push type alert"),
        ({"content-available": 1, "alert": "Hi"}, "background", "a background push shows nothing"),
        ({**ACTIVITY, "event": "updte"}, None, "its event 'updte' is none of start, update, end"),
        ({"category": "c"}, None, "no part of it is visible"),
        ({"content-changed": 1}, "widgets", "widgets have no effect without"),
    ],
)
def test_a_payload_without_effect_has_a_warning(
    tmp_path: Path, aps: Any, push_type: Any, expected: str
) -> None:
    (notice,) = notices(tmp_path, {"aps": aps}, "apns", push_type=push_type)["apns"]
    assert notice.startswith(expected)


@pytest.mark.parametrize("score", ["1", "{{score}}"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (NOW * 1000, "is in milliseconds"),
        (float(NOW), "is written with a decimal point"),
        (str(NOW), "is not a number"),
    ],
)
def test_invalid_times_in_a_file(tmp_path: Path, value: Any, words: str, score: str) -> None:
    aps = {**ACTIVITY, "timestamp": value, "content-state": {"score": score}}
    assert f"payload.json: timestamp {words}" in load_problem(tmp_path, {"aps": aps}, "apns")
    problem = load_problem(tmp_path, {"message": {"apns": {"payload": {"aps": aps}}}}, "fcm")
    assert f"apns.payload.aps.timestamp {words}" in problem


@pytest.mark.parametrize("value", [3600, NOW * 1000])
def test_invalid_expirations_in_a_file(tmp_path: Path, value: int) -> None:
    assert "expiration is in " in load_problem(tmp_path, {"title": "T", "expiration": value})
    message = {"notification": {"title": "T"}, "apns": {"headers": {"apns-expiration": str(value)}}}
    problem = load_problem(tmp_path, {"message": message}, "fcm")
    assert "apns.headers.apns-expiration is in " in problem


# --- the message of a row ---------------------------------------------------------------------------------------------

NASTY = 'Eve "E" \\ {{n}}\n\x01 李雷 "},"token":"x'


def fcm(content: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    return fcm_message(FcmPayload(content, "payload.json"), None, row)


def test_placeholders_in_a_message_of_fcm() -> None:
    content = {
        "message": {
            "notification": {"title": "Hi {{name}}"},
            "data": {"name": "{{name}}", "n": "no {{n:int}}", "plain": "\\{{x}}"},
            "android": {"collapseKey": "k", "ttl": "60s"},
        }
    }
    assert fcm(content, {"name": NASTY, "n": "007"}) == {
        "notification": {"title": f"Hi {NASTY}"},
        "data": {"name": NASTY, "n": "no 7", "plain": "{{x}}"},
        "android": {"collapseKey": "k", "ttl": "60s"},
    }


def test_placeholders_in_a_message_of_expos() -> None:
    payload = ExpoPayload(
        {"title": "Hi {{name}}", "badge": "{{badge:int}}", "data": {"deep": ["{{name}}"]}}, "payload.json"
    )
    assert payload.columns == ("name", "badge")
    columns = ["badge", "name"]
    message = fcm_message(payload, columns, ["3", NASTY])
    assert message["notification"] == {"title": f"Hi {NASTY}"}
    assert message["android"] == {"notification": {"notification_count": 3}}
    assert orjson.loads(message["data"].pop("body")) == {"deep": [NASTY]}
    assert message["data"] == {"title": f"Hi {NASTY}", "badge": "3"}
    with pytest.raises(BadRow, match="badge must be a number from 0 on, not -1"):
        fcm_message(payload, columns, ["-1", "x"])
    with pytest.raises(BadRow, match="'badge': 'x' is not a whole number"):
        fcm_message(payload, columns, ["x", "x"])


def test_an_expiration_of_expos_within_four_weeks_is_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget()
    load(tmp_path, {"title": "x", "expiration": int(time.time()) + 3600}, *BOTH)
    assert caplog.messages == []
    load(tmp_path, {"title": "x", "ttl": 3_600_000}, *BOTH)
    assert "more than four weeks" in caplog.text
