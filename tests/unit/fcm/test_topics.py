"""Topics in virtual time against a server that answers as told: what is asked, how fast, and what is read of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pushcore.auth.service_account import ServiceAccount
from pushcore.errors import ClosedError, ConfigurationError, PushRejected
from pushcore.fcm.client import FcmClient
from pushcore.fcm.topics import MAX_PAGES, PAUSE, Subscription, TopicChange, Topics
from pushcore.results import Result, Verdict
from tests.support.virtual import Answer, connect_to, run
from tests.unit.fcm.building import FID, TOKEN

KEY = rsa.generate_private_key(65537, 2048)
ROOT = "/v1/projects/my-project/registrations/"


def client_of() -> FcmClient:
    account = ServiceAccount(
        KEY, client_email="a@b.example", token_uri="https://oauth.test/token", project_id="my-project"
    )
    return FcmClient(account, url="https://fcm.test")


def failure(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    return status, headers or {}, orjson.dumps({"error": {"code": status, "status": code, "message": "m"}})


class Google:
    """Issues access tokens, responds to other requests with `respond`, and records the requests and their times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, respond: Callable[[str, bytes], Answer]) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.fields: list[dict[str, str]] = []
        self.times: list[float] = []
        self._respond = respond
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        path = fields[":path"]
        if path == "/token":
            token = {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}
            return 200, {}, orjson.dumps(token)
        self.requests.append((fields[":method"], path, body))
        self.fields.append(fields)
        self.times.append(asyncio.get_running_loop().time())
        return self._respond(path, body)


def with_topics(call: Callable[[Topics], Awaitable[Any]], **options: Any) -> Any:
    """Call with the topics of an open client."""

    async def work() -> Any:
        async with client_of() as client:
            return await call(Topics(client, **{"instance_id_url": "https://iid.test", **options}))

    return run(work())


def change(source: Any, topic: str = "news", subscribe: bool = True, **options: Any) -> list[Result]:
    """The results of subscribing a source, or of the reverse."""

    async def call(topics: Topics) -> list[Result]:
        way = topics.subscribe if subscribe else topics.unsubscribe
        return [result async for result in way(topic, source)]

    results: list[Result] = with_topics(call, **options)
    return results


def test_each_registration_is_subscribed_by_a_request_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    results = change([TOKEN, FID], "news.é%"[:4] + "~1")
    assert [(result.push, result.verdict) for result in results] == [
        (TopicChange(token, "news~1", True), Verdict.ACCEPTED) for token in (TOKEN, FID)
    ]
    assert google.requests[1] == ("POST", f"{ROOT}{FID}/topicSubscriptions?topic_name=news~1", b"{}")
    assert google.requests[0][1].startswith(ROOT + FID + "%3AAPA91b")
    assert google.fields[0]["authorization"] == "Bearer ya29.x"
    assert google.fields[0]["x-goog-api-format-version"] == "2"


def test_unsubscribing_is_a_delete_that_may_find_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    (result,) = change([FID], subscribe=False)
    assert result.push == TopicChange(FID, "news", False)
    assert google.requests == [("DELETE", f"{ROOT}{FID}/topicSubscriptions/news?allow_missing=true", b"")]


