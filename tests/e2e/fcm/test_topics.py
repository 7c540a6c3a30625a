"""Topics, one registration at a time and in batches, against the fake that keeps count of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from fakeservers import Certificates, FakeFcm, fated_registration
from pushcore import InstanceInfo, Result, TopicChange, Topics, Verdict
from pushcore.errors import ClosedError, ConfigurationError, PushRejected
from tests.e2e.fcm_support import fcm_of, message, registration, using
from tests.e2e.support import ENGINES, soon, verdicts

pytestmark = pytest.mark.usefixtures("clean")

MODES = (False, True)
"""By `topicSubscriptions`, and by the instance-id API."""


def topics_of(client: Any, fake: FakeFcm, **options: Any) -> Topics:
    return Topics(client, **{"instance_id_url": fake.url, **options})


def devices(count: int) -> list[str]:
    """Registrations of so many app instances: the installation id in front is each one's own."""
    return [f"d{number:021d}:APA91b{'x' * 134}" for number in range(count)]


async def all_of(results: AsyncIterator[Result]) -> list[Result]:
    return [result async for result in results]


@pytest.mark.parametrize("http2", ENGINES)
@pytest.mark.parametrize("batches", MODES)
async def test_subscribe_list_unsubscribe(batches: bool, http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        topics = topics_of(client, fake, instance_id=batches)
        ids = devices(2345 if batches else 300)
        for _ in range(2):  # who is subscribed already counts as a success
            results = await all_of(topics.subscribe("news", ids))
            assert verdicts(results) == {Verdict.ACCEPTED: len(ids)}
            assert sorted(result.push.token for result in results) == ids
            assert {(result.push.topic, result.push.subscribe) for result in results} == {("news", True)}
            assert all("news" in fake.subscriptions.topics(token) for token in ids)
        await all_of(topics.subscribe("sports-~%._", ids[:1]))
        subscriptions = await topics.list(ids[0])
        assert [row.topic for row in subscriptions] == ["news", "sports-~%._"]
        assert all(row.since is not None and row.since.endswith("Z") for row in subscriptions)
        for _ in range(2):
            results = await all_of(topics.unsubscribe("news", ids))
            assert verdicts(results) == {Verdict.ACCEPTED: len(ids)}
            assert results[0].push == TopicChange(results[0].push.token, "news", False)
        assert [subscription.topic for subscription in await topics.list(ids[0])] == ["sports-~%._"]
        assert await topics.list(ids[1]) == []


async def test_the_requests_of_topics(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        (device,) = devices(1)
        topics = topics_of(client, fake)
        await all_of(topics.subscribe("a~b", [device]))
        await all_of(topics.unsubscribe("a~b", [device]))
        await topics.list(device)
        await topics.info(device)
        await all_of(topics_of(client, fake, instance_id=True).subscribe("a~b", [device]))
        post, delete, get, info, batch = list(fake.received)[-5:]
        base = f"/v1/projects/{fake.project_id}/registrations/{quote(device, safe='')}/topicSubscriptions"
        assert (post.method, post.path, post.body) == ("POST", f"{base}?topic_name=a~b", b"{}")
        assert (delete.method, delete.path, delete.body) == ("DELETE", f"{base}/a~b?allow_missing=true", b"")
        assert (get.method, get.path) == ("GET", f"{base}?page_size=50")
        assert (info.method, info.path) == ("GET", f"/iid/info/{quote(device, safe='')}?details=true")
        assert (batch.method, batch.path) == ("POST", "/iid/v1:batchAdd")
        for request in (info, batch):
            assert request.headers["access_token_auth"] == "true"
        for request in (post, delete, get, info, batch):
            assert request.headers["authorization"].startswith("Bearer ya29.")


@pytest.mark.parametrize("http2", ENGINES)
async def test_errors_one_by_one(http2: str, certs: Certificates) -> None:
    expected = {
        "NotARegistrationToken": Verdict.INVALID,
        "Unregistered": Verdict.UNREGISTERED,
        "PermissionDenied": Verdict.MISCONFIGURED,
        "Internal": Verdict.UNAVAILABLE,
        "BadGateway": Verdict.UNAVAILABLE,
        "Cut": Verdict.UNKNOWN,
    }
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        topics = topics_of(client, fake, concurrency=1)
        ids = [fated_registration(fate) for fate in expected]
        results = await all_of(topics.subscribe("news", [*ids, "ab" * 32, "", 5]))  # type: ignore[list-item]  # what the types forbid
        assert [result.verdict for result in results] == [*expected.values(), *[Verdict.INVALID] * 3]
        assert [result.drop_token for result in results] == [False, True, *[False] * 7]
        assert [result.attempts for result in results[-3:]] == [0, 0, 0]
        (long,) = await all_of(topics.subscribe("t" * 900, devices(1)))
        assert (long.verdict, long.attempts) == (Verdict.INVALID, 0)
        assert "too long" in str(long.detail)
        with pytest.raises(ValueError, match="topic"):
            topics.subscribe("/topics/news", ids)
        with pytest.raises(ValueError, match="topic"):
            topics.unsubscribe("two words", ids)


@pytest.mark.parametrize("http2", ENGINES)
async def test_errors_in_a_batch(http2: str, certs: Certificates) -> None:
    expected = {
        "NotARegistrationToken": (Verdict.INVALID, "INVALID_ARGUMENT"),
        "Unregistered": (Verdict.INVALID, "NOT_FOUND"),
        "PermissionDenied": (Verdict.MISCONFIGURED, "PERMISSION_DENIED"),
        "QuotaExceeded": (Verdict.THROTTLED, "RESOURCE_EXHAUSTED"),
        "InternalTimeout": (Verdict.UNAVAILABLE, "DEADLINE_EXCEEDED"),
        "Internal": (Verdict.UNAVAILABLE, "INTERNAL"),
        "UnspecifiedError": (Verdict.UNAVAILABLE, "UNKNOWN"),
    }
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        topics = topics_of(client, fake, instance_id=True)
        (good,) = devices(1)
        fake.subscriptions.max_topics = 1
        ids = [*(fated_registration(fate) for fate in expected), good, "ab" * 32]
        results = {result.push.token: result for result in await all_of(topics.subscribe("news", ids))}
        assert len(results) == len(ids)
        for fate, (verdict, reason) in expected.items():
            result = results[fated_registration(fate)]
            assert (result.verdict, result.reason, result.status) == (verdict, reason, 200)
            assert not result.drop_token  # no word of FCM's own
        assert results[good].ok
        assert (results["ab" * 32].verdict, results["ab" * 32].attempts) == (Verdict.INVALID, 0)
        (full,) = await all_of(topics.subscribe("sports", [good]))
        assert (full.verdict, full.reason) == (Verdict.INVALID, "TOO_MANY_TOPICS")
        outcomes = await all_of(topics.subscribe("news", [good, fated_registration("BadGateway")]))
        assert verdicts(outcomes) == {Verdict.UNAVAILABLE: 2}
        assert {result.retry_after for result in outcomes} == {30.0}


@pytest.mark.parametrize("http2", ENGINES)
@pytest.mark.parametrize("batches", MODES)
async def test_an_expired_token_is_replaced_once(batches: bool, http2: str, certs: Certificates) -> None:
    """The instance-id API says it with an HTML page."""
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        topics = topics_of(client, fake, instance_id=batches)
        assert (await client.send(message())).ok
        fake.oauth.expire_all()
        results = await all_of(topics.subscribe("news", devices(200)))
        assert verdicts(results) == {Verdict.ACCEPTED: 200}
        assert {result.attempts for result in results} <= {1, 2}
        assert fake.token_requests == 2
        client._dispatcher._tokens._renewed_until = 0.0
        fake.oauth.expire_all()
        assert [subscription.topic for subscription in await topics.list(devices(1)[0])] == ["news"]
        client._dispatcher._tokens._renewed_until = 0.0
        fake.oauth.expire_all()
        assert (await topics.info(devices(1)[0])).topics
        assert fake.token_requests == 4


@pytest.mark.parametrize("batches", MODES)
async def test_the_projects_rate_is_kept(batches: bool, certs: Certificates) -> None:
    """Fake and client go by one clock; the fake counts what comes, and refuses what is too much."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    rate = 4000.0
    async with (
        FakeFcm(certs=certs, topic_rate=rate, now=loop.time, keep=0) as fake,
        using(fcm_of(fake, now=loop.time)) as client,
    ):
        topics = topics_of(client, fake, rate=rate, instance_id=batches)
        results = await all_of(topics.subscribe("news", devices(3000)))
        assert verdicts(results) == {Verdict.ACCEPTED: 3000}
    # A machine may be slower than the rate, never faster.
    assert loop.time() - begin >= (3000 - (1000 if batches else 0)) / rate - 0.1


async def test_the_rate_is_that_of_all_runs_together(certs: Certificates) -> None:
    """By a clock that runs ten times as fast as the loop's: the pace is its, and nobody else's."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with FakeFcm(certs=certs, keep=0) as fake, using(fcm_of(fake)) as client:
        topics = topics_of(client, fake, rate=200.0, clock=lambda: 10 * loop.time())
        runs = [all_of(topics.subscribe(f"topic-{number}", devices(200))) for number in range(4)]
        for results in await asyncio.gather(*runs):
            assert verdicts(results) == {Verdict.ACCEPTED: 200}
    assert loop.time() - begin >= 800 / 200 / 10 - 0.05  # a machine may be slower, never faster


async def test_one_429_for_the_project_stops_the_run_for_a_while(
    certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(
        "pushcore.fcm.change_rate.ChangeRateLimiter.pause", lambda self, seconds: pauses.append(seconds)
    )
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        topics = topics_of(client, fake)
        busy = fated_registration("QuotaExceeded", ms=5000)
        (result,) = await all_of(topics.subscribe("news", [busy]))
        assert (result.verdict, result.retry_after) == (Verdict.THROTTLED, 5.0)
        assert pauses == [5.0]
        await all_of(topics.subscribe("news", [fated_registration("QuotaExceeded", ms=90_000)]))
        await all_of(topics.subscribe("news", [fated_registration("QuotaWithoutRetryAfter")]))
        assert pauses == [5.0, 60.0, 1.0]
        fake.subscriptions.max_topics = 0  # that is one app instance's affair
        (full,) = await all_of(topics.subscribe("news", devices(1)))
        assert full.verdict is Verdict.THROTTLED
        assert len(pauses) == 3


async def test_no_more_requests_at_a_time_than_allowed(certs: Certificates) -> None:
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for token in devices(200):
            taken += 1
            yield token

    async with FakeFcm(certs=certs, delay=0.02) as fake, using(fcm_of(fake)) as client:
        results = topics_of(client, fake, concurrency=10).subscribe("news", source())
        first = await anext(results)
        assert first.ok
        assert taken <= 21
        await asyncio.sleep(0.1)  # nobody takes the results: the source is read no further
        assert taken <= 21
        assert len(await all_of(results)) == 199
        assert taken == 200


async def test_an_asynchronous_source_and_its_error(certs: Certificates) -> None:
    async def source() -> AsyncIterator[str]:
        for token in devices(20):
            await asyncio.sleep(0)
            yield token
        raise LookupError("the database is gone")

    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        results = []

        async def run() -> None:
            async for result in topics_of(client, fake).subscribe("news", source()):
                results.append(result)

        with pytest.raises(LookupError, match="database"):
            await run()
        assert verdicts(results) == {Verdict.ACCEPTED: 20}


@pytest.mark.parametrize("batches", MODES)
async def test_a_client_that_closes_meanwhile(batches: bool, certs: Certificates) -> None:
    async with FakeFcm(certs=certs, delay=0.05) as fake, using(fcm_of(fake)) as client:
        results: list[Result] = []

        async def run() -> None:
            topics = topics_of(client, fake, concurrency=10, instance_id=batches)
            async for result in topics.subscribe("news", devices(100_000)):
                results.append(result)

        task = asyncio.create_task(run())
        await soon(lambda: results)
        await client.close()
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            topics_of(client, fake).subscribe("news", [])
        with pytest.raises(ClosedError):
            await topics_of(client, fake).list(registration())


@pytest.mark.parametrize("http2", ENGINES)
async def test_a_long_list_comes_in_pages(http2: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake, http2=http2)) as client:
        (device,) = devices(1)
        names = [f"{number:04}-{'t' * 395}" for number in range(160)]
        for name in names:
            fake.subscriptions.add(device, name, 1_750_000_000.0)
        topics = topics_of(client, fake)
        subscriptions = await topics.list(device)
        assert [row.topic for row in subscriptions] == names
        assert sum(request.method == "GET" for request in fake.received) == 4


async def test_the_info_of_an_app_instance(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        (device,) = devices(1)
        topics = topics_of(client, fake)
        assert await topics.info(device) == InstanceInfo(
            "com.example.app", fake.project_number, "ANDROID", "1", {}
        )
        fake.subscriptions.add(device, "news", 1_750_000_000.0)
        assert (await topics.info(device)).topics == {"news": "2025-06-15"}


@pytest.mark.parametrize(
    ("token", "verdict", "words"),
    [
        (fated_registration("Unregistered"), Verdict.INVALID, "No information found"),
        ("x", Verdict.INVALID, "InvalidToken"),
        ("ab" * 32, Verdict.INVALID, "APNs"),
        (fated_registration("BadGateway"), Verdict.UNAVAILABLE, "502"),
    ],
)
async def test_a_rejected_query(token: str, verdict: Verdict, words: str, certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake, using(fcm_of(fake)) as client:
        with pytest.raises(PushRejected) as caught:
            await topics_of(client, fake).info(token)
        assert caught.value.result.verdict is verdict
        assert words in str(caught.value)


async def test_wrong_options_are_rejected(certs: Certificates) -> None:
    async with FakeFcm(certs=certs) as fake:
        client = fcm_of(fake)
        for options in ({"rate": 0.0}, {"rate": -1.0}, {"concurrency": 0}, {"instance_id_url": "http://h"}):
            with pytest.raises(ConfigurationError):
                topics_of(client, fake, **options)
        with pytest.raises(ClosedError):
            topics_of(client, fake).subscribe("news", devices(1))
