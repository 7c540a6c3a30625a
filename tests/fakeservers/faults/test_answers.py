"""What faults answer, and when, as a client on python-hyper/h2 sees it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import REASONS, Answer, ChangeAccessTokens, Delay, FaultPlan, Reset, Stall, When
from fakeservers.responses.apns import STATUSES
from tests.fakeservers.client import DEVICE, Client, Reply, headers_for, provider_token
from tests.fakeservers.faults_support import Paused, one, plan_of
from tests.fakeservers.fcm_client import (
    FID,
    FORM,
    TOKEN,
    assertion,
    curl,
    error_of,
    request_headers,
    send_body,
    send_headers,
    send_path,
    token_form,
)


@contextlib.asynccontextmanager
async def apns(
    plan: FaultPlan, **options: Any
) -> AsyncIterator[tuple[FakeApns, Client, list[tuple[str, str]]]]:
    """A fake, a connection to it, and the headers of a push in order."""
    async with FakeApns(faults=plan, **options) as fake, await Client.connect(fake) as client:
        yield fake, client, headers_for(fake, provider_token(fake))


@contextlib.asynccontextmanager
async def fcm(plan: FaultPlan, **options: Any) -> AsyncIterator[tuple[FakeFcm, Client]]:
    async with FakeFcm(faults=plan, **options) as fake, await Client.connect(fake) as client:
        yield fake, client


async def send(fake: FakeFcm, client: Client, **message: Any) -> Reply:
    return await client.push(send_headers(fake), send_body(**message))


@pytest.mark.parametrize("reason", REASONS["apns"])
async def test_apples_reasons(reason: str) -> None:
    async with apns(plan_of(Answer(reason=reason))) as (fake, client, headers):
        reply = await client.push(headers)
        assert (reply.status, reply.reason) == (STATUSES[reason], reason)
        assert reply.headers["content-type"] == "application/json"
        assert len(reply.headers["apns-id"]) == 36
        assert ("timestamp" in json.loads(reply.body)) == (reply.status == 410)
        assert fake.counts == {(reply.status, reason): 1}
        assert [(record.status, record.reason, record.token) for record in fake.received] == [
            (reply.status, reason, DEVICE)
        ]


async def test_the_apns_id_of_the_request_comes_back() -> None:
    sent = "0123abcd-0123-0123-0123-0123456789ab"
    async with apns(plan_of(Answer(reason="Shutdown"))) as (fake, client, _):
        reply = await client.push(headers_for(fake, provider_token(fake), apns_id=sent))
        assert reply.headers["apns-id"] == sent
        reply = await client.push(headers_for(fake, provider_token(fake), apns_id="none"))
        assert reply.headers["apns-id"] == reply.headers["apns-id"].upper() != "NONE"


@pytest.mark.parametrize("reason", REASONS["fcm"])
async def test_googles_reasons(reason: str) -> None:
    async with fcm(plan_of(Answer(reason=reason))) as (fake, client):
        reply = await send(fake, client)
        assert reply.status >= 400
        if reply.headers.get("content-type", "").startswith("application/json"):
            error = error_of(reply)
            if reason.isupper():
                assert error["details"][0]["errorCode"] == reason
        assert sum(fake.counts.values()) == 1


@pytest.mark.parametrize("reason", REASONS["oauth"])
async def test_errors_of_the_token_endpoint(reason: str) -> None:
    async with fcm(plan_of(Answer(reason=reason))) as (fake, client):
        headers = request_headers(fake, "/token", content_type=FORM)
        reply = await client.push(headers, token_form(assertion(fake)))
        assert reply.status >= 400
        if reason != "unavailable":
            assert json.loads(reply.body)["error"] == reason
        else:
            assert reply.body.startswith(b"<!DOCTYPE html>")
        assert fake.token_requests == 1
        assert (await send(fake, client)).status == 200  # a push has no such answer


async def test_any_reason_with_any_status() -> None:
    async with apns(plan_of(Answer(status=299, reason="Whatever"))) as (fake, client, headers):
        reply = await client.push(headers)
        assert (reply.status, reply.reason) == (299, "Whatever")
        assert fake.counts == {(299, "Whatever"): 1}
    async with fcm(plan_of(Answer(status=599, reason="WHATEVER"))) as (fake, client):
        error = error_of(await send(fake, client))
        assert error == {"code": 599, "message": "WHATEVER", "status": "WHATEVER"}
    async with fcm(plan_of(Answer(status=418, reason="UNREGISTERED"))) as (fake, client):
        error = error_of(await send(fake, client))
        assert (error["code"], error["details"][0]["errorCode"]) == (418, "UNREGISTERED")


@pytest.mark.parametrize("status", [200, 204, 302, 429, 500])
async def test_a_status_and_nothing_else(status: int) -> None:
    async with apns(plan_of(Answer(status=status))) as (fake, client, headers):
        reply = await client.push(headers)
        assert (reply.status, reply.body, set(reply.headers)) == (status, b"", {":status", "apns-id"})
        assert fake.counts == {(status, "" if status == 200 else "x"): 1}
    async with fcm(plan_of(Answer(status=status))) as (fake, client):
        reply = await send(fake, client)
        assert (reply.status, reply.body, reply.headers) == (status, b"", {":status": str(status)})


async def test_bodies_and_headers() -> None:
    html = Answer(status=503, body="<html>busy</html>", headers=(("x-a", "1"), ("server", "nginx")))
    text = Answer(status=500, reason="x", body="oh", content_type="text/plain")
    plan = FaultPlan(0, [one("h", html, token="aa"), one("t", text, token="bb")])
    async with apns(plan) as (fake, client, _):
        token = provider_token(fake)
        reply = await client.push(headers_for(fake, token, "aa"))
        assert (reply.status, reply.body) == (503, b"<html>busy</html>")
        assert reply.headers["content-type"] == "text/html; charset=UTF-8"
        assert (reply.headers["x-a"], reply.headers["server"]) == ("1", "nginx")
        reply = await client.push(headers_for(fake, token, "BB"))  # tokens are hexadecimal in either case
        assert (reply.status, reply.body, reply.headers["content-type"]) == (500, b"oh", "text/plain")
        assert (await client.push(headers_for(fake, token, "cc"))).status == 200


@pytest.mark.parametrize(
    ("given", "seen"), [(7, "7"), (0, "0"), ("Fri, 31 Dec 1999 23:59:59 GMT",) * 2, ("soon", "soon")]
)
async def test_retry_after(given: int | str, seen: str) -> None:
    async with fcm(plan_of(Answer(reason="QUOTA_EXCEEDED", retry_after=given))) as (fake, client):
        reply = await send(fake, client)
        assert (reply.status, reply.headers["retry-after"]) == (429, seen)
    async with apns(plan_of(Answer(reason="TooManyRequests", retry_after=given))) as (_, client, headers):
        assert (await client.push(headers)).headers["retry-after"] == seen


async def test_no_retry_after() -> None:
    async with fcm(plan_of(Answer(reason="QuotaWithoutRetryAfter"))) as (fake, client):
        reply = await send(fake, client)
        assert reply.status == 429
        assert "retry-after" not in reply.headers
    async with apns(plan_of(Answer(reason="TooManyRequests"))) as (_, client, headers):
        assert "retry-after" not in (await client.push(headers)).headers


async def test_an_error_without_details() -> None:
    async with fcm(plan_of(Answer(reason="UNREGISTERED", details=False))) as (fake, client):
        assert error_of(await send(fake, client)).keys() == {"code", "message", "status"}


# When


async def test_the_nth_request() -> None:
    plan = plan_of(Answer(reason="Shutdown"), nth=(2, "4-5", "9-"))
    async with apns(plan) as (_, client, headers):
        statuses = [(await client.push(headers)).status for _ in range(10)]
        assert statuses == [200, 503, 200, 503, 503, 200, 200, 200, 503, 503]
        assert plan.hits["x"] == 5


async def test_every_so_many_and_at_most_so_often() -> None:
    plan = plan_of(Answer(reason="Shutdown"), every=3, limit=2)
    async with apns(plan) as (_, client, headers):
        assert [(await client.push(headers)).status for _ in range(12)] == ([200, 200, 503] * 2 + [200] * 6)


async def test_counts_of_each_connection() -> None:
    plan = FaultPlan(0, [one("x", Answer(reason="Shutdown"), nth=1, per_connection=True)])
    async with apns(plan) as (fake, client, headers), await Client.connect(fake) as other:
        statuses = [(await item.push(headers)).status for item in (client, client, other, other)]
        assert statuses == [503, 200, 503, 200]


async def test_one_connection_or_every_second() -> None:
    second = FaultPlan(0, [one("x", Answer(reason="Shutdown"), connection=2)])
    even = FaultPlan(0, [one("x", Answer(reason="Shutdown"), connection_every=2)])
    for plan, expected in ((second, [200, 503, 200, 200]), (even, [200, 503, 200, 503])):
        async with FakeApns(faults=plan) as fake:
            results = []
            for _ in range(4):
                async with await Client.connect(fake) as client:
                    results.append((await client.push(headers_for(fake, provider_token(fake)))).status)
            assert results == expected


async def test_the_beginning_of_a_token_or_path() -> None:
    plan = FaultPlan(
        0,
        [
            one("t", Answer(reason="UNREGISTERED"), token=FID[:6]),
            one("p", Answer(status=503), path="/iid/"),
            one("topic", Answer(status=500), token="news"),  # a topic is no token
        ],
    )
    async with fcm(plan) as (fake, client):
        assert (await send(fake, client)).status == 404
        assert (await send(fake, client, fid=FID)).status == 404
        assert (await send(fake, client, token="zz" + TOKEN[2:])).status == 200
        assert (await send(fake, client, topic="news")).status == 200
        assert (await client.push(send_headers(fake), b"[1")).status == 400
        headers = send_headers(fake, path=f"/iid/info/{TOKEN}", method="GET")
        assert (await client.push(headers, b"")).status == 503


async def test_providers_of_one_plan_that_two_fakes_share() -> None:
    plan = FaultPlan(0, [one("x", Answer(reason="Unregistered"), provider="apns")])
    async with FakeApns(faults=plan) as one_fake, FakeFcm(faults=plan) as other:
        async with await Client.connect(one_fake) as client:
            assert (await client.push(headers_for(one_fake, provider_token(one_fake)))).status == 410
        async with await Client.connect(other) as client:
            assert (await send(other, client)).status == 200


async def test_a_window_of_time() -> None:
    plan = Paused(0, [one("x", Answer(reason="Shutdown"), until=0.2)])
    async with apns(plan) as (_, client, headers):
        assert (await client.push(headers)).status == 503
        plan.now = 0.2
        assert not plan.in_force
        assert (await client.push(headers)).status == 200


def test_time_begins_again() -> None:
    plan = FaultPlan(0, [one("x", Answer(reason="Shutdown"))])
    assert plan.elapsed == 0.0
    plan.start()
    while not plan.elapsed:
        pass
    plan.hits["x"] = 1
    reached = plan.elapsed
    plan.start()
    assert plan.elapsed >= reached  # it had begun
    before = time.monotonic()
    plan.restart()
    assert plan.elapsed <= time.monotonic() - before
    assert not plan.hits


async def test_errors_on_the_connection() -> None:
    """410 is none (Apple), and it happens once per so many."""
    plan = FaultPlan(0, [one("x", Answer(status=599), errors=2)])
    async with apns(plan) as (fake, client, headers):
        token = headers[4][1].removeprefix("bearer ")  # Apple takes no new one so soon
        bad = headers_for(fake, token, "zz")
        gone = headers_for(fake, token, "deadfa7e4101" + "0" * 52)
        statuses = [(await client.push(item)).status for item in (bad, gone, headers, bad, headers, headers)]
        assert statuses == [400, 410, 200, 400, 599, 200]


async def test_the_first_fault_that_ends_a_request_decides_and_delays_add_up() -> None:
    plan = FaultPlan(
        0,
        [
            one("d", Delay(seconds=0.1)),
            one("a", Answer(reason="Shutdown")),
            one("b", Answer(reason="TooManyRequests")),
            one("e", Delay(seconds=0.1)),
        ],
    )
    async with apns(plan) as (_, client, headers):
        began = time.monotonic()
        assert (await client.push(headers)).reason == "Shutdown"
        assert time.monotonic() - began >= 0.2
        assert plan.hits == {"d": 1, "a": 1, "e": 1}


async def test_several_actions_of_one_fault() -> None:
    plan = plan_of((Delay(seconds=0.15), Answer(reason="InternalServerError")), nth=1)
    async with apns(plan, delay=0.1) as (_, client, headers):
        began = time.monotonic()
        assert (await client.push(headers)).status == 500
        assert time.monotonic() - began >= 0.25


@pytest.mark.parametrize(
    ("delay", "low"),
    [
        (Delay(seconds=0.1), 0.1),
        (Delay(between=(0.1, 0.15)), 0.1),
        (Delay(percentiles=((0, 0.1), (100, 0.2))), 0.1),
        (Delay(table=((0, 0.0), (1, 0.1))), 0.1),
    ],
)
async def test_delays(delay: Delay, low: float) -> None:
    async with apns(plan_of(delay)) as (fake, client, headers):
        await client.push(headers)
        client.pretend_streams(100)
        began = time.monotonic()
        streams = [client.request(headers) for _ in range(20)]
        replies = [await client.reply(stream_id) for stream_id in streams]
        assert time.monotonic() - began >= low
        assert {reply.status for reply in replies} == {200}
        assert fake.counts == {(200, ""): 21}


@pytest.mark.parametrize("processed", [False, True])
async def test_stalls(processed: bool) -> None:
    async with apns(plan_of(Stall(processed=processed), nth=2)) as (fake, client, headers):
        await client.push(headers)
        stalled = client.request(headers)
        assert (await client.push(headers)).status == 200
        assert stalled not in client.ended
        assert fake.counts == ({(200, ""): 3} if processed else {(200, ""): 2, (0, "x"): 1})
        assert [record.status for record in fake.received] == [200, 200 if processed else 0, 200]


# While it runs


async def test_faults_change_while_a_connection_is_open() -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        headers = headers_for(fake, provider_token(fake))
        assert (await client.push(headers)).status == 200
        assert fake.server.faults is None  # and so nothing is looked at
        fake.faults.add(one("x", Answer(reason="Shutdown")))
        assert (await client.push(headers)).status == 503
        fake.faults.enable("x", False)
        assert (await client.push(headers)).status == 200
        assert fake.server.faults is None
        fake.faults.enable("x")
        fake.faults.replace(one("x", Answer(reason="TooManyRequests")))
        assert (await client.push(headers)).status == 429
        fake.faults.become(FaultPlan(0, [one("y", Answer(status=599))]))
        assert (await client.push(headers)).status == 599
        fake.faults.clear()
        assert (await client.push(headers)).status == 200


async def test_a_fake_that_has_ended_is_told_nothing() -> None:
    plan = FaultPlan()
    async with FakeApns(faults=plan):
        pass
    plan.add(one("x", Answer(reason="Shutdown")))
    async with apns(plan) as (_, client, headers):
        assert (await client.push(headers)).status == 503
        plan.clear()
        assert (await client.push(headers)).status == 200


@pytest.mark.parametrize("profile", ["strict", "bare"])
async def test_both_profiles(profile: str) -> None:
    async with apns(plan_of(Answer(reason="Shutdown"), nth=2), profile=profile) as (fake, client, headers):
        assert [(await client.push(headers)).status for _ in range(3)] == [200, 503, 200]
        assert fake.counts == {(200, ""): 2, (503, "Shutdown"): 1}
    async with fcm(plan_of(Answer(reason="INTERNAL"), nth=2), profile=profile) as (fake_fcm, client):
        assert [(await send(fake_fcm, client)).status for _ in range(3)] == [200, 500, 200]


# The token endpoint


async def token_of(fake: FakeFcm, client: Client) -> dict[str, Any]:
    reply = await client.push(request_headers(fake, "/token", content_type=FORM), token_form(assertion(fake)))
    content: dict[str, Any] = json.loads(reply.body)
    return content


async def test_short_lived_tokens_and_those_that_lie() -> None:
    now = [1_000_000.0]
    plan = FaultPlan(0, [one("x", ChangeAccessTokens(lifetime=30, says=3600), provider="oauth", nth=2)])
    async with FakeFcm(faults=plan, now=lambda: now[0]) as fake, await Client.connect(fake) as client:
        fake.oauth._are_valid_times = lambda *_: True  # type: ignore[method-assign]  # the test's clock is not the server's
        assert (await token_of(fake, client))["expires_in"] == 3599
        result = await token_of(fake, client)
        assert result["expires_in"] == 3600
        bearer = f"Bearer {result['access_token']}"
        assert (await client.push(send_headers(fake, authorization=bearer), send_body())).status == 200
        now[0] += 31
        assert (await client.push(send_headers(fake, authorization=bearer), send_body())).status == 401


# HTTP/1.1


@pytest.mark.needs("curl")
async def test_over_http_1_1() -> None:
    plan = FaultPlan(
        0,
        [
            one("a", Answer(reason="UNAVAILABLE", retry_after=3), nth=1),
            one("r", Reset(), nth=2),
            one("d", (Delay(seconds=0.1), Answer(status=500, body="<p>")), nth=3),
        ],
    )
    async with FakeFcm(faults=plan) as fake:
        call: tuple[str, ...] = ("--http1.1", "--cacert", fake.ca_file, "-i", "-d", send_body().decode())
        call += ("-H", f"authorization: Bearer {fake.oauth.issue()}", fake.url + send_path(fake))
        code, output = await curl(*call)
        assert (code, output.startswith("HTTP/1.1 503"), "retry-after: 3" in output) == (0, True, True)
        code, _ = await curl(*call)
        assert code in (52, 56)  # empty reply, or reset
        code, output = await curl(*call)
        assert (code, output.startswith("HTTP/1.1 500"), output.endswith("<p>")) == (0, True, True)
        assert (await curl(*call))[1].startswith("HTTP/1.1 200")


def test_when_has_no_more_conditions_than_are_tested() -> None:
    assert set(When.__slots__) == {
        *(
            "provider",
            "token",
            "path",
            "connection",
            "connection_every",
            "after",
            "until",
            "period",
            "lasting",
        ),
        *("errors", "share", "nth", "every", "limit", "per_connection"),
    }