@pytest.mark.parametrize(
    ("response", "verdict", "reason"),
    [
        (failure(409, "ALREADY_EXISTS"), Verdict.ACCEPTED, "ALREADY_EXISTS"),
        (failure(409, "ABORTED"), None, "ABORTED"),
        (failure(400, "INVALID_ARGUMENT"), Verdict.INVALID, "INVALID_ARGUMENT"),
        (failure(403, "PERMISSION_DENIED"), Verdict.MISCONFIGURED, "PERMISSION_DENIED"),
        (failure(503, "UNAVAILABLE", {"retry-after": "9"}), Verdict.UNAVAILABLE, "UNAVAILABLE"),
    ],
)
def test_a_response_is_read_by_googles_table(
    response: Answer, verdict: Verdict | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Google(monkeypatch, lambda path, body: response)
    (result,) = change([FID])
    assert (result.reason, result.status) == (reason, response[0])
    assert result.verdict is verdict or (verdict is None and not result.ok)
    assert result.retry_after == (9.0 if response[0] == 503 else None)


@pytest.mark.parametrize("subscribe", [True, False])
@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 413])
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"ok":true}', b'{"name":"nginx"}', b'{"error":"not found"}', b"x" * 200_000],
    ids=lambda body: body[:20],
)
def test_a_response_that_is_not_googles_changes_nothing(
    status: int, body: bytes, subscribe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    Google(monkeypatch, lambda path, _: (status, {}, body))
    verdict = Verdict.UNKNOWN if status < 300 else Verdict.MISCONFIGURED
    (result,) = change([FID], subscribe=subscribe)
    assert (result.verdict, result.reason) == (verdict, "UnexpectedResponse")
    assert f"this is not a response of FCM (a proxy, a wrong URL?): {status} with " in str(result.detail)
    (result,) = change([FID], subscribe=subscribe, instance_id=True)
    assert result.verdict is verdict
    assert "(a proxy, a wrong URL?)" in str(result.detail)


@pytest.mark.parametrize("method", ["list", "info"])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"ok":true}', b'{"name":"nginx"}', b"[]"])
def test_json_of_another_server_is_no_list_and_no_description(
    method: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Google(monkeypatch, lambda path, _: (200, {}, body))

    async def call(topics: Topics) -> None:
        await getattr(topics, method)(FID)

    with pytest.raises(PushRejected, match=re.escape("(a proxy, a wrong URL?): 200 with ")) as caught:
        with_topics(call)
    assert caught.value.result.verdict is Verdict.UNKNOWN


def test_an_invalid_registration_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    source: list[Any] = [
        "",
        "ab" * 32,
        7,
        FID,
        "ExpoPushToken[abc]",
        f" {FID}",
        f"{FID}:APA91b x",
        f"{FID}\n",
    ]
    results = {result.push.token: result for result in change(source)}
    assert results[FID].ok
    assert len(google.requests) == 1
    for wrong in source:
        if wrong != FID:
            assert (results[wrong].verdict, results[wrong].reason) == (Verdict.INVALID, "INVALID_ARGUMENT")


def test_a_path_that_is_too_long_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    (result,) = change([":" * 4000], "n" * 900)
    assert result.verdict is Verdict.INVALID
    assert "too long" in str(result.detail)
    assert google.requests == []


def test_changes_leave_at_the_rate_of_all_runs_together(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))

    async def call(topics: Topics) -> None:
        async def subscribe(topic: str) -> int:
            return len([result async for result in topics.subscribe(topic, [FID] * 20)])

        assert [*await asyncio.gather(subscribe("a"), subscribe("b"))] == [20, 20]

    with_topics(call, rate=20.0)
    assert len(google.times) == 40
    assert google.times[-1] - google.times[0] == pytest.approx(39 / 20, abs=0.15)


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"retry-after": "30"}, 30.0), ({}, PAUSE), ({"retry-after": "600"}, 60.0)]
)
def test_a_quota_that_is_used_up_stops_all_changes_for_a_while(
    headers: dict[str, str], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = failure(429, "RESOURCE_EXHAUSTED", headers)
    kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    error = orjson.loads(first[2])["error"] | {"details": [{"@type": kind, "errorCode": "QUOTA_EXCEEDED"}]}
    google = Google(
        monkeypatch,
        lambda path, body: (
            (429, headers, orjson.dumps({"error": error})) if len(google.requests) == 1 else (200, {}, b"{}")
        ),
    )
    results = change([FID] * 3, concurrency=1)
    assert Counter(result.verdict for result in results) == {Verdict.THROTTLED: 1, Verdict.ACCEPTED: 2}
    assert google.times[1] - google.times[0] == pytest.approx(seconds, abs=0.2)
    assert google.times[2] - google.times[1] < 0.5


def test_an_asynchronous_source_is_read_and_its_error_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    Google(monkeypatch, lambda path, body: (200, {}, b"{}"))

    async def source() -> AsyncIterator[str]:
        yield FID
        raise LookupError("the database is gone")

    async def call(topics: Topics) -> int:
        results = topics.subscribe("news", source())
        assert (await anext(results)).ok
        with pytest.raises(LookupError, match="gone"):
            await anext(results)
        return 1

    assert with_topics(call) == 1


# --- the old API --------------------------------------------------------------------------------------------------


def test_batches_of_a_thousand_have_a_result_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(path: str, body: bytes) -> Answer:
        tokens = orjson.loads(body)["registration_tokens"]
        return (
            200,
            {},
            orjson.dumps({"results": [{"error": "NOT_FOUND"} if t == "gone" else {} for t in tokens]}),
        )

    google = Google(monkeypatch, respond)
    source = [*(f"token-{number}" for number in range(1499)), "gone", "", FID]
    results = change(source, instance_id=True)
    assert sorted(result.push.token for result in results) == sorted(source)
    verdicts = {result.push.token: (result.verdict, result.reason) for result in results}
    assert verdicts["gone"] == (Verdict.INVALID, "NOT_FOUND")
    assert verdicts[""] == (Verdict.INVALID, "INVALID_ARGUMENT")
    assert Counter(result.verdict for result in results)[Verdict.ACCEPTED] == 1500
    assert [len(orjson.loads(body)["registration_tokens"]) for *_, body in google.requests] == [1000, 501]
    assert {path for _, path, _ in google.requests} == {"/iid/v1:batchAdd"}
    assert google.fields[0]["access_token_auth"] == "true"


def test_the_rejection_of_a_batch_is_the_result_of_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    Google(monkeypatch, lambda path, body: (403, {}, b'{"error":"PERMISSION_DENIED"}'))
    results = change(["a", "b"], subscribe=False, instance_id=True)
    assert {(result.verdict, result.reason) for result in results} == {
        (Verdict.MISCONFIGURED, "PERMISSION_DENIED")
    }


# --- questions ----------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_in_both_spellings(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [{"topic_name": "a", "create_time": "2026-01-01T00:00:00Z"}, "?", {}]
    pages: list[Any] = [
        {"topic_subscriptions": first, "next_page_token": "x 1"},
        {"topicSubscriptions": [{"topicName": "b"}], "nextPageToken": "x/2"},
        {"topic_subscriptions": 5},
    ]
    google = Google(monkeypatch, lambda path, body: (200, {}, orjson.dumps(pages[len(google.requests) - 1])))
    subscriptions = with_topics(lambda topics: topics.list(FID))
    assert subscriptions == [Subscription("a", "2026-01-01T00:00:00Z"), Subscription("b")]
    path = f"{ROOT}{FID}/topicSubscriptions?page_size=50"
    assert [request[1] for request in google.requests] == [
        path,
        f"{path}&page_token=x%201",
        f"{path}&page_token=x%2F2",
    ]


@pytest.mark.parametrize(
    ("response", "verdict"),
    [((200, {}, b"<html>"), Verdict.UNKNOWN), (failure(404, "NOT_FOUND"), None)],
)
def test_a_rejected_query_is_raised(
    response: Answer, verdict: Verdict | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Google(monkeypatch, lambda path, body: response)
    with pytest.raises(PushRejected) as caught:
        with_topics(lambda topics: topics.list(FID))
    assert caught.value.result.push == FID
    if verdict is not None:
        assert caught.value.result.verdict is verdict


def test_the_info_of_an_instance_comes_from_the_old_api(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {
        "application": "com.e",
        "platform": "ANDROID",
        "rel": {"topics": {"a": {"addDate": "2026-01-01"}}},
    }
    google = Google(monkeypatch, lambda path, _: (200, {}, orjson.dumps(body)))
    info = with_topics(lambda topics: topics.info(TOKEN))
    assert (info.application, info.platform, dict(info.topics)) == ("com.e", "ANDROID", {"a": "2026-01-01"})
    assert google.requests[0][1] == f"/iid/info/{FID}%3A{TOKEN.split(':')[1]}?details=true"
    assert google.fields[0][":authority"] == "iid.test"


@pytest.mark.parametrize(
    "options", [{"rate": 0.0}, {"rate": -1.0}, {"rate": float("nan")}, {"concurrency": 0}]
)
def test_unusable_arguments_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"^(rate must be a number above 0|concurrency must be a whole number of at least 1), not ",
    ):
        Topics(client_of(), **options)


async def test_an_invalid_topic_is_an_error_of_the_caller() -> None:
    topics = Topics(client_of())
    for name in ("", "/topics/news", "a b"):
        with pytest.raises(ValueError, match="topic"):
            topics.subscribe(name, [])
    with pytest.raises(ClosedError, match="async with"):
        topics.subscribe("news", [])


# --- what is sent again, and what is not sent -------------------------------------------------------------------------


@pytest.mark.parametrize("instance_id", [False, True])
def test_a_change_whose_access_token_has_expired_is_sent_again(
    instance_id: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = failure(401, "UNAUTHENTICATED")
    done: Answer = (200, {}, b'{"results": [{}]}' if instance_id else b"{}")
    google = Google(monkeypatch, lambda path, body: first if len(google.requests) == 1 else done)
    (result,) = change([TOKEN], instance_id=instance_id)
    assert (result.ok, result.attempts, len(google.requests)) == (True, 2, 2)


def test_a_batch_of_what_cannot_be_sent_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    results = change(["", "two words"], instance_id=True)
    assert {result.verdict for result in results} == {Verdict.INVALID}
    assert google.requests == []
    assert change([], instance_id=True) == []


def test_batches_wait_after_one_that_was_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(path: str, body: bytes) -> Answer:
        count = len(orjson.loads(body)["registration_tokens"])
        return 200, {}, orjson.dumps({"results": [{"error": "RESOURCE_EXHAUSTED"}] * count})

    google = Google(monkeypatch, respond)
    results = change((f"token-{number}" for number in range(1001)), instance_id=True, rate=1e9, concurrency=1)
    assert {result.verdict for result in results} == {Verdict.THROTTLED}
    assert google.times[1] - google.times[0] >= PAUSE


def test_a_list_without_end_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    page = {"topic_subscriptions": [{"topic_name": "a"}], "next_page_token": "more"}
    google = Google(monkeypatch, lambda path, body: (200, {}, orjson.dumps(page)))
    subscriptions = with_topics(lambda topics: topics.list(FID))
    assert (len(subscriptions), len(google.requests)) == (MAX_PAGES, MAX_PAGES)


@pytest.mark.parametrize("registration", ["", "two words", "x" * 5000])
def test_a_query_about_what_is_no_registration_is_not_sent(
    registration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    google = Google(monkeypatch, lambda path, body: (200, {}, b"{}"))
    with pytest.raises(PushRejected) as caught:
        with_topics(lambda topics: topics.list(registration))
    assert caught.value.result.verdict is Verdict.INVALID
    assert google.requests == []


def test_a_change_without_a_response_may_have_been_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Google):
        def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
            answer = super().__call__(fields, body)
            if fields[":path"] != "/token":
                asyncio.get_running_loop().call_soon(self.drop)
            return answer

        def drop(self) -> None:
            pool = self.client._dispatcher.pool
            pool.links[0].connection_lost(ConnectionResetError())

        client: FcmClient

    google = Silent(monkeypatch, lambda path, body: (200, {}, b"{}"))

    async def work() -> list[Result]:
        async with client_of() as google.client:
            return [result async for result in Topics(google.client).subscribe("news", [TOKEN])]

    (result,) = run(work())
    assert (result.verdict, result.status) == (Verdict.UNKNOWN, None)
