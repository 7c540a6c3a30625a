"""Expo's payloads through the command line arrive at the fakes as the two listings of Expo's page have them.

The listings are in "Sending Notifications with APNs & FCM" at docs.expo.dev; the legacy form of Android's, which the
command line does not send, is compared in tests/unit/models/test_expo.py.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from fakeservers import Certificates, FakeApns
from fakeservers.fcm.server import FakeFcm
from tests.support.expo_listing import APNS, EXPERIENCE, FCM, FID, FULL, IOS, OWN, take

DEADLINE = 90.0

# The listing for Android, with its fields' places in FCM v1.
ANDROID = {
    "token": ("message.token", FCM),
    "collapse_key": ("message.android.collapse_key", "collapse"),
    "priority": ("message.android.priority", "HIGH"),
    "data.experienceId": ("message.data.experienceId", EXPERIENCE),
    "data.title": ("message.data.title", "Title"),
    "data.message": ("message.data.message", "Body"),
    "data.channelId": ("message.data.channelId", "channel"),
    "data.categoryId": ("message.data.categoryId", "category"),
    "data.icon": ("message.data.icon", "icon"),
    "data.link": ("message.data.link", "https://example.com"),
    "data.body": ("message.data.body", OWN),  # in v1 as JSON in a string
}
# What expo-notifications reads besides, which this message has.
ALSO_READ = {"subtitle": "Subtitle", "badge": "3"}


async def arrived(
    tmp_path: Path, certs: Certificates, payload: Any, header: str, rows: list[str], *extra: str
) -> tuple[list[Any], list[Any]]:
    """What APNs and FCM received, each as (headers, JSON), when all rows were accepted."""
    (tmp_path / "devices.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "payload.json").write_text(json.dumps(payload))
    async with FakeApns(certs=certs) as apns, FakeFcm(certs=certs) as fcm:
        words = [sys.executable, "-m", "pushcore", "send"]
        words += ["--apns-key", str(apns.key_file), "--key-id", apns.key_id, "--team-id", apns.team_id]
        words += ["--topic", apns.topic, "--apns-url", apns.url, "--ca-file", str(certs.ca_file)]
        words += ["--fcm-service-account", fcm.service_account_file, "--fcm-url", fcm.url]
        words += ["--audience", str(tmp_path / "devices.csv"), "--payload", str(tmp_path / "payload.json")]
        words += ["--results", str(tmp_path / "results.csv"), *extra]
        process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
        async with asyncio.timeout(DEADLINE):
            _, stderr = await process.communicate()
        assert process.returncode == 0, stderr
        with (tmp_path / "results.csv").open(newline="") as file:
            assert {row["verdict"] for row in csv.DictReader(file)} == {"ACCEPTED"}
        sent = [request for request in fcm.received if request.path.endswith("messages:send")]
        return [(request.headers, orjson.loads(request.body)) for request in apns.received], [
            (request.headers, orjson.loads(request.body)) for request in sent
        ]


# What the default adds to that listing: the notification that Android shows.
NOTIFICATION = {
    "message.notification": {"title": "Title", "body": "Body"},
    "message.android.notification": {
        "icon": "icon",
        "sound": "default",
        "channel_id": "channel",
        "notification_count": 3,
    },
}


@pytest.mark.parametrize("form", ["notification", "data"])
@pytest.mark.parametrize("columns", [False, True], ids=["fixed", "from columns"])
async def test_both_listings_field_by_field(
    tmp_path: Path, certs: Certificates, columns: bool, form: str
) -> None:
    message: dict[str, Any] = FULL
    if columns:
        message = {
            **FULL,
            "title": "{{title}}",
            "body": "B{{body}}",
            "badge": "{{badge:int}}",
            "data": {**OWN, "screen": "{{screen}}"},
        }
    apns, fcm = await arrived(
        tmp_path,
        certs,
        message,
        "token,title,body,badge,screen",
        [f"{APNS},Title,ody,3,chat", f"{FCM},Title,ody,3,chat"],
        *("--experience-id", EXPERIENCE),
        *(("--android", form) if form == "data" else ()),
    )
    ((headers, payload),) = apns
    for place, value in IOS.items():
        assert take(payload, place) == value, place
    assert payload == {}
    wanted = {
        ":path": f"/3/device/{APNS}",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": "collapse",
    }
    assert {name: headers[name] for name in wanted} == wanted
    ((headers, request),) = fcm
    if form == "notification":
        for place, value in NOTIFICATION.items():
            assert take(request, place) == value, place
    for name, (place, value) in ANDROID.items():
        there = take(request, place)
        if name == "data.body":
            assert isinstance(there, str)
            there = orjson.loads(there)
        assert there == value, name
    assert request == {"message": {"data": ALSO_READ}}
    assert headers[":path"] == "/v1/projects/fake-project/messages:send"


async def test_the_minimal_example_without_expo_go(tmp_path: Path, certs: Certificates) -> None:
    message = {"title": "T", "body": 'Say "hi" to 李雷'}
    apns, fcm = await arrived(tmp_path, certs, message, "token", [APNS, FCM, FID])
    assert [payload for _, payload in apns] == [
        {"aps": {"alert": {"title": "T", "body": 'Say "hi" to 李雷'}}}
    ]
    data = {"title": "T", "message": 'Say "hi" to 李雷'}
    fields = {"data": data, "notification": {"title": "T", "body": 'Say "hi" to 李雷'}}
    messages = [request["message"] for _, request in fcm]
    assert sorted(map(sorted, messages)) == sorted(
        map(sorted, [{"token": FCM, **fields}, {"fid": FID, **fields}])
    )
    assert all(message[key] == value for message in messages for key, value in fields.items())


async def test_the_listing_of_the_page_as_a_payload_file(tmp_path: Path, certs: Certificates) -> None:
    listing = {
        "collapse_key": "collapse",
        "priority": "high",
        "data": {"title": "Title", "message": "Body of {{name}}", "body": OWN},
    }
    payload = {"apns": {"aps": {"alert": "Hi"}}, "fcm": listing}
    _, ((_, request),) = await arrived(
        tmp_path, certs, payload, "token,name", [f"{APNS},x", f'{FCM},"A ""B"""']
    )
    assert orjson.loads(request["message"]["data"].pop("body")) == OWN
    assert request["message"] == {
        "token": FCM,
        "android": {"collapse_key": "collapse", "priority": "HIGH"},
        "data": {"title": "Title", "message": 'Body of A "B"'},
    }


async def test_each_providers_own_format_arrives_as_it_is(tmp_path: Path, certs: Certificates) -> None:
    content = {
        "apns": {"aps": {"alert": "Hi {{name}}"}, "n": 1.5},
        "fcm": {"message": {"notification": {"title": "Hi {{name}}"}, "android": {"ttl": "60s"}}},
    }
    name = 'Eve "E" \\ 李雷'
    quoted = '"' + name.replace('"', '""') + '"'
    apns, fcm = await arrived(tmp_path, certs, content, "token,name", [f"{APNS},{quoted}", f"{FCM},{quoted}"])
    assert apns[0][1] == {"aps": {"alert": f"Hi {name}"}, "n": 1.5}
    assert fcm[0][1] == {
        "message": {"token": FCM, "notification": {"title": f"Hi {name}"}, "android": {"ttl": "60s"}}
    }
