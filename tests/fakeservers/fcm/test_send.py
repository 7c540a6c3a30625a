"""`messages:send` of the fake FCM: every fate with its recorded body, paths, projects, and what is noted."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeFcm, fated_fid, fated_registration
from fakeservers.fcm.fates import (
    CANONICAL,
    CODES,
    FATES,
    TRANSPORT,
    canonical_of,
    fate_of,
    milliseconds_of,
)
from fakeservers.responses.fcm import BY_FATE
from tests.fakeservers.client import Client, soon
from tests.fakeservers.fcm_client import (
    FID,
    TOKEN,
    Watcher,
    curl,
    detail_of,
    error_of,
    request_headers,
    send_body,
    send_headers,
    send_path,
)

NAME = re.compile(r"projects/fake-project/messages/0:[0-9]{16}%[0-9a-f]{16}")

# Fate: status, Google's status, FcmError, a word of the message, field of BadRequest, ApnsError, Retry-After.
# None in the second place is a body that is no JSON.
ANSWERS: dict[str, tuple[int, str | None, str, str, str, tuple[int, str] | None, str]] = {
    "InvalidToken": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "invalid argument",
        "message.token",
        None,
        "",
    ),
    "NotARegistrationToken": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        "",
        None,
        "",
    ),
    "ApnsDisabled": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "APNs device token is disabled.",
        "",
        (410, "Unregistered"),
        "",
    ),
    "TooBig": (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Android message is too big", "", None, ""),
    "TokenByTextAndField": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "The registration token is not a valid FCM registration token",
        "message.token",
        None,
        "",
    ),
    "NoRecipient": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "Recipient of the message is not set.",
        "message",
        None,
        "",
    ),
    "WrongType": (
        400,
        "INVALID_ARGUMENT",
        "",
        "Invalid value at 'message.data[0].value' (TYPE_STRING), 12",
        "message.data[0].value",
        None,
        "",
    ),
    "UnknownName": (
        400,
        "INVALID_ARGUMENT",
        "",
        "Invalid JSON payload received. Unknown name \"key\" at 'message': Cannot find field.",
        "message",
        None,
        "",
    ),
    "ApnsKeyType": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "invalid argument",
        "message.apns.payload.aps.badge",
        None,
        "",
    ),
    "InvalidDataKey": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "Invalid data payload key: from",
        "message.data",
        None,
        "",
    ),
    "InvalidTtl": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "invalid argument",
        "message.android.ttl",
        None,
        "",
    ),
    "InvalidPackageName": (
        400,
        "INVALID_ARGUMENT",
        "INVALID_ARGUMENT",
        "invalid argument",
        "message.android.restricted_package_name",
        None,
        "",
    ),
    "InvalidArgument": (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "invalid argument", "", None, ""),
    "AccessTokenExpired": (401, "UNAUTHENTICATED", "", "invalid authentication credentials", "", None, ""),
    "ThirdPartyAuth": (
        401,
        "UNAUTHENTICATED",
        "THIRD_PARTY_AUTH_ERROR",
        "missing required authentication credential",
        "",
        None,
        "",
    ),
    "ApnsInvalidProviderToken": (
        401,
        "UNAUTHENTICATED",
        "THIRD_PARTY_AUTH_ERROR",
        "missing required authentication credential",
        "",
        (403, "InvalidProviderToken"),
        "",
    ),
    "ApnsBadEnvironmentKey": (
        401,
        "UNAUTHENTICATED",
        "THIRD_PARTY_AUTH_ERROR",
        "missing required authentication credential",
        "",
        (403, "BadEnvironmentKeyInToken"),
        "",
    ),
    "ApnsAuth": (401, "UNAUTHENTICATED", "APNS_AUTH_ERROR", "Auth error", "", None, ""),
    "SenderIdMismatch": (
        403,
        "PERMISSION_DENIED",
        "SENDER_ID_MISMATCH",
        "SenderId mismatch",
        "",
        None,
        "",
    ),
    "PermissionDenied": (
        403,
        "PERMISSION_DENIED",
        "",
        "Permission 'cloudmessaging.messages.create' denied on resource "
        "'//cloudresourcemanager.googleapis.com/projects/fake-project'",
        "",
        None,
        "",
    ),
    "ServiceDisabled": (403, "PERMISSION_DENIED", "", "it is disabled", "", None, ""),
    "Unregistered": (404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.", "", None, ""),
    "UnregisteredApns": (404, "NOT_FOUND", "UNREGISTERED", "not found", "", (410, "Unregistered"), ""),
    "ProjectNotFound": (404, "NOT_FOUND", "", "Requested entity was not found.", "", None, ""),
    "HtmlNotFound": (404, None, "", "The requested URL was not found on this server.", "", None, ""),
    "TopicQuotaExceeded": (
        429,
        "RESOURCE_EXHAUSTED",
        "QUOTA_EXCEEDED",
        "Topic quota exceeded.",
        "",
        None,
        "60",
    ),
    "QuotaExceeded": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded", "", None, "60"),
    "DeviceRateExceeded": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Device", "", None, "60"),
    "TopicRateExceeded": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Topic", "", None, "60"),
    "QuotaWithoutRetryAfter": (429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota", "", None, ""),
    "Internal": (500, "INTERNAL", "INTERNAL", "Internal error encountered.", "", None, ""),
    "InternalTimeout": (500, "INTERNAL", "INTERNAL", "Internal error encountered.", "", None, ""),
    "UnspecifiedError": (500, "UNKNOWN", "UNSPECIFIED_ERROR", "Unknown error", "", None, ""),
    "EmptyBody": (500, None, "", "", "", None, ""),
    "BadGateway": (502, None, "", "Please try again in 30 seconds", "", None, ""),
    "Unavailable": (
        503,
        "UNAVAILABLE",
        "UNAVAILABLE",
        "The service is currently unavailable.",
        "",
        None,
        "60",
    ),
    "UnavailableWithoutRetryAfter": (503, "UNAVAILABLE", "UNAVAILABLE", "unavailable", "", None, ""),
    "UnavailableUntilDate": (
        503,
        "UNAVAILABLE",
        "UNAVAILABLE",
        "unavailable",
        "",
        None,
        "Fri, 15 Jan 2027 08:01:00 GMT",
    ),
}
NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def test_every_fate_is_an_answer_or_none_of_googles() -> None:
    assert ANSWERS.keys() == BY_FATE.keys()
    assert BY_FATE.keys() | TRANSPORT | {CANONICAL} == FATES
    assert len(FATES) == len(CODES)


def test_the_page_lists_every_fate() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "fakeservers.md").read_text()
    part = page.partition("# The fake FCM")[2]
    assert dict(re.findall(r"^\| ([0-9a-f]{4}) \| (\w+) \|", part, re.MULTILINE)) == CODES


@pytest.mark.parametrize("fate", ANSWERS)
async def test_the_body_of_a_fate(fate: str) -> None:
    code, status, fcm, message, field, apns, retry_after = ANSWERS[fate]
    async with FakeFcm(now=lambda: NOW) as fake, await Client.connect(fake) as client:
        ms = 1 if fate == "InternalTimeout" else 0
        reply = await client.push(send_headers(fake), send_body(token=fated_registration(fate, 7, ms=ms)))
        assert reply.status == code
        assert reply.headers.get("retry-after", "") == retry_after
        if status is None:
            assert reply.headers["content-type"] == "text/html; charset=UTF-8"
            assert message in reply.body.decode()
        else:
            error = error_of(reply)
            assert error["status"] == status
            assert message in error["message"]
            assert (detail_of(error, "FcmError") or {}).get("errorCode", "") == fcm
            violations = (detail_of(error, "BadRequest") or {}).get("fieldViolations", [{"field": ""}])
            assert [violation["field"] for violation in violations] == [field]
            result = detail_of(error, "ApnsError")
            assert (None if result is None else (result["statusCode"], result["reason"])) == apns
            assert (detail_of(error, "QuotaFailure") is not None) == (code == 429)
        assert list(fake.counts) == [(code, fake.received[-1].reason)]
        assert fake.received[-1].reason


@pytest.mark.parametrize(
    "fate", sorted(ANSWERS.keys() - {"InvalidToken", "TokenByTextAndField", "InternalTimeout"})
)
async def test_an_installation_id_has_the_same_fates(fate: str) -> None:
    async with FakeFcm(now=lambda: NOW) as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        by_fid = await client.push(headers, send_body(fid=fated_fid(fate)))
        in_transition = await client.push(headers, send_body(token=fated_fid(fate)))
        by_token = await client.push(headers, send_body(token=fated_registration(fate)))
        assert by_fid.status == in_transition.status == by_token.status
        assert by_fid.body == in_transition.body == by_token.body


async def test_the_field_of_a_bad_installation_id() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake), send_body(fid=fated_fid("InvalidToken")))
        detail = detail_of(error_of(reply), "BadRequest")
        assert detail is not None
        assert detail["fieldViolations"] == [
            {"field": "message.fid", "description": "Invalid registration token"}
        ]


async def test_details_come_in_either_order() -> None:
    """As they were recorded: clients must scan them."""
    orders = set()
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for fate in ("NoRecipient", "InvalidToken"):
            reply = await client.push(send_headers(fake), send_body(token=fated_registration(fate)))
            orders.add(tuple(detail["@type"].rpartition(".")[2] for detail in error_of(reply)["details"]))
    assert orders == {("BadRequest", "FcmError"), ("FcmError", "BadRequest")}


@pytest.mark.parametrize(
    ("fate", "wait"), [("QuotaExceeded", "17"), ("Unavailable", "17"), ("UnavailableUntilDate", "08:00:17")]
)
async def test_a_token_says_how_long_to_wait(fate: str, wait: str) -> None:
    async with FakeFcm(now=lambda: NOW) as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake), send_body(token=fated_registration(fate, 1, ms=17_000)))
        assert wait in reply.headers["retry-after"]


def test_the_forms_of_fated_tokens() -> None:
    for fate in FATES:
        fid, token = fated_fid(fate, 12, ms=345), fated_registration(fate, 16**6, ms=345)
        assert re.fullmatch(r"[cdef][\w-]{21}", fid, re.ASCII)
        assert re.fullmatch(r"[cdef][\w-]{21}:APA91b[\w-]{128}", token, re.ASCII)
        assert fate_of(fid) == fate_of(token) == fate
        assert milliseconds_of(fid) == milliseconds_of(token) == 345
        assert fate_of(canonical_of(token)) == ""
    assert fated_fid("Slow", 1) != fated_fid("Slow", 2)
    assert fate_of(TOKEN) == ""
    assert milliseconds_of(TOKEN) == 0
    with pytest.raises(KeyError):
        fated_fid("Luck")


# What is accepted


@pytest.mark.parametrize(
    "target",
    [
        {"token": TOKEN},
        {"token": FID},
        {"fid": FID},
        {"topic": "news"},
        {"condition": "'a' in topics && !('b' in topics)"},
        {"token": fated_registration("Canonical")},
    ],
)
async def test_accepted(target: dict[str, str]) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers, names = send_headers(fake), set()
        for _ in range(3):
            reply = await client.push(headers, send_body(**target))
            assert (reply.status, reply.headers["content-type"]) == (200, "application/json; charset=UTF-8")
            content = json.loads(reply.body)
            assert content.keys() == {"name"}
            assert NAME.fullmatch(content["name"])
            names.add(content["name"])
        assert len(names) == 3


@pytest.mark.parametrize("key", ["validate_only", "validateOnly"])
async def test_validate_only(key: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        body: dict[str, Any] = {key: True, "message": {"token": TOKEN}}
        reply = await client.push(headers, json.dumps(body).encode())
        assert json.loads(reply.body) == {"name": "projects/fake-project/messages/fake_message_id"}
        body["message"]["data"] = {"a": 1}
        assert (await client.push(headers, json.dumps(body).encode())).status == 400
        body["message"] = {"token": fated_registration("Unregistered")}
        assert (await client.push(headers, json.dumps(body).encode())).status == 404


# Paths


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/v1/projects/fake-project/messages:send", "POST", 200),
        ("/v1/projects/123456789012/messages:send", "POST", 200),
        ("/v1/projects/fake%2Dproject/messages:send?prettyPrint=false&alt=json&$.xgafv=2", "POST", 200),
        ("/v1/projects/other/messages:send", "POST", 404),
        ("/v1/projects/messages:send", "POST", "page"),
        ("/v1/projects/a/b/messages:send", "POST", "page"),
        ("/v1/projects/fake-project/messages:send", "GET", "page"),
        ("/v1/projects/fake-project/messages:send", "PUT", "page"),
        ("/v1/projects/fake-project/messages", "POST", "page"),
        ("/v2/projects/fake-project/messages:send", "POST", "page"),
        ("/batch", "POST", "page"),
        ("/<b>&", "POST", "page"),
        ("/", "GET", "page"),
    ],
)
async def test_paths(path: str, method: str, status: int | str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake, path=path, method=method), send_body())
        if status == "page":
            assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=UTF-8")
            assert b"was not found on this server" in reply.body
            assert b"<b>&" not in reply.body
        else:
            assert reply.status == status
        if status == 404:
            error = error_of(reply)
            assert error == {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}


async def test_a_good_path_stands_for_itself_alone() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        good, other = send_path(fake), "/v1/projects/other/messages:send"
        asked = (
            (good, "POST"),
            (good, "POST"),
            (good, "GET"),
            (other, "POST"),
            (f"{good}?a=1", "POST"),
            (good, "POST"),
        )
        replies = [
            await client.push(send_headers(fake, path=path, method=method), send_body())
            for path, method in asked
        ]
        assert [reply.status for reply in replies] == [200, 200, 404, 404, 400, 200]


async def test_an_unknown_query_parameter() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await client.push(send_headers(fake, path=send_path(fake) + "?dry_run=true"), send_body())
        assert reply.status == 400
        assert 'Unknown name "dry_run": Cannot bind query parameter.' in error_of(reply)["message"]


# What a test may set and see


async def test_fates_from_outside() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        fake.fates[TOKEN] = "Unregistered"
        fake.fates["news"] = "TopicRateExceeded"
        assert (await client.push(headers, send_body())).status == 404
        assert (await client.push(headers, send_body(topic="news"))).status == 429
        del fake.fates[TOKEN]
        fake.next_fates.extend(["Unavailable", "Internal"])
        assert [(await client.push(headers, send_body())).status for _ in range(3)] == [503, 500, 200]


async def test_what_was_received() -> None:
    async with FakeFcm(keep=2, now=lambda: NOW) as fake, await Client.connect(fake) as client:
        headers = send_headers(fake, x_extra="1")
        for number in range(3):
            await client.push(headers, send_body(data={"n": str(number)}))
        assert [json.loads(record.body)["message"]["data"]["n"] for record in fake.received] == ["1", "2"]
        last = fake.received[-1]
        assert (last.method, last.path, last.headers["x-extra"]) == ("POST", send_path(fake), "1")
        assert (last.status, last.reason, last.connection, last.version, last.time) == (200, "", 1, "2", NOW)
        assert repr(last) == f"FcmRecord({send_path(fake)!r}, status=200, reason='', connection=1)"
        assert fake.counts == {(200, ""): 3}
        assert (fake.connections, fake.accepted) == (1, 1)


async def test_requests_share_headers_only_when_they_are_equal() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for mark in ("a", "a", "b", "a", None):
            await client.push(send_headers(fake, **{"x-mark": mark}), send_body())
        assert [record.headers.get("x-mark") for record in fake.received] == ["a", "a", "b", "a", None]
        assert fake.counts == {(200, ""): 5}


async def test_an_unknown_profile() -> None:
    with pytest.raises(ValueError, match="unknown profile 'lax'"):
        FakeFcm("lax")


# What is no answer of Google's


@pytest.mark.parametrize(("fate", "code"), [("RefusedStream", 7), ("InternalReset", 2)])
async def test_a_reset_stream(fate: str, code: int) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        reply = await client.push(headers, send_body(token=fated_registration(fate)))
        assert (reply.status, reply.reset) == (0, code)
        assert (await client.push(headers, send_body())).status == 200
        assert fake.counts == {(0, fate): 1, (200, ""): 1}


async def test_stalled_and_slow() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        headers = send_headers(fake)
        stalled = client.request(headers, send_body(token=fated_registration("Stall")))
        slow = client.request(headers, send_body(token=fated_registration("Slow", 1, ms=300)))
        timeout = client.request(headers, send_body(token=fated_registration("InternalTimeout", 1, ms=400)))
        assert (await client.push(headers, send_body())).status == 200
        assert not client.ended & {stalled, slow, timeout}
        assert (await client.reply(slow)).status == 200
        assert (await client.reply(timeout)).status == 500
        assert stalled not in client.ended
        assert fake.counts[0, "Stall"] == 1


async def test_goaway_after_and_before() -> None:
    for fate, answered in (("GoAway", True), ("GoAwayBefore", False)):
        async with FakeFcm() as fake, await Client.connect(fake) as client:
            headers = send_headers(fake)
            first = client.request(headers, send_body(token=fated_registration("Slow", 1, ms=30)))
            second = client.request(headers, send_body(token=fated_registration(fate)))
            third = client.request(headers, send_body())
            assert (await client.reply(first)).status == 200
            await client.until(lambda client=client: client.lost)  # type: ignore[misc]  # bound now, for the loop goes on
            assert client.goaway is not None
            assert client.goaway.last_stream_id == (second if answered else first)
            assert client.goaway.additional_data == b"max_age"
            assert (client.replies[second].status == 200) is answered
            assert third not in client.ended
            assert fake.counts == {(200, "Slow"): 1, (200 if answered else 0, fate): 1}


async def test_cut() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        client.request(send_headers(fake), send_body(token=fated_registration("Cut")))
        await client.until(lambda: client.lost)
        assert client.goaway is None
        await soon(lambda: not fake.connections)


# The bare profile


async def test_bare_says_200_to_everything() -> None:
    async with FakeFcm("bare") as fake, await Watcher.watch(fake) as client:
        assert client.streams == 100
        bodies = set()
        for path, body in ((send_path(fake), b"nonsense"), ("/x", b""), (send_path(fake), send_body())):
            reply = await client.push(request_headers(fake, path), body)
            assert reply.status == 200
            bodies.add(reply.body)
        assert len(bodies) == 1
        assert NAME.fullmatch(json.loads(bodies.pop())["name"])
        assert client.seen[:2] == [("headers", 1), ("data", 1)]
        assert ("ping", 0) not in client.seen
        assert fake.counts == {(200, ""): 3}
        assert not fake.received


@pytest.mark.needs("curl")
@pytest.mark.parametrize("version", ["--http2", "--http1.1"])
@pytest.mark.parametrize("profile", ["strict", "bare"])
async def test_curl_over_both_protocols(profile: str, version: str) -> None:
    async with FakeFcm(profile) as fake:
        header = f"authorization: Bearer {fake.oauth.issue()}"
        url = fake.url + send_path(fake)
        code, output = await curl(
            *(version, "--cacert", fake.ca_file, "-H", header, "-w", "\n%{http_code} %{http_version}"),
            *("--data-binary", send_body().decode(), url),
        )
        body, _, status = output.rpartition("\n")
        assert code == 0, output
        assert NAME.fullmatch(json.loads(body)["name"])
        assert status == f"200 {'2' if version == '--http2' else '1.1'}"


async def test_infinite_delay_is_no_time() -> None:
    """An answer that never comes leaves no timer behind; the connection ends as usual."""
    async with FakeFcm() as fake:
        fake.oauth.delay = math.inf
        async with await Client.connect(fake) as client:
            client.request(request_headers(fake, "/token"), b"x")
            await soon(lambda: fake.token_requests == 1)
        await soon(lambda: not fake.connections)
