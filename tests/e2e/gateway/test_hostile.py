"""What a caller can send that no caller should: it never gets a 5xx, an internal failure, or a line of its own in the log."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from pushcore.gateway.config import ExpoSection, SealingSection
from pushcore.gateway.expo.sealed import new_key
from tests.support.gateway import TOKEN, app_section, config_of, gateway_of

IPHONE = f"{1:064x}"
ANDROID = "f" * 22 + ":APA91b" + "x" * 134
PROJECT = "00000000-0000-4000-8000-000000000000"
EXPO = "/--/api/v2/push/"
SEND, RECEIPTS, GET_TOKEN = EXPO + "send", EXPO + "getReceipts", EXPO + "getExpoPushToken"
PATHS = ("/v1/push", "/v1/push/batch", "/v1/push/stream", SEND, RECEIPTS, GET_TOKEN)
PUSH: dict[str, Any] = {"to": IPHONE, "payload": {"aps": {"alert": "Hi"}}}

ODD: list[Any] = [
    *(None, True, -1, 0, 10**30, 1e308, "", "\0", "\r\nx: y", "\ud800", "\u00e9" * 300, "x" * 5000, "\u202e\u2028"),
    *([], [[]], {}, {"a": {"b": [1]}}, "../../etc/passwd", "%s%n", "{{x}}", "{{a.__class__}}"),
]  # fmt: skip


def nested(depth: int, start: bytes = b"[", end: bytes = b"]") -> bytes:
    return start * depth + end * depth


def nested_in(text: str, depth: int) -> bytes:
    return text.encode().replace(b"?", nested(depth))


BODIES = [
    *(b"", b" ", b"{", b"}", b"[", b"nul", b"null", b"true", b"0", b"1e999", b"NaN", b"[]", b"{}", b"[[]]", b"[null]"),
    *(b'"\\ud800"', b'{"a":"\\ud800"}', b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a":1,}', b"{'a':1}", b'{"a":1}{"a":1}', b"\0"),
    *(nested(depth) for depth in (10, 200, 1000, 1024, 1025, 100_000)),
    *(nested(depth, b'{"a":', b"}") for depth in (500, 100_000)),
    nested_in('{"to":"' + IPHONE + '","payload":{"aps":{"alert":"x"},"d":?}}', 900),
    nested_in('{"to":"' + IPHONE + '","payload":{"title":"x","data":{"d":?}}}', 300),
    nested_in('[{"to":"' + IPHONE + '","title":"x","data":{"d":?}}]', 253),
    nested_in('{"template":{"title":"{{x}}"},"rows":[{"token":"' + IPHONE + '","x":?}]}', 900),
    nested_in('{"ids":?}', 900),
    b"1" * 5000,
    b'{"a":' + b"9" * 100_000 + b"}",
    b'{"pushes":[1,null,"a",[],{}]}',
    b'{"pushes":[' + b",".join([b"{}"] * 1001) + b"]}",
    b'{"template":{"title":"{{"},"rows":[{"token":"a"}]}',
]  # fmt: skip
ENCODED = [
    gzip.compress(b"0" * (64 << 20)),
    gzip.compress(gzip.compress(b"0" * (64 << 20))),
    gzip.compress(b"0" * 10_000)[:-4],
    gzip.compress(json.dumps(PUSH).encode()) + b"x",
    gzip.compress(b"") * 3,
    gzip.compress(nested(1_000_000)),
    *(b"\x1f\x8b", b"", b"x"),
]

FIELDS = {
    "/v1/push": [
        ({**PUSH, field: "?"}, field)
        for field in (
            *("to", "payload", "app", "ref", "platform", "fcm_topic", "condition", "channel", "format", "environment"),
            *("topic", "push_type", "priority", "expiration", "collapse_id", "apns_id", "validate_only", "\r\nx: y"),
        )
    ],
    "/v1/push/batch": [
        ({"template": {"title": "x"}, "rows": [{"token": IPHONE}], field: "?"}, field)
        for field in ("pushes", "template", "rows", "app", "format", "environment", "push_type", "expiration", "collapse_id")
    ],
    SEND: [
        ({"to": [IPHONE, ANDROID], "title": "x", field: "?"}, field)
        for field in ("to", "title", "body", "data", "ttl", "expiration", "priority", "sound", "badge", "channelId", "richContent")
    ],
    RECEIPTS: [({"ids": "?"}, "ids")],
    GET_TOKEN: [
        (
            {"type": "apns", "development": False, "appId": "a", "deviceToken": IPHONE, "projectId": PROJECT, field: "?"},
            field,
        )
        for field in ("type", "development", "appId", "deviceToken", "projectId")
    ],
}  # fmt: skip


def requests() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Path, body and headers."""
    for path, body in itertools.product(PATHS, BODIES):
        yield path, body, {}
    for path, body in itertools.product(PATHS, ENCODED):
        yield path, body, {"content_encoding": "gzip"}
    for path, bodies in FIELDS.items():
        for (body, field), value in itertools.product(bodies, ODD):
            yield path, json.dumps({**body, field: value}).encode(), {}
    for field, value in itertools.product(
        ("alert", "badge", "sound", "content-available", "event", "timestamp", "content-state"), ODD
    ):
        yield (
            "/v1/push",
            json.dumps({"to": IPHONE, "payload": {"aps": {"alert": "x", field: value}}}).encode(),
            {},
        )
    for field, value in itertools.product(
        ("notification", "data", "android", "webpush", "apns", "topic"), ODD
    ):
        payload = {"notification": {"title": "x"}, field: value}
        yield "/v1/push", json.dumps({"to": ANDROID, "payload": payload}).encode(), {}
    for name, text in itertools.product(
        ("idempotency_key", "x_request_id", "traceparent", "x_forwarded_for", "accept", "content_type"),
        ("", "a" * 5000, "%0d%0a", "'\"<>"),
    ):
        yield "/v1/push", json.dumps(PUSH).encode(), {name: text}


async def test_no_request_is_an_internal_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name in ("tokens", "receipts"):
        (tmp_path / name).write_text(new_key(lambda count: name.encode()[:1] * count))  # noqa: B023
    sealing = SealingSection(token_keys=str(tmp_path / "tokens"), receipt_keys=str(tmp_path / "receipts"))
    async with FakeApns() as apns, FakeFcm() as fcm:
        expo = ExpoSection(project_ids=(PROJECT,), packages=("a",))
        async with gateway_of(config_of(app_section(apns, fcm, expo=expo), sealing=sealing)) as client:
            count = 0
            for path, body, headers in requests():
                caplog.clear()
                count += 1
                what = (path, body[:200], headers)
                response = await client.post(path, body, **headers)
                assert response.status_code < 500, what
                assert "internal" not in response.text, what
                for record in caplog.records:
                    message = record.getMessage()
                    assert record.levelname != "ERROR", (what, message)
                    assert record.exc_info is None, (what, message)
                    assert message.isprintable(), (what, message)
                    assert TOKEN not in message, what
            assert count > 1500
            assert (await client.push(**PUSH))["verdict"] == "ACCEPTED"
