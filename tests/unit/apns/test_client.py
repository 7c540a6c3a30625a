"""`ApnsClient` in virtual time: what cannot work, which token each push carries, and what is sent once more."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import PushEngine
from pushcore.apns.client import HOSTS, ApnsClient
from pushcore.apns.reasons import REASONS
from pushcore.auth.provider_token import ApnsKey, Environment
from pushcore.errors import (
    BreakerOpen,
    ConfigurationError,
    ConnectionLost,
    GoAway,
    HeaderListTooLarge,
    ResponseTimeout,
    StreamReset,
    TransportError,
)
from pushcore.http2 import frames
from pushcore.http2.connection import Connection
from pushcore.http2.exchange import request
from pushcore.http2.streams import ConnectionState, Limits
from pushcore.metrics import Listener, Metrics
from pushcore.models.apns import Broadcast, Notification
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS
from pushcore.results import Result, Verdict
from tests.support.http2 import TEMPLATE
from tests.support.virtual import Answer, connect_each_to, connect_to, run

PRIVATE = ec.generate_private_key(ec.SECP256R1())
TOKEN = "ab" * 32


def key(**scope: Any) -> ApnsKey:
    return ApnsKey(PRIVATE, key_id="ABC123DEFG", team_id="TEAM123456", **scope)


def client_of(auth: Any = None, **options: Any) -> ApnsClient:
    return ApnsClient(auth or key(), **{"topic": "com.example.app", "url": "https://apns.test", **options})


def push(number: int = 0, **fields: Any) -> Notification:
    return Notification(f"{number:064x}", {"aps": {"alert": "Hi"}}, **fields)


def refused(status: int, reason: str) -> Answer:
    return status, {}, orjson.dumps({"reason": reason})


class Server:
    """Responds with `respond(n)` to the n-th request, and records the header fields of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, respond: Callable[[int], Answer]) -> None:
        self.requests: list[dict[str, str]] = []
        self.respond = respond
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        self.requests.append(fields)
        return self.respond(len(self.requests))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"environment": "staging", "url": None}, "one of production, sandbox, not 'staging'"),
        ({"auth": "key.p8"}, "auth must be an ApnsKey or an ApnsCertificate, not str"),
        ({"auth": key(environment="sandbox"), "url": None}, "the key is for sandbox, and the environment is"),
        ({"url": "http://127.0.0.1"}, "url must look like"),
        ({"broadcast_url": "127.0.0.1"}, "url must look like"),
        ({"topic": "com example"}, "topic"),
        ({"ca_file": "missing.pem"}, "missing.pem"),
        ({"max_connections": 0}, "at least 1"),
    ],
)
def test_unusable_options_are_named_in_one_sentence(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client_of(**options)
    assert words in str(caught.value)


@pytest.mark.parametrize("environment", HOSTS)
def test_the_environment_is_a_host_of_apples_unless_there_is_a_url(environment: Environment) -> None:
    client = client_of(key(environment=environment), url=None, environment=environment)
    assert (client._dispatcher.origin.authority, client.environment) == (HOSTS[environment], environment)
    assert client_of(key(environment=environment)).environment is None


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
        return  # Apple's own success
    Server(monkeypatch, lambda n: (status, {}, body))

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


# --- tokens -------------------------------------------------------------------------------------------------------


class Rotations(Listener):
    """Counts new tokens."""

    def __init__(self) -> None:
        self.count = 0

    def token_rotated(self, provider: str) -> None:
        self.count += 1


def test_a_connection_changes_its_token_when_its_slot_is_over_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(monkeypatch, lambda n: (200, {}, b""))
    rotations = Rotations()

    async def send() -> None:
        loop = asyncio.get_running_loop()
        async with client_of(now=lambda: 1_750_000_000.0 + 60.0 * loop.time()) as client:
            client._dispatcher.pool.events.add(rotations)
            for _ in range(16):  # for eighty minutes
                assert (await client.send(push())).ok
                await asyncio.sleep(5.0)  # which its wall clock takes for five minutes

    run(send())
    values = [fields["authorization"] for fields in server.requests]
    changes = [n for n in range(1, len(values)) if values[n] != values[n - 1]]
    assert 2 <= len(changes) <= 3
    assert all(later - earlier >= 4 for earlier, later in pairwise(changes))
    assert rotations.count == len(set(values)) == len(changes) + 1


def test_a_token_that_two_connections_use_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_to(monkeypatch, lambda fields, body: (200, {}, b""), streams=2)
    rotations = Rotations()

    async def send() -> int:
        async with client_of() as client:
            client._dispatcher.pool.events.add(rotations)
            await asyncio.gather(*(client.send(push(number)) for number in range(8)))
            return client._dispatcher.pool.dialled

    assert run(send()) > 1
    assert rotations.count == 1


def test_a_response_that_blames_neither_connection_nor_age_of_the_token_is_final() -> None:
    client = client_of()
    exchange = request(TEMPLATE, b"/", b"", (), lambda _: None)
    exchange.connection = Connection(Limits(1.0), 0.0)
    for status, reason in ((403, "InvalidProviderToken"), (410, "ExpiredProviderToken")):
        exchange.status, exchange.data = status, orjson.dumps({"reason": reason})
        assert not client._dispatcher.resend(exchange, None)


class Apple:
    """Judges provider tokens by a clock of its own, and refuses all of a connection that has used an expired one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: list[float], date: bool = True) -> None:
        self.connections: list[list[str]] = []
        """For each connection the reasons that it was given, empty for a push that was accepted."""
        self._clock = clock
        self._date = date
        connect_each_to(monkeypatch, self._accept, latency=0.05)

    def _accept(self) -> Callable[[dict[str, str], bytes], Answer]:
        reasons: list[str] = []
        self.connections.append(reasons)

        def respond(fields: dict[str, str], body: bytes) -> Answer:
            claims = fields["authorization"].split(".")[1]
            age = self._clock[0] - orjson.loads(base64.urlsafe_b64decode(claims + "=="))["iat"]
            if age > 3600 or "ExpiredProviderToken" in reasons:
                reasons.append("ExpiredProviderToken")
            else:
                reasons.append("" if age >= 0 else "InvalidProviderToken")
            if not reasons[-1]:
                return 200, {}, b""
            headers = {"date": formatdate(self._clock[0], usegmt=True)} if self._date else {}
            return 403, headers, orjson.dumps({"reason": reasons[-1]})

        return respond


def send_in_turn(
    apple_clock: list[float], skew: list[float], steps: list[tuple[float, float]], **options: Any
) -> list[Result]:
    """A push at once and one after each step: seconds that pass, and how fast our clock is from then on."""

    async def send() -> list[Result]:
        async with client_of(now=lambda: apple_clock[0] + skew[0], **options) as client:
            results = [await client.send(push())]
            for seconds, fast in steps:
                apple_clock[0] += seconds
                skew[0] = fast
                results.append(await client.send(push()))
            return results

    results: list[Result] = run(send())
    return results


def test_a_connection_with_an_expired_token_is_left_when_there_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apple refuses it for ever. A token that is as young as may be is tried once, and then no other connection is opened."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)
    steps = [(1.0, -7200.0), (1.0, -7200.0), (1.0, 0.0), (1.0, 0.0)]
    results = send_in_turn(clock, [-7200.0], steps)
    expired = Verdict.MISCONFIGURED
    assert [result.verdict for result in results] == [expired, expired, expired, *[Verdict.ACCEPTED] * 2]
    assert apple.connections == [["ExpiredProviderToken"], ["ExpiredProviderToken"] * 3, ["", ""]]


def test_a_clock_that_is_half_an_hour_slow_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of its slot a token is more than an hour old to Apple; one that is made at once is not."""
    slow = 35 * 60.0
    clock = [key().token(1_750_000_000.0).until + slow - 10.0]
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [-slow], [(1.0, -slow), (1.0, -slow)])
    assert {result.verdict for result in results} == {Verdict.ACCEPTED}
    assert [result.attempts for result in results] == [2, 1, 1]
    assert apple.connections == [["ExpiredProviderToken"], ["", "", ""]]


