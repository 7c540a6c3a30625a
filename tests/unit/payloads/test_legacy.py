"""Payload files in the form of FCM's legacy API: the listing of Expo's page is sent through v1, the rest is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from pushcore.audience.problems import BadInput
from pushcore.payloads.formats import PayloadFiles
from pushcore.payloads.legacy import from_listing, is_legacy, is_listing
from pushcore.payloads.payload import FcmPayload

from .rendering import fcm_message

TOKEN = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
LISTING: dict[str, Any] = {
    "collapse_key": "collapse",
    "priority": "high",
    "data": {
        "experienceId": "@yourExpoUsername/yourProjectSlug",
        "title": "Title",
        "message": "Body",
        "channelId": "channel",
        "categoryId": "category",
        "icon": "icon",
        "link": "https://example.com",
        "body": {"screen": "chat", "ids": [1, 2]},
    },
}


def load(tmp_path: Path, content: Any, *platforms: str, **options: Any) -> FcmPayload:
    (tmp_path / "payload.json").write_text(json.dumps(content))
    payloads = PayloadFiles(common=str(tmp_path / "payload.json"), **options).load(platforms or ("fcm",))
    assert isinstance(payloads["fcm"], FcmPayload)
    return payloads["fcm"]


@pytest.mark.parametrize("form", ["auto", "fcm"])
def test_the_listing_of_expos_page_field_by_field(tmp_path: Path, form: str) -> None:
    payload = load(tmp_path, LISTING, form=form)
    assert (payload.columns, payload.notices) == ((), [])
    fields = fcm_message(payload, ["token"], ["x"])
    assert fields["android"] == {"collapse_key": "collapse", "priority": "HIGH"}
    assert fields["data"] == {
        **LISTING["data"],
        "body": '{"screen":"chat","ids":[1,2]}',
    }


@pytest.mark.parametrize("texts", [{"title": "Hi {{name}}"}, {"title": "Hi"}])
@pytest.mark.parametrize("body", [{"who": "{{name}}", "n": "{{n:int}}"}, {"n": 7}])
def test_placeholders_in_the_listing_cannot_break_out_of_its_body(
    tmp_path: Path, texts: dict[str, str], body: dict[str, Any]
) -> None:
    payload = load(tmp_path, {"priority": "{{p}}", "data": {**texts, "body": body}})
    name = 'Eve "E" \\ {{n}} "},"x":"'
    data = fcm_message(payload, None, {"name": name, "n": "7", "p": "normal"})["data"]
    assert data["title"] == texts["title"].replace("{{name}}", name)
    assert orjson.loads(data["body"]) == {
        key: name if value == "{{name}}" else 7 for key, value in body.items()
    }


def test_a_body_that_is_a_text_already_stays_as_it_is(tmp_path: Path) -> None:
    payload = load(tmp_path, {"data": {"title": "T", "body": '{"a":1}'}, "priority": "normal"})
    assert fcm_message(payload, None, {}) == {
        "data": {"title": "T", "body": '{"a":1}'},
        "android": {"priority": "NORMAL"},
    }


@pytest.mark.parametrize(
    ("content", "listing"),
    [
        (LISTING, True),
        ({"data": {"title": "T"}}, True),
        ({"data": {"message": "B"}, "priority": "high"}, True),
        ({"to": "x", "data": {"title": "T"}}, True),
        ({"data": {"screen": "inbox"}, "priority": "high"}, False),
        ({"title": "T", "data": {"title": "mine"}}, False),
        ({"data": "T", "priority": "high"}, False),
        ({"data": {"title": "T"}, "ttl": 5}, False),
        ({"notification": {"title": "T"}, "data": {"title": "T"}}, False),
    ],
)
def test_the_legacy_form_is_detected(content: dict[str, Any], listing: bool) -> None:
    assert is_listing(content) is listing


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"to": "x", "notification": {"title": "T"}}, "(it has to); expected one of its v1 API"),
        (
            {"notification": {"title": "T"}, "priority": "high"},
            '(it has priority); expected one of its v1 API, {"message": {...}}: priority is android.priority there',
        ),
        ({"registration_ids": ["x"], "data": {"a": 1}}, "the rows are the targets"),
        ({"to": "/topics/news", "data": {"a": "b"}}, "legacy API, which Google has shut down (it has to)"),
        ({"to": "/topics/news", "data": {"title": "T"}}, "a topic needs no audience"),
        ({"to": "/topics/news", "title": "T", "body": "B"}, "FCM's legacy API"),
        ({"to": "/topics/news", "priority": "high", "data": {"a": 1}}, "priority is android.priority there"),
        ({"to": "/topics/news"}, "FCM's legacy API"),
        ({"to": TOKEN, "data": {"a": 1}, "priority": "high"}, "the rows are the targets"),
        ({"to": TOKEN, "title": "T"}, "FCM's legacy API"),
        ({"time_to_live": 5, "data": {"a": "1"}}, "time_to_live is android.ttl there"),
        ({"content_available": True, "data": {}}, "content_available is apns.payload.aps.content-available"),
        ({"dry_run": True, "notification": {"body": "B"}}, "dry_run is validate_only, beside the message"),
        ({"to": "x", "notification": {"title": "T"}, "new_key": 1}, "FCM's legacy API"),
        ({"message": {"notification": {"title": "T"}, "priority": "high"}}, "FCM's legacy API"),
        ({"message": {"to": "x", "data": {"a": "b"}}}, "FCM's legacy API"),
        ({**LISTING, "token": "x"}, "the message has a token; expected none, the rows are the targets"),
        ({**LISTING, "to": "x"}, "the message has a to; expected none, the rows are the targets"),
    ],
)
def test_keys_that_v1_does_not_have_are_named(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    for platforms in (("fcm",), ("apns", "fcm"), ("apns",)):
        with pytest.raises(BadInput) as caught:
            load(tmp_path, content, *platforms)
        assert words in str(caught.value), platforms
        assert len(str(caught.value)) < 500


def test_messages_in_other_formats_are_not_legacy() -> None:
    for content in (
        {"notification": {"title": "T"}, "data": {"a": "b"}},
        {"to": "x", "data": {"a": 1}, "priority": "high"},
        {"title": "T", "priority": "high", "collapse_key": "c"},
        {"message": {"data": {"a": "b"}}},
        {},
    ):
        assert not is_legacy(content)


def test_the_listing_is_not_changed_by_being_read() -> None:
    before = json.dumps(LISTING)
    from_listing(LISTING)
    assert json.dumps(LISTING) == before
