"""Received requests as JSON and as a phone shows them, and the buckets of the latency."""

from __future__ import annotations

import math
import random
from typing import Any

import orjson
import pytest

from fakeservers.apns import strict as apns_strict
from fakeservers.control.records import MAX_BODY, MAX_TEXT, drawn, record
from fakeservers.fcm import strict as fcm_strict
from fakeservers.serving.latency import BOUNDS, GROWTH, Latency, percentile


def of_apns(payload: Any) -> apns_strict.ApnsRecord:
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    fields = {b":path": b"/3/device/ab", b"apns-topic": b"com.example.app", b"authorization": b"bearer a.b.c"}
    return apns_strict.ApnsRecord(b"/3/device/ab", fields, body, 200, "", 1, 5.0)


def of_fcm(path: str, body: Any) -> fcm_strict.FcmRecord:
    fields = {b":method": b"POST", b":path": path.encode(), b"authorization": b"key=AAAA"}
    sent = body if isinstance(body, bytes) else orjson.dumps(body)
    return fcm_strict.FcmRecord(fields, sent, 200, "", (1, "2"), 5.0)


def of_v1(**message: Any) -> fcm_strict.FcmRecord:
    return of_fcm("/v1/projects/p/messages:send?alt=json", {"message": message})


def shown(service: str, received: Any) -> dict[str, Any]:
    result = drawn(service, received)
    assert result is not None
    names = ("title", "subtitle", "body", "badge", "image", "sound")
    return {name: result[name] for name in names if name in result} | (
        {"silent": True} if result["silent"] else {}
    )


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"aps": {"alert": "Hi"}}, {"body": "Hi"}),
        (
            {"aps": {"alert": {"title": "T", "subtitle": "S", "body": "B"}, "badge": 0}},
            {"title": "T", "subtitle": "S", "body": "B", "badge": "0"},
        ),
        (
            {"aps": {"alert": {"loc-key": "GAME", "loc-args": ["Ada", 2], "title-loc-key": "HELLO"}}},
            {"title": "HELLO()", "body": "GAME(Ada, 2)"},
        ),
        (
            {"aps": {"alert": "Hi", "sound": {"name": "bell.caf", "critical": 1}}},
            {"body": "Hi", "sound": "bell.caf"},
        ),
        (
            {"aps": {"alert": "Hi"}, "fcm_options": {"image": "https://a/b"}},
            {"body": "Hi", "image": "https://a/b"},
        ),
        ({"aps": {"alert": "Hi"}, "media-url": "https://a/c"}, {"body": "Hi", "image": "https://a/c"}),
        ({"aps": {"content-available": 1}, "x": 1}, {"silent": True}),
        ({"aps": 5}, {"silent": True}),
        ({"aps": {"alert": ["no"], "badge": {"no": 1}}}, {"silent": True}),
        ({"aps": {"alert": "x" * 5000}}, {"body": "x" * MAX_TEXT}),
    ],
)
def test_an_apns_payload_as_a_phone_shows_it(payload: Any, expected: dict[str, Any]) -> None:
    assert shown("apns", of_apns(payload)) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"notification": {"title": "T", "body": "B", "image": "https://a/b"}},
            {"title": "T", "body": "B", "image": "https://a/b"},
        ),
        (
            {
                "notification": {"title": "T"},
                "android": {"notification": {"title": "A", "notification_count": 4}},
            },
            {"title": "A", "badge": "4"},
        ),
        ({"android": {"notification": {"body": "A", "notificationCount": 4}}}, {"body": "A", "badge": "4"}),
        (
            {"apns": {"payload": {"aps": {"alert": {"title": "I", "subtitle": "S"}, "badge": 2}}}},
            {"title": "I", "subtitle": "S", "badge": "2"},
        ),
        ({"data": {"a": "b"}}, {"silent": True}),
        ({"notification": 5, "android": [], "apns": {"payload": None}}, {"silent": True}),
    ],
)
def test_an_fcm_message_as_a_phone_shows_it(message: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shown("fcm", of_v1(token="t", **message)) == expected


def test_targets_of_fcm() -> None:
    for message, token, topic in (
        ({"token": "t"}, "t", ""),
        ({"fid": "f"}, "f", ""),
        ({"topic": "news"}, "", "news"),
        ({"condition": "'a' in topics"}, "", "'a' in topics"),
        ({"token": 5, "topic": ["no"]}, "", ""),
    ):
        result = record("fcm", of_v1(**message))
        assert (result["token"], result["topic"]) == (token, topic)
    legacy = record("fcm", of_fcm("/fcm/send", {"to": "/topics/news", "notification": {"title": "T"}}))
    assert legacy["topic"] == "news"
    assert "AAAA" not in legacy["headers"]["authorization"]


def test_what_is_no_send_is_not_drawn() -> None:
    assert drawn("fcm", of_fcm("/token", b"grant_type=x&assertion=secret")) is None
    assert drawn("fcm", of_fcm("/iid/v1:batchAdd", {"to": "/topics/a"})) is None
    assert drawn("apns", of_apns(b"no json")) is None
    assert drawn("apns", of_apns(b"[1]")) is None


def test_an_assertion_is_left_out_and_a_long_body_cut() -> None:
    result = record("fcm", of_fcm("/token?x=1", b"grant_type=x&assertion=secret"))
    assert "secret" not in str(result)
    assert result["body_bytes"] == 29
    result = record("fcm", of_fcm("/iid/v1:batchAdd", b"[" + b'"t",' * 10_000 + b'"t"]'))
    assert len(result["body_cut"]) == MAX_BODY
    assert result["body_bytes"] > MAX_BODY


def test_percentiles_are_off_by_a_bucket_at_most() -> None:
    rng = random.Random(7)
    values = sorted(rng.lognormvariate(-5, 1.5) for _ in range(5000))
    latency = Latency()
    for value in values:
        latency.add(value)
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = values[math.ceil(share * len(values)) - 1]
        result = percentile(latency.counts, share)
        assert result is not None
        assert exact / GROWTH <= result <= exact * GROWTH
    assert latency.total == pytest.approx(sum(values))


def test_the_edges_of_the_buckets() -> None:
    latency = Latency()
    assert percentile(latency.counts, 0.5) is None
    latency.add(0.0, 3)
    assert percentile(latency.counts, 0.5) == pytest.approx(BOUNDS[0] / 2)
    assert percentile(latency.counts, 0.0) == 0.0
    latency.clear()
    latency.add(1e6, 2)
    assert percentile(latency.counts, 0.5) == BOUNDS[-1]
    latency.clear()
    assert (sum(latency.counts), latency.total) == (0, 0.0)