def test_pushes_in_flight_on_connections_whose_token_has_expired_are_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our clock is slow by so much that a token expires while connections still keep it; the next slot's is good."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)

    async def send() -> list[Result]:
        auth = key()
        slow = 25 * 60.0
        clock[0] = auth.token(clock[0]).until + slow - 100.0
        async with client_of(auth, now=lambda: clock[0] - slow, max_connections=3) as client:
            assert (await client.send(push())).ok
            await asyncio.gather(*(client.send(push(number)) for number in range(2500)))
            clock[0] += 600.0
            return list(await asyncio.gather(*(client.send(push(number)) for number in range(2500))))

    results: list[Result] = run(send())
    assert {result.verdict for result in results} == {Verdict.ACCEPTED}
    assert {result.attempts for result in results} <= {1, 2}
    expired = [reasons for reasons in apple.connections if "ExpiredProviderToken" in reasons]
    assert 1 <= len(expired) <= 3
    assert 4 <= len(apple.connections) <= 6


@pytest.mark.parametrize("fast", [180.0, 7200.0, 864_000.0])
def test_a_fast_clock_that_is_set_right_is_accepted_at_the_next_push(
    fast: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [key().token(1_750_000_000.0).until - fast]  # its token has just come into force
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [fast], [(1.0, fast), (1.0, 0.0), (1.0, 0.0)])
    refused = Verdict.MISCONFIGURED
    assert [result.verdict for result in results] == [refused, refused, Verdict.ACCEPTED, Verdict.ACCEPTED]
    assert apple.connections == [["InvalidProviderToken"] * 2, ["", ""]]


