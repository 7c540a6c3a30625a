"""The results of an `ApnsClient`'s pushes in virtual time: Apple's responses, those of other servers, and none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest

from pushcore import PushEngine
from pushcore.apns.reasons import REASONS
from pushcore.errors import (
    BreakerOpen,
    ConnectionLost,
    GoAway,
    HeaderListTooLarge,
    ResponseTimeout,
    StreamReset,
    TransportError,
)
from pushcore.http2.exchange import request
from pushcore.metrics import Listener, Metrics
from pushcore.models.apns import Broadcast
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS
from pushcore.results import Result, Verdict
from tests.support.http2 import TEMPLATE
from tests.support.virtual import Answer, run
from tests.unit.apns.clients import Server, client_of, key, push, refused


def test_a_key_for_some_topics_takes_their_pushes_alone() -> None:
    unscoped, scoped = client_of(), client_of(key(topics=["com.example.app"]))
    assert (unscoped._dispatcher.takes_all, scoped._dispatcher.takes_all) == (True, False)
    assert unscoped._dispatcher.takes(push(topic="com.other"))
    assert scoped._dispatcher.takes(push(topic="com.example.app.voip"))
    assert scoped._dispatcher.takes(push())
    assert not scoped._dispatcher.takes(push(topic="com.other"))


def test_the_id_is_the_pushs_or_the_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda n: (200, {"apns-id": "theirs", "apns-unique-id": "unique"}, b""))

    async def send() -> list[Result]:
        async with client_of() as client:
            return [
                await client.send(push()),
                await client.send(push(apns_id="00000000-0000-4000-8000-000000000000")),
            ]

    theirs, ours = run(send())
    assert (theirs.id, theirs.unique_id) == ("theirs", "unique")
    assert (ours.id, ours.unique_id) == ("00000000-0000-4000-8000-000000000000", "unique")
    assert server.requests[0][":path"] == f"/3/device/{0:064x}"


@pytest.mark.parametrize(
    "reason", ["BadDeviceToken", "Unregistered", "TooManyRequests", "InternalServerError"]
)
def test_a_rejection_has_the_verdict_of_apples_table(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = REASONS[reason]
    body = orjson.dumps({"reason": reason, "timestamp": 1_700_000_000_123})
    Server(monkeypatch, lambda n: (row.status, {"apns-id": "x"}, body))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert (result.verdict, result.reason, result.status) == (row.verdict, reason, row.status)
    assert (result.id, result.timestamp, result.attempts) == ("x", 1_700_000_000.123, 1)


def test_listeners_and_metrics_hear_of_broadcasts(monkeypatch: pytest.MonkeyPatch) -> None:
    responses: Iterator[Any] = iter([(200, {}, b""), (400, {}, b'{"reason":"ChannelNotRegistered"}')])
    Server(monkeypatch, lambda n: next(responses))
    heard: list[tuple[str, Result]] = []

    class Hears(Listener):
        def results(self, provider: str, batch: Sequence[Result]) -> None:
            heard.extend((provider, result) for result in batch)

    metrics = Metrics(["ChannelNotRegistered"])

    async def send() -> list[Result]:
        async with client_of() as client:
            client.watch(Hears())
            client.watch(metrics)
            good = Broadcast("dHN0LWFwcC1jaGFubmVs", {"aps": {"event": "update"}}, expiration=0)
            invalid = Broadcast("", {"aps": {"event": "update"}}, expiration=0)
            return [await client.broadcast(push) for push in (good, good, invalid)]

    results = run(send())
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, Verdict.INVALID, Verdict.INVALID]
    assert heard == [("apns", result) for result in results]
    assert metrics.sent["apns", "ACCEPTED", ""] == 1
    assert metrics.sent["apns", "INVALID", "ChannelNotRegistered"] == 1
    assert sum(metrics.duration("apns").counts) == 2  # what was found before sending took no time


# --- responses of other servers -------------------------------------------------------------------------------------

NO_ID = {"apns-id": "", "apns-request-id": ""}
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
BODIES = {
    "empty": b"",
    "html": PAGE,
    "object": b"{}",
    "json": b'{"message":"no route"}',
    "null": b"null",
    "cut": b'{"reason":"BadDevic',
    "kubernetes": b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}',
    "word": b'{"reason":"no_such_route"}',
    "long": b"x" * 200_000,
}


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 400, 401, 403, 404, 405, 407, 410, 413])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_response_that_is_not_apples_is_named_as_such(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not accepted, no reason to correct the key, and a 410 drops no token."""
    if (status, body) == (200, b""):
        return  # Apple's own success, which is known by its id
    Server(monkeypatch, lambda n: (status, NO_ID, body))

    async def send() -> list[Result]:
        async with client_of() as client:
            broadcast = Broadcast("dHN0LWFwcC1jaGFubmVs", {"aps": {"event": "update"}}, expiration=0)
            return [await client.send(push()), await client.broadcast(broadcast)]

    for result in run(send()):
        assert result.verdict is (Verdict.UNKNOWN if status < 300 else Verdict.MISCONFIGURED)
        assert (result.status, result.attempts, result.reason) == (status, 1, "UnexpectedResponse")
        assert result.row is (UNEXPECTED_SUCCESS if status < 300 else UNEXPECTED)
        assert not result.drop_token
        assert str(result.detail).startswith(
            f"this is not a response of APNs (a proxy, a wrong URL?): {status} with "
        )


