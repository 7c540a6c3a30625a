"""Topic subscriptions of the fake FCM, one by one and by the instance-id API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakeservers import FakeFcm, fated_fid, fated_registration
from fakeservers.fcm.topics import IID_ERRORS, PAGE_SIZE
from tests.fakeservers.client import Client, Reply
from tests.fakeservers.fcm_client import FID, TOKEN, detail_of, error_of, request_headers

NOW = 1_768_440_615.01  # 2026-01-15T01:30:15.01Z
NAME = f"projects/fake-project/registrations/{FID}/topicSubscriptions"


async def call(
    fake: FakeFcm,
    client: Client,
    method: str,
    rest: str = "",
    body: bytes = b"",
    *,
    registration: str = FID,
    project: str = "fake-project",
    **changes: str | None,
) -> Reply:
    path = f"/v1/projects/{project}/registrations/{registration}/topicSubscriptions{rest}"
    changes.setdefault("authorization", f"Bearer {fake.oauth.issue()}")
    return await client.push(request_headers(fake, path, method=method, **changes), body)


async def iid(fake: FakeFcm, client: Client, action: str, body: Any, **changes: str | None) -> Reply:
    changes.setdefault("authorization", f"Bearer {fake.oauth.issue()}")
    changes.setdefault("access_token_auth", "true")
    return await client.push(request_headers(fake, f"/iid/v1:{action}", **changes), json.dumps(body).encode())


@pytest.mark.parametrize("parameter", ["topic_name", "topicName"])
async def test_the_life_of_a_subscription(parameter: str) -> None:
    async with FakeFcm(now=lambda: NOW) as fake, await Client.connect(fake) as client:
        made = await call(fake, client, "POST", f"?{parameter}=news", b"{}")
        resource = {
            "name": f"{NAME}/news",
            "topic_name": "news",
            "create_time": "2026-01-15T01:30:15.010000Z",
        }
        assert (made.status, json.loads(made.body)) == (200, resource)

        again = await call(fake, client, "POST", f"?{parameter}=news", b"{}")
        assert (again.status, error_of(again)["status"]) == (409, "ALREADY_EXISTS")

        result = await call(fake, client, "GET", "/news")
        assert (result.status, json.loads(result.body)) == (200, resource)
        listed = await call(fake, client, "GET")
        assert json.loads(listed.body) == {"topic_subscriptions": [resource]}
        changed = await call(fake, client, "PATCH", "/news", b"{}")
        assert (changed.status, json.loads(changed.body)) == (200, resource)

        gone = await call(fake, client, "DELETE", "/news")
        assert (gone.status, json.loads(gone.body)) == (200, {})
        for method in ("GET", "DELETE", "PATCH"):
            missing = await call(fake, client, method, "/news")
            assert (missing.status, error_of(missing)["status"]) == (404, "NOT_FOUND")
            assert detail_of(error_of(missing), "FcmError") is None  # no reason to drop the token
        assert json.loads((await call(fake, client, "GET")).body) == {}


@pytest.mark.parametrize("parameter", ["allow_missing", "allowMissing"])
async def test_allow_missing(parameter: str) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        assert (await call(fake, client, "DELETE", f"/news?{parameter}=true")).status == 200
        assert (await call(fake, client, "DELETE", f"/news?{parameter}=false")).status == 404
        assert (await call(fake, client, "PATCH", f"/news?{parameter}=true", b"{}")).status == 200
        assert list(fake.subscriptions.topics(FID)) == ["news"]


async def test_a_token_and_its_installation_id_are_one() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        await call(fake, client, "POST", "?topic_name=news", b"{}", registration=TOKEN.replace(":", "%3A"))
        assert list(fake.subscriptions.topics(FID)) == list(fake.subscriptions.topics(TOKEN)) == ["news"]
        assert (await call(fake, client, "POST", "?topic_name=news", b"{}")).status == 409
        assert (await call(fake, client, "DELETE", "/news", project="123456789012")).status == 200


async def test_a_name_that_must_be_escaped() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        await call(fake, client, "POST", "?topic_name=50%25~", b"{}")
        assert list(fake.subscriptions.topics(FID)) == ["50%~"]
        assert (await call(fake, client, "DELETE", "/50%25~")).status == 200


async def test_pages() -> None:
    names = [f"t{number}" for number in range(7)]
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for name in names:
            fake.subscriptions.add(FID, name, NOW)
        seen, token, pages = [], "", 0
        while True:
            rest = f"?pageSize=3&pageToken={token}" if token else "?page_size=3"
            content = json.loads((await call(fake, client, "GET", rest)).body)
            seen += [
                topic_subscription["topic_name"] for topic_subscription in content["topic_subscriptions"]
            ]
            token, pages = content.get("next_page_token", ""), pages + 1
            if not token:
                break
        assert (seen, pages) == (names, 3)
        for rest in ("?page_size=x", "?page_size=-1", "?page_token=never"):
            assert (await call(fake, client, "GET", rest)).status == 400
        for number in range(1100):
            fake.subscriptions.add(FID, f"m{number}", NOW)
        content = json.loads((await call(fake, client, "GET")).body)
        assert len(content["topic_subscriptions"]) == PAGE_SIZE
        content = json.loads((await call(fake, client, "GET", "?page_size=5000")).body)
        assert len(content["topic_subscriptions"]) == 1107
        assert "next_page_token" not in content


@pytest.mark.parametrize(
    ("method", "rest", "body", "changes", "status"),
    [
        ("POST", "?topic_name=a%20b", b"{}", {}, 400),
        ("POST", "", b"{}", {}, 400),
        ("POST", "?topic_name=a&x=y", b"{}", {}, 400),
        ("POST", "?topic_name=a", b"nonsense", {}, 400),
        ("POST", "?topic_name=a", b'{"topic": "a"}', {}, 400),
        ("POST", "?topic_name=a", b"", {}, 200),
        ("DELETE", "/a%2Fb", b"", {}, 400),
        ("DELETE", "", b"", {}, 404),
        ("PUT", "?topic_name=a", b"{}", {}, 404),
        ("POST", "/a", b"{}", {}, 404),
        ("POST", "?topic_name=a", b"{}", {"authorization": None}, 401),
        ("POST", "?topic_name=a", b"{}", {"authorization": "Bearer x"}, 401),
        ("POST", "?topic_name=a", b"{}", {"project": "other"}, 404),
        ("POST", "?topic_name=a", b"{}", {"registration": "nonsense"}, 400),
    ],
)
async def test_rules(method: str, rest: str, body: bytes, changes: dict[str, Any], status: int) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        assert (await call(fake, client, method, rest, body, **changes)).status == status


@pytest.mark.parametrize(
    ("fate", "status", "code"),
    [
        ("Unregistered", 404, "UNREGISTERED"),
        ("InvalidToken", 400, "INVALID_ARGUMENT"),
        ("QuotaExceeded", 429, "QUOTA_EXCEEDED"),
        ("Unavailable", 503, "UNAVAILABLE"),
        ("PermissionDenied", 403, None),
    ],
)
async def test_fates(fate: str, status: int, code: str | None) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await call(fake, client, "POST", "?topic_name=a", b"{}", registration=fated_fid(fate))
        assert reply.status == status
        assert (detail_of(error_of(reply), "FcmError") or {}).get("errorCode") == code
        assert not fake.subscriptions.topics(fated_fid(fate))


@pytest.mark.parametrize(
    ("fate", "done"), [("RefusedStream", False), ("InternalReset", True), ("Slow", True), ("Canonical", True)]
)
async def test_what_is_done_though_nobody_may_hear_of_it(fate: str, done: bool) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fid = fated_fid(fate, 1)
        await call(fake, client, "POST", "?topic_name=a", b"{}", registration=fid)
        assert bool(fake.subscriptions.topics(fid)) is done


async def test_a_rate_for_the_whole_project() -> None:
    clock = [NOW]
    async with (
        FakeFcm(topic_rate=3, now=lambda: clock[0]) as fake,
        await Client.connect(fake) as client,
    ):

        async def statuses() -> list[int]:
            return [(await call(fake, client, "DELETE", "/a?allow_missing=true")).status for _ in range(4)]

        assert await statuses() == [200, 200, 200, 429]
        clock[0] += 1 / 3 + 0.001
        assert await statuses() == [200, 429, 429, 429]
        clock[0] += 60
        assert await statuses() == [200, 200, 200, 429]
        reply = await iid(fake, client, "batchAdd", {"to": "/topics/a", "registration_tokens": [TOKEN]})
        assert (reply.status, json.loads(reply.body)) == (429, {"error": "RESOURCE_EXHAUSTED"})
        assert (await call(fake, client, "GET")).status == 200  # looking is free
        reply = await call(fake, client, "DELETE", "/a")
        assert (error_of(reply)["status"], detail_of(error_of(reply), "FcmError")) == (
            "RESOURCE_EXHAUSTED",
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "QUOTA_EXCEEDED"},
        )


async def test_too_many_topics() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        fake.subscriptions.max_topics = 2
        for name in ("a", "b"):
            assert (await call(fake, client, "POST", f"?topic_name={name}", b"{}")).status == 200
        assert (await call(fake, client, "POST", "?topic_name=c", b"{}")).status == 429
        body = {"to": "/topics/c", "registration_tokens": [TOKEN]}
        reply = await iid(fake, client, "batchAdd", body)
        assert json.loads(reply.body) == {"results": [{"error": "TOO_MANY_TOPICS"}]}
        body["to"] = "/topics/a"  # subscribed already: no error
        assert json.loads((await iid(fake, client, "batchAdd", body)).body) == {"results": [{}]}


# The instance-id API


async def test_batches() -> None:
    tokens = [TOKEN, *map(fated_registration, IID_ERRORS), "nonsense"]
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        body = {"to": "/topics/news", "registration_tokens": tokens}
        reply = await iid(fake, client, "batchAdd", body)
        assert reply.status == 200
        errors = [result.get("error") for result in json.loads(reply.body)["results"]]
        assert errors == [None, *IID_ERRORS.values(), "INVALID_ARGUMENT"]
        assert list(fake.subscriptions.topics(TOKEN)) == ["news"]
        reply = await iid(fake, client, "batchRemove", {"to": "/topics/news", "registration_tokens": [TOKEN]})
        assert json.loads(reply.body) == {"results": [{}]}
        assert not fake.subscriptions.topics(TOKEN)


def test_every_code_of_a_batch_can_be_had() -> None:
    codes = {"NOT_FOUND", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}
    codes |= {"DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"}
    assert set(IID_ERRORS.values()) == codes  # and TOO_MANY_TOPICS by their number


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "x",
        {"to": "news", "registration_tokens": [TOKEN]},
        {"to": "/topics/a b", "registration_tokens": [TOKEN]},
        {"to": "/topics/news", "registration_tokens": []},
        {"to": "/topics/news", "registration_tokens": TOKEN},
        {"to": "/topics/news", "registration_tokens": [1]},
        {"to": "/topics/news", "registration_tokens": [TOKEN] * 1001},
        {"to": 5, "registration_tokens": [TOKEN]},
    ],
    ids=lambda case: str(case)[:40],
)
async def test_a_batch_that_is_none(body: Any) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        reply = await iid(fake, client, "batchAdd", body)
        assert (reply.status, json.loads(reply.body)) == (400, {"error": "InvalidArguments"})


@pytest.mark.parametrize(
    ("fate", "status"),
    [("Unavailable", 503), ("BadGateway", 502), ("EmptyBody", 500), ("AccessTokenExpired", 401)],
)
async def test_what_befalls_the_whole_batch(fate: str, status: int) -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        body = {"to": "/topics/news", "registration_tokens": [fated_registration(fate)]}
        assert (await iid(fake, client, "batchAdd", body)).status == status


async def test_a_batch_needs_a_token() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:
        for authorization in (None, f"key={fake.server_key}", "Bearer x"):
            reply = await iid(fake, client, "batchAdd", {}, authorization=authorization)
            assert (reply.status, reply.headers["content-type"]) == (401, "text/html; charset=UTF-8")
        assert (await iid(fake, client, "batchAdd", {}, method="PUT")).status == 404


async def test_info() -> None:
    async with FakeFcm() as fake, await Client.connect(fake) as client:

        async def info(token: str, query: str = "", **changes: str | None) -> Reply:
            headers = {"method": "GET", "authorization": f"Bearer {fake.oauth.issue()}"} | changes
            return await client.push(request_headers(fake, f"/iid/info/{token}{query}", **headers), b"")

        fake.subscriptions.add(TOKEN, "news", NOW)
        content = json.loads((await info(TOKEN, "?details=true")).body)
        assert content == {
            "application": "com.example.app",
            "authorizedEntity": "123456789012",
            "platform": "ANDROID",
            "applicationVersion": "1",
            "rel": {"topics": {"news": {"addDate": "2026-01-15"}}},
        }
        assert "rel" not in json.loads((await info(TOKEN)).body)
        assert (await info("nonsense")).status == 400
        reply = await info(fated_registration("Unregistered"))
        assert (reply.status, json.loads(reply.body)) == (
            404,
            {"error": "No information found about this instance id."},
        )
        assert (await info(TOKEN, authorization=None)).status == 401
        assert (await info(TOKEN, method="DELETE")).status == 404
        assert (await info(f"{TOKEN}/x")).status == 404
        assert (await info(fated_registration("Unavailable"))).status == 503
