"""The provider of a row's device, and rows without a usable token."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pushcore.apns.request import ApnsRequestBuilder
from pushcore.audience.problems import BadRow
from pushcore.models.apns import Notification
from pushcore.models.tokens import EXPO_ADVICE
from pushcore.payloads.devices import APNS_WORDS, Device, find_device, text_of
from pushcore.requests import build_one
from pushcore.results import Result

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
HEX_FID = "c0ffee" + "0" * 16
FCM = f"{FID}:APA91b" + "x" * 134
EXPO = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"


@pytest.mark.parametrize("only", ["", "apns", "fcm"])
@pytest.mark.parametrize(
    ("token", "platform_value", "expected"),
    [
        (APNS, None, Device("apns", APNS)),
        (APNS, "", Device("apns", APNS)),
        (APNS, " ", Device("apns", APNS)),
        (f" {APNS}\n", "", Device("apns", APNS)),
        (FCM, "", Device("fcm", FCM)),
        (FID, "", Device("fcm", FID, fid=True)),
        (APNS, "iOS", Device("apns", APNS)),
        (APNS, " apns ", Device("apns", APNS)),
        (FCM, "Android", Device("fcm", FCM)),
        (FCM, "FCM", Device("fcm", FCM)),
        (FID, "fcm", Device("fcm", FID, fid=True)),
        (HEX_FID, "", Device("fcm", HEX_FID, fid=True)),
        (HEX_FID, "ios", Device("apns", HEX_FID)),
        ("abcd", "ios", Device("apns", "abcd")),
        ("no shape", "ios", Device("apns", "no shape")),  # the client says what is wrong with it
        ("no-shape", "android", Device("fcm", "no-shape")),
        ({"type": "ios", "data": APNS}, None, Device("apns", APNS)),
        ({"type": "ios", "data": "abcd"}, "ios", Device("apns", "abcd")),
        ({"type": "android", "data": FCM}, None, Device("fcm", FCM)),
        ({"type": "android", "data": FID}, "android", Device("fcm", FID, fid=True)),
        ({"type": "apns", "data": "abcd"}, None, Device("apns", "abcd")),
        ({"type": "APNs", "data": APNS}, "ios", Device("apns", APNS)),
        ({"type": "fcm", "data": "no-shape"}, None, Device("fcm", "no-shape")),
        ({"type": "fcm", "data": FCM}, "android", Device("fcm", FCM)),
        ("no-shape", {"type": "fcm", "data": "no-shape"}, Device("fcm", "no-shape")),
        ("abcd", '{"type": "apns", "data": "abcd"}', Device("apns", "abcd")),
        (APNS, {"type": "ios"}, Device("apns", APNS)),
    ],
)
def test_the_provider_of_a_device(token: Any, platform_value: Any, expected: Device, only: str) -> None:
    assert find_device(token, platform_value, only) == expected
    if isinstance(token, dict):
        assert find_device(json.dumps(token), platform_value, only) == expected


def test_a_token_of_no_known_shape_is_the_only_providers() -> None:
    assert find_device("abcd", "", "apns") == Device("apns", "abcd")
    assert find_device("x-1", "", "fcm") == Device("fcm", "x-1")
    with pytest.raises(BadRow, match="expected a column platform with ios or android"):
        find_device("abcd", "")


@pytest.mark.parametrize(
    ("token", "platform_value", "complaint", "platform"),
    [
        (EXPO, "", EXPO_ADVICE, ""),
        (EXPO, "ios", EXPO_ADVICE, "apns"),
        (EXPO, "android", EXPO_ADVICE, "fcm"),
        ({"type": "expo", "data": EXPO}, "", EXPO_ADVICE, ""),
        (
            FCM,
            "ios",
            "platform is 'ios', but this is a registration token of FCM; platform fcm sends",
            "apns",
        ),
        (FID, "APNs", "platform is 'APNs', but this is a Firebase installation id", "apns"),
        (APNS, "android", "platform is 'android', but this is a device token of APNs", "fcm"),
        ({"type": "ios", "data": APNS}, "fcm", "but this is a device token of APNs", "fcm"),
        (
            {"type": "ios", "data": FCM},
            "",
            'its type is "ios", but the token is a registration token of FCM',
            "",
        ),
        ({"type": "android", "data": APNS}, "", 'its type is "android", but it is hexadecimal', ""),
        ({"type": "web", "data": {"endpoint": "x"}}, "", "Web Push", ""),
        ({"data": "abc def"}, "", "the token has white space in it", ""),
        ({"token": APNS}, "", "getDevicePushTokenAsync returns", ""),
        ('{"type": "ios"', "", "begins like JSON; expected the token alone", ""),
        (APNS, "windows", "platform: 'windows' is neither ios (or apns) nor android (or fcm)", ""),
        (APNS, 5, "platform: '5' is neither ios", ""),
        (APNS, ["ios"], "is neither ios", ""),
        ("white space", "android", "the token has white space in it", "fcm"),
        ("x" * 5000, "android", "longer than 4096", "fcm"),
        ("", "ios", "the row has no token", "apns"),
        (None, "", "the row has no token", ""),
        (5, "", "the token is not a text but a number", ""),
        (0.5, "ios", "the token is not a text but a number", "apns"),
        (True, "", "the token is not a text but true or false", ""),
        (["ab"], "", "the token is not a text but a list", ""),
        ('{"type": "ios", "data": 5}', "", "a token is text, not a number", ""),
        ({"type": "ios", "data": None}, "", "a token is text, not null", ""),
        (APNS, True, "platform: 'true' is neither", ""),
        (APNS, {"a": None}, """platform: '{"a":null}' is neither""", ""),
        ({}, "", "the row has no token", ""),
    ],
)
def test_rows_without_a_usable_token(token: Any, platform_value: Any, complaint: str, platform: str) -> None:
    with pytest.raises(BadRow) as caught:
        find_device(token, platform_value)
    assert complaint in str(caught.value)
    assert caught.value.platform == platform


def test_the_text_of_an_unusable_token() -> None:
    assert text_of(EXPO) == EXPO
    assert text_of({"type": "expo", "data": EXPO}) == EXPO
    assert [text_of(token) for token in (None, 5, {}, {"data": 5}, [APNS])] == [""] * 5


def test_find_device_agrees_with_the_fast_path_for_apns() -> None:
    for platform_value in APNS_WORDS:
        assert find_device(APNS, platform_value) == Device("apns", APNS)


@pytest.mark.parametrize("platform_value", ["", "ios", "android"])
@pytest.mark.parametrize("only", ["", "apns", "fcm"])
@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("{length = 32, bytes = 0x124686a5 ... 8f80dde4}", "by iOS 13"),
        (f"{FCM[:40]} {FCM[40:]}", "has white space in it"),
        (f'"{FCM}"', "has a quotation mark around it"),
        (f"{FCM},", "has a comma or semicolon at an end"),
        (FCM.replace(":", "%3A"), "is percent-encoded"),
        ("null", "is a word that programs write"),
        ("q83vq83vq83vq83vq83vq83vq83vq83vq83vq83vq80=", "seems to be base64"),
        (f"<{' '.join(['abcd1234'] * 8)}>", "is the description of an NSData object"),
    ],
)
def test_the_form_of_an_invalid_token_is_named(
    token: str, words: str, platform_value: str, only: str
) -> None:
    assert words in complaint(token, platform_value, only)


def complaint(token: str, platform_value: str, only: str) -> str:
    """The reason why no push is sent to a row, from `find_device` or from the client."""
    try:
        device = find_device(token, platform_value, only)
    except BadRow as error:
        return str(error)
    requests = ApnsRequestBuilder("api.push.apple.com", "com.example.app", token_auth=True)
    result = build_one(requests, Notification(device.token, {}), lambda exchange: None, 0.0)
    assert isinstance(result, Result)
    return str(result.detail)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("token", [None, ""])
def test_the_column_platform_may_hold_the_whole_token(written: bool, token: object) -> None:
    value: Any = {"type": "apns", "data": "ab" * 32}
    assert find_device(token, json.dumps(value) if written else value) == Device("apns", "ab" * 32)
    with pytest.raises(BadRow, match="the row has no token"):
        find_device(token, {"type": "apns"})
    with pytest.raises(BadRow, match="its type is"):
        find_device(token, {"type": "fcm", "data": "ab" * 32})
