"""Payload files in the formats of other services are named, and no payload has the token of a device by mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.payloads.foreign import foreign_format, targets_in
from pushcore.payloads.formats import PayloadFiles

APS = {"aps": {"alert": "x"}}
SNS = {"default": "x", "GCM": json.dumps({"data": {"a": "b"}}), "APNS": json.dumps(APS)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"app_id": "x", "include_player_ids": ["y"], "contents": {"en": "Hi"}}, "of OneSignal's API"),
        ({"notifications": [{"tokens": ["x"], "platform": 2}]}, "a request of gorush"),
        ({"tokens": ["x"], "platform": 2, "message": "Hi"}, "a notification of gorush"),
        ({"tokens": ["x"], "notification": {"title": "x"}}, "a MulticastMessage of firebase-admin"),
        (SNS, "a message of Amazon SNS"),
        ({"audience": "all", "device_types": "all", "notification": {"alert": "x"}}, "of Airship's API"),
        ({"contents": {"en": "Hi"}, "included_segments": ["All"]}, "of OneSignal's API"),
        ({"interests": ["hello"], "apns": APS, "fcm": {"notification": {"title": "x"}}}, "of Pusher Beams"),
        ({"users": ["u"], "web": {"notification": {"title": "x"}}}, "of Pusher Beams"),
        ({"where": {"deviceType": "ios"}, "data": {"alert": "x"}}, "a push of Parse"),
        ({"platform": "all", "audience": "all", "notification": {"alert": "x"}}, "a push of JPush"),
        ({"messages": {"apple_push": {"alert": "x"}}, "broadcast": True}, "a request of Braze"),
        ({"title": "x", "description": "y", "pass_through": 0}, "a message of Xiaomi's Mi Push"),
        ({"MessageConfiguration": {"APNSMessage": {"Body": "x"}}}, "a message of Amazon Pinpoint"),
        ({"fcmV1Message": {"message": {"data": {"a": "b"}}}}, 'has its message in "fcmV1Message"'),
        ({"endpoint": "https://x", "keys": {"p256dh": "a", "auth": "b"}}, "is a Web Push subscription"),
        ({"web_push": 8030, "notification": {"title": "x"}}, "is a declarative Web Push message"),
        ({"Notification": {"Title": "x"}, "Token": "y"}, "of firebase-admin with names of Go or C#"),
        ({"ios": APS, "android": {"notification": {"title": "x"}}}, "has parts for ios and android"),
        ({"title": "x", "message": "y"}, "a message of ntfy, Gotify, Pushover or another service"),
        ({"topic": "t", "title": "x", "message": "y", "priority": 4}, "a message of ntfy, Gotify, Pushover"),
        ({"title": "x", "tokens": ["y"], "platform": 1}, "a notification of gorush"),
        ({"message": []}, 'has a "message" that is a list'),
        ({"payload": APS}, 'has its payload in "payload"'),
        ({"token": "x", "payload": APS}, 'has its payload in "payload"'),
        ({"alert": "x", "badge": 1}, 'has alert and badge at the top; expected them in "aps"'),
        ({"APS": {"alert": "x"}}, "has APS; expected aps"),
    ],
)
@pytest.mark.parametrize("platforms", [("apns",), ("fcm",), ("apns", "fcm")])
def test_the_format_of_another_service_is_named(
    tmp_path: Path, content: Any, words: str, platforms: tuple[str, ...]
) -> None:
    (tmp_path / "payload.json").write_text(json.dumps(content))
    with pytest.raises(BadInput) as caught:
        PayloadFiles(common=str(tmp_path / "payload.json")).load(platforms)
    assert f"payload.json {foreign_format(content)}" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [{}, {"k": 1}, {"titel": "x"}, {"mdm": "x"}, APS])
def test_other_keys_belong_to_no_service(content: Any) -> None:
    assert foreign_format(content) == ""


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_payload_in_utf_16_is_named(tmp_path: Path, encoding: str, mark: str) -> None:
    """As PowerShell's redirection writes it."""
    (tmp_path / "payload.json").write_bytes(f'{mark}{{"title": "x"}}'.encode(encoding))
    with pytest.raises(BadInput, match=rf"is in {encoding[:6].upper()}; expected UTF-8: convert the file"):
        PayloadFiles(common=str(tmp_path / "payload.json")).load(["apns"])


@pytest.mark.parametrize("path", ["", " "])
def test_a_payload_without_a_name_is_told_so(path: str) -> None:
    """As of a variable that a shell does not know."""
    with pytest.raises(
        BadInput, match=r"^the path of the payload is empty; expected a file with a JSON object"
    ):
        PayloadFiles(common=path).load(["apns"])


def test_a_payload_of_a_list_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('[{"to": "ExponentPushToken[x]", "title": "x"}]')
    with pytest.raises(BadInput, match=r"is not a JSON object; .*: one message, the rows are the recipients"):
        PayloadFiles(common=str(tmp_path / "payload.json")).load(["apns"])


def test_a_token_in_a_payload_of_apns_is_noticed(tmp_path: Path) -> None:
    assert targets_in(["aps", "device_token", "order", "deviceToken", "tokenise"]) == [
        "device_token",
        "deviceToken",
    ]
    (tmp_path / "payload.json").write_text(json.dumps({**APS, "deviceToken": "ab"}))
    payload = PayloadFiles(common=str(tmp_path / "payload.json")).load(["apns"])["apns"]
    assert [notice.partition(": ")[2] for notice in payload.notices] == [
        "every device gets the deviceToken beside aps; the rows are the targets"
    ]