def test_a_push_is_sent_again_no_more_than_once_for_an_expired_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clock was right and is then slow: neither the old connection nor a new one can help."""
    clock = [1_750_000_000.0]
    apple = Apple(monkeypatch, clock)
    results = send_in_turn(clock, [0.0], [(1.0, -7200.0), (1.0, -7200.0), (3600.0, -10_800.0)])
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, *[Verdict.MISCONFIGURED] * 3]
    assert sum(map(len, apple.connections)) <= 6
    assert len(apple.connections) <= 4


@pytest.mark.parametrize(
    ("fast", "advice"),
    [(7200.0, "it is 2 h fast"), (-7200.0, "it is 2 h slow")],
)
def test_the_advice_for_a_refused_token_says_by_how_much_the_clock_is_wrong(
    fast: float, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_750_000_000.0]
    Apple(monkeypatch, clock)
    (result,) = send_in_turn(clock, [fast], [])
    assert result.detail == f"set this machine's clock: {advice}"


@pytest.mark.parametrize(("fast", "date"), [(0.0, True), (7200.0, False)])
@pytest.mark.parametrize("reason", ["ExpiredProviderToken", "InvalidProviderToken"])
def test_the_advice_does_not_speak_of_the_clock_unless_both_disagree(
    fast: float, date: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_750_000_000.0]
    headers = {"date": formatdate(clock[0], usegmt=True)} if date else {}
    Server(monkeypatch, lambda n: (403, headers, orjson.dumps({"reason": reason})))
    (result,) = send_in_turn(clock, [fast], [])
    assert (result.verdict, result.detail) == (Verdict.MISCONFIGURED, None)
    assert "clock" not in result.row.advice


def test_a_connection_bound_to_another_key_is_left_and_its_push_is_sent_over_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken") if n == 1 else (200, {}, b""))

    async def send() -> tuple[Result, int]:
        async with client_of() as client:
            result = await client.send(push())
            return result, client._dispatcher.pool.dialled

    result, dialled = run(send())
    assert (result.verdict, result.attempts, dialled) == (Verdict.ACCEPTED, 2, 2)


def test_the_connection_of_the_push_is_left_whichever_had_the_last_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Server(monkeypatch, lambda n: (200, {}, b""))

    async def send() -> tuple[ConnectionState, ConnectionState]:
        async with client_of() as client:
            await client.send(push())
            latest = client._dispatcher.pool.links[0].connection
            bound = Connection(Limits(), 0.0)
            bound.receive(frames.encode_settings([(frames.MAX_CONCURRENT_STREAMS, 10)]), 0.0)
            rejected = request(TEMPLATE, b"/", b"{}", (), lambda _: None)
            bound.take(deque([rejected]))
            rejected.status, rejected.data = 403, b'{"reason":"UnrelatedKeyIdInToken"}'
            assert client._dispatcher.resend(rejected, client._dispatcher.pool)
            client._dispatcher.pool.waiting.clear()
            return bound.state, latest.state

    assert run(send()) == (ConnectionState.DRAINING, ConnectionState.OPEN)


def test_the_same_rejection_on_a_second_connection_is_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken"))

    async def send() -> Result:
        async with client_of() as client:
            return await client.send(push())

    result = run(send())
    assert (result.verdict, result.attempts) == (Verdict.MISCONFIGURED, 2)
    assert len(server.requests) == 2


def test_no_more_connections_are_left_in_a_minute_than_the_client_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse = True
    Server(monkeypatch, lambda n: refused(403, "UnrelatedKeyIdInToken") if refuse else (200, {}, b""))

    async def send() -> int:
        async with client_of(max_connections=2) as client:
            for number in range(6):
                await client.send(push(number))
            assert client._dispatcher.pool.dialled <= 4
            dialled = client._dispatcher.pool.dialled
            await asyncio.sleep(61.0)
            await client.send(push())
            return client._dispatcher.pool.dialled - dialled

    assert run(send()) >= 1


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