@pytest.mark.parametrize(
    ("first", "headers", "warnings"), [(200, {}, 0), (200, NO_ID, 1), (400, {}, 0), (400, NO_ID, 1)]
)
def test_a_200_without_an_id_is_accepted_and_warned_of_once(
    first: int,
    headers: dict[str, str],
    warnings: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rejected = refused(400, "BadDeviceToken")
    Server(monkeypatch, lambda n: rejected if (n, first) == (1, 400) else (200, headers, b""))

    async def send() -> list[Verdict]:
        async with client_of() as client:
            return [(await client.send(push())).verdict for _ in range(4)]

    verdicts = run(send())
    assert verdicts[1:] == [Verdict.ACCEPTED] * 3
    assert caplog.text.count("the responses have no apns-id, so they are not APNs'") == warnings


@pytest.mark.parametrize(
    ("status", "body", "value", "seconds"),
    [
        (429, b'{"reason":"TooManyRequests"}', "90", 90.0),
        (503, b'{"reason":"ServiceUnavailable"}', "1.5", 1.5),
        (503, PAGE, "7", 7.0),
        (503, b'{"reason":"ServiceUnavailable"}', "soon", None),
        (500, b'{"reason":"InternalServerError"}', "-1", None),
        (413, b'{"reason":"PayloadTooLarge"}', "90", None),
    ],
)
def test_a_time_to_wait_is_obeyed_though_apple_documents_none(
    status: int, body: bytes, value: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server(monkeypatch, lambda n: (status, {"retry-after": value}, body))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    assert run(send()).retry_after == seconds


@pytest.mark.parametrize("reason", ["no_such_route", "unregistered", "<b>gone</b>"])
@pytest.mark.parametrize("dated", [False, True])
def test_a_410_with_another_reason_drops_a_token_only_with_apples_timestamp(
    reason: str, dated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"reason": reason, **({"timestamp": 1_795_984_895_000} if dated else {})}
    Server(monkeypatch, lambda n: (410, {}, orjson.dumps(document)))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert result.drop_token is dated
    if dated:
        assert (result.verdict, result.reason) == (Verdict.UNREGISTERED, reason)
    else:
        assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "UnexpectedResponse")
        assert "a proxy, a wrong URL?): 410 with " in str(result.detail)


@pytest.mark.parametrize("reason", [row.name for row in REASONS.values()])
@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 413, 429, 500])
def test_a_token_is_dropped_for_a_reason_with_its_own_status_alone(
    reason: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"reason": reason, "timestamp": 1_795_984_895_000}
    Server(monkeypatch, lambda n: (status, {}, orjson.dumps(document)))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert result.drop_token is (status == 410 and reason in ("Unregistered", "ExpiredToken"))


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_the_retry_after_of_a_gateways_page_is_obeyed(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, lambda n: (status, {}, PAGE))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert result.verdict is (Verdict.THROTTLED if status == 429 else Verdict.UNAVAILABLE)
    assert result.reason is None
    assert '"Sign in"' in str(result.detail)


@pytest.mark.parametrize("response", [(200, {}, PAGE), (404, {}, PAGE), (403, {}, b""), (410, {}, b"")])
def test_a_campaign_that_reaches_another_server_stops(
    response: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(monkeypatch, lambda n: response)
    results: list[Result] = []

    async def send() -> None:
        async with client_of() as client, PushEngine(client) as engine:
            async for result in engine.send_many(push(number) for number in range(100_000)):
                results.append(result)  # they are looked at after the exception

    with pytest.raises(BreakerOpen) as caught:
        run(send())
    assert caught.value.reason == "UnexpectedResponse"
    assert "this is not a response of APNs (a proxy, a wrong URL?)" in str(caught.value)
    assert "Check the URL, and the proxy" in str(caught.value)
    assert len(server.requests) <= 1000
    assert not any(result.ok or result.drop_token for result in results)


# --- without an answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (ConnectionLost("x"), Verdict.UNKNOWN, None),
        (ResponseTimeout("x"), Verdict.UNKNOWN, None),
        (ResponseTimeout("x", unprocessed=True), Verdict.UNSENT, None),
        (StreamReset(7, unprocessed=True), Verdict.UNSENT, None),
        (HeaderListTooLarge("x"), Verdict.INVALID, None),
        (GoAway(0, b"", unprocessed=True, reason="Shutdown"), Verdict.UNSENT, "Shutdown"),
        (
            GoAway(0, b"", unprocessed=True, reason="BadCertificateEnvironment"),
            Verdict.MISCONFIGURED,
            "BadCertificateEnvironment",
        ),
        (
            GoAway(0, b"", unprocessed=False, reason="BadCertificateEnvironment"),
            Verdict.UNKNOWN,
            "BadCertificateEnvironment",
        ),
    ],
    ids=lambda parameter: str(parameter) if isinstance(parameter, TransportError) else "",
)
def test_a_push_without_a_response_has_the_verdict_of_its_error(
    error: TransportError, verdict: Verdict, reason: str | None
) -> None:
    exchange = request(TEMPLATE, b"/", b"{}", (), lambda _: None, push())
    exchange.error = error
    result = client_of()._dispatcher.result(exchange, exchange.context)
    assert result is not None
    assert (result.verdict, result.reason, result.detail) == (verdict, reason, error)
    assert (result.status, result.id, result.attempts) == (None, None, 1)
