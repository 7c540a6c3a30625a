"""Every answer of Apple's table and every other end of a push, through the wire from the strict fake."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers import ApnsRegistry, Certificates, DeviceState, FakeApns, fated_token
from fakeservers.responses.apns import STATUSES
from pushcore import ApnsCertificate, ApnsKey, Notification, PushEngine, Result, Verdict
from pushcore.apns.reasons import REASONS
from pushcore.errors import ConnectionLost, GoAway, ResponseTimeout, StreamReset
from pushcore.models.apns import PUSH_TYPES
from tests.e2e.support import ENGINES, PAYLOAD, client_of, push, send_all, soon, using, verdicts

pytestmark = [pytest.mark.usefixtures("clean"), pytest.mark.parametrize("http2", ENGINES)]

UUID = re.compile(r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}")
DEVICE = "ab" * 32
DEAD_SINCE = 1_700_000_000_123  # milliseconds
SENT_TWICE = frozenset({"UnrelatedKeyIdInToken", "ExpiredProviderToken"})
"""Another connection could help, for the second with a younger token."""


def test_the_two_tables_agree(http2: str) -> None:
    assert {name: row.status for name, row in REASONS.items()} == STATUSES
    assert len(REASONS) == 33


@pytest.mark.parametrize("reason", REASONS)
async def test_every_reason(reason: str, http2: str, certs: Certificates) -> None:
    row = REASONS[reason]
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        before = time.time()
        result = await client.send(Notification(fated_token(reason), PAYLOAD))
        assert (result.status, result.reason, result.verdict) == (row.status, reason, row.verdict)
        attempts = 2 if reason in SENT_TWICE else 1
        assert fake.counts == {(row.status, reason): attempts}
        assert (result.attempts, fake.accepted) == (attempts, attempts)
        assert not result.ok
        assert result.drop_token is (row.status == 410)
        assert result.suspect is (reason in ("BadDeviceToken", "DeviceTokenNotForTopic"))
        assert result.row is row
        assert result.retryable is (row.verdict in (Verdict.THROTTLED, Verdict.UNAVAILABLE))
        assert result.id is not None
        assert UUID.fullmatch(result.id)
        if row.status == 410:  # the fake says: a day ago; in seconds here, in milliseconds on the wire
            assert result.timestamp is not None
            assert before - 86_401 < result.timestamp < time.time() - 86_399
        else:
            assert result.timestamp is None


@dataclass
class Violation:
    """A rule that is broken in earnest: by the push, by the client's options or in the registry of the fake."""

    reason: str
    push: Notification = field(default_factory=lambda: Notification(DEVICE, PAYLOAD))
    client: dict[str, Any] = field(default_factory=dict)
    fake: dict[str, Any] = field(default_factory=dict)


def _p8() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _registry(**state: Any) -> ApnsRegistry:
    registry = ApnsRegistry()
    registry.add_device(DEVICE, **state)
    return registry


class Unasking(Certificates):
    """Of a server that asks for no client certificate."""

    def server_context(self) -> ssl.SSLContext:
        context = Certificates.server_context(self)
        context.verify_mode = ssl.CERT_NONE
        return context


APP = "com.example.app"


def _certificate(certs: Certificates, topic: str, **options: Any) -> ApnsCertificate:
    place = certs.directory / f"client-{len(list(certs.directory.iterdir()))}.pem"
    place.write_bytes(certs.client_certificate(topic, **options).pem())
    return ApnsCertificate.from_file(place)


def _sandbox_with_a_key_of_production(certs: Certificates) -> ApnsRegistry:
    registry = ApnsRegistry(environment="sandbox")
    registry.add_key(certs.key_id, certs.team_id, certs.key_file.read_bytes(), environment="production")
    return registry


VIOLATIONS: dict[str, Callable[[Certificates], Violation]] = {
    "unknown device": lambda _: Violation("BadDeviceToken", fake={"registry": ApnsRegistry(known_only=True)}),
    "another app's device": lambda _: Violation(
        "DeviceTokenNotForTopic", fake={"registry": _registry(topic="com.x")}
    ),
    "another team's topic": lambda _: Violation(
        "TopicDisallowed", Notification(DEVICE, PAYLOAD, topic="com.x")
    ),
    "topic of a wrong form": lambda _: Violation("BadTopic", Notification(DEVICE, PAYLOAD, topic="-com.x")),
    "topic missing": lambda certs: Violation(
        "MissingTopic", client={"auth": _certificate(certs, APP, topics=["com.x"]), "topic": None}
    ),
    "another key's signature": lambda certs: Violation(
        "InvalidProviderToken",
        client={"auth": ApnsKey.from_pem(_p8(), key_id=certs.key_id, team_id=certs.team_id)},
    ),
    "unknown key": lambda certs: Violation(
        "InvalidProviderToken",
        client={"auth": ApnsKey.from_file(certs.key_file, key_id="ABCDEFGHIJ", team_id=certs.team_id)},
    ),
    "key of production": lambda certs: Violation(
        "BadEnvironmentKeyInToken", fake={"registry": _sandbox_with_a_key_of_production(certs)}
    ),
    "clock two hours slow": lambda _: Violation(
        "ExpiredProviderToken", client={"now": lambda: time.time() - 7200}
    ),
    "clock an hour fast": lambda _: Violation(
        "InvalidProviderToken", client={"now": lambda: time.time() + 3600}
    ),
    "certificate that is not asked for": lambda certs: Violation(
        "MissingProviderToken",
        client={"auth": _certificate(certs, APP)},
        fake={"certs": Unasking(certs.directory, certs.key_id, certs.team_id)},
    ),
    "certificate without a topic": lambda certs: Violation(
        "BadCertificate", client={"auth": _certificate(certs, "")}
    ),
    "certificate of production": lambda certs: Violation(
        "BadCertificateEnvironment",
        client={"auth": _certificate(certs, APP, environments=["production"])},
        fake={"registry": ApnsRegistry(environment="sandbox")},
    ),
    "removed app": lambda _: Violation(
        "Unregistered", fake={"registry": _registry(fate="Unregistered", since=DEAD_SINCE)}
    ),
    "expired device token": lambda _: Violation(
        "ExpiredToken", fake={"registry": _registry(fate="ExpiredToken", since=DEAD_SINCE)}
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
async def test_rules_broken_in_earnest(name: str, http2: str, certs: Certificates) -> None:
    case = VIOLATIONS[name](certs)
    row = REASONS[case.reason]
    async with (
        FakeApns(**{"certs": certs, **case.fake}) as fake,
        using(client_of(fake, http2=http2, **case.client)) as client,
    ):
        result = await client.send(case.push)
        assert (result.status, result.reason, result.verdict) == (row.status, row.name, row.verdict)
        assert result.timestamp == (DEAD_SINCE / 1000 if row.status == 410 else None)
        assert fake.counts == {(row.status, row.name): 2 if row.name in SENT_TWICE else 1}


async def test_invalid_pushes_are_not_sent(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        invalid_pushes = {
            "PayloadTooLarge": push(payload={"aps": {"alert": "x" * 5000}}),
            "PayloadEmpty": push(payload=b""),
            "BadCollapseId": push(collapse_id="x" * 65),
            "BadMessageId": push(apns_id="1"),
            "BadPriority": push(push_type="background", priority=10),
            "InvalidPushType": push(push_type="telegram"),
            "BadExpirationDate": push(expiration=10**13),
        }
        for reason, invalid in invalid_pushes.items():
            result = await client.send(invalid)
            row = REASONS[reason]
            assert (result.verdict, result.reason, result.status) == (row.verdict, reason, None)
            assert result.attempts == 0
        assert fake.accepted == 0


async def test_the_id_is_ours_or_theirs(http2: str, certs: Certificates) -> None:
    own = "01234567-89ab-cdef-0123-456789abcdef"
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        for token in (DEVICE, fated_token("Unregistered")):
            sent = await client.send(Notification(token, PAYLOAD, apns_id=own))
            assert sent.id == own
            assert fake.received[-1].headers["apns-id"] == own
            result = await client.send(Notification(token, PAYLOAD))
            assert "apns-id" not in fake.received[-1].headers
            assert result.id is not None
            assert UUID.fullmatch(result.id)
            assert result.id != own


async def test_all_push_types_are_accepted(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        results = await send_all(client, [push(push_type=push_type) for push_type in PUSH_TYPES])
        assert verdicts(results) == {Verdict.ACCEPTED: 12}
        assert fake.counts == {(200, ""): 12}


# --- fates that are no answer -------------------------------------------------------------------------------------


async def test_a_stalled_push_is_unknown_and_its_slot_is_free_again(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2, timeout=0.4)) as client:
        assert (await client.send(push())).ok
        result = await client.send(Notification(fated_token("Stall"), PAYLOAD))
        assert (result.verdict, result.status, result.attempts) == (Verdict.UNKNOWN, None, 1)
        assert isinstance(result.detail, ResponseTimeout)
        assert not result.retryable
        assert not client._dispatcher.pool.links[0].connection.streams
        await soon(lambda: fake.server.counters.streams_reset_by_client == 1)
        assert (await client.send(push())).ok
        assert fake.accepted == 1


async def test_a_push_that_is_slow_enough_is_accepted(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        assert (await client.send(Notification(fated_token("Slow", ms=50), PAYLOAD))).ok


async def test_a_refused_stream_is_sent_again_five_times(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        result = await client.send(Notification(fated_token("RefusedStream"), PAYLOAD))
        assert (result.verdict, result.attempts) == (Verdict.UNSENT, 5)
        assert isinstance(result.detail, StreamReset)
        assert result.detail.code == 7
        assert result.retryable
        assert fake.counts == {(0, "RefusedStream"): 5}
        assert fake.accepted == 1


class Once(ApnsRegistry):
    """A registry in which a device's fate happens once; then it is an ordinary one."""

    def device(self, token: bytes) -> DeviceState | None:
        device = super().device(token)
        self.remove_device(token.decode())
        return device


@pytest.mark.parametrize("fate", ["RefusedStream", "GoAwayBefore"])
async def test_a_stream_refused_once_is_accepted_on_retry(fate: str, http2: str, certs: Certificates) -> None:
    registry = Once()
    registry.add_device(DEVICE, fate=fate)
    async with (
        FakeApns(certs=certs, registry=registry) as fake,
        using(client_of(fake, http2=http2)) as client,
    ):
        result = await client.send(Notification(DEVICE, PAYLOAD))
        assert (result.verdict, result.attempts) == (Verdict.ACCEPTED, 2)
        assert fake.counts == {(0, fate): 1, (200, ""): 1}
        assert fake.accepted == (2 if fate == "GoAwayBefore" else 1)


async def test_an_internal_reset_is_unknown_and_is_not_sent_again(http2: str, certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        result = await client.send(Notification(fated_token("InternalReset"), PAYLOAD))
        assert (result.verdict, result.attempts) == (Verdict.UNKNOWN, 1)
        assert isinstance(result.detail, StreamReset)
        assert result.detail.code == 2
        assert fake.counts == {(0, "InternalReset"): 1}


async def test_a_cut_connection_is_unknown_and_the_next_push_finds_another(
    http2: str, certs: Certificates
) -> None:
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        assert (await client.send(push())).ok
        result = await client.send(Notification(fated_token("Cut"), PAYLOAD))
        assert (result.verdict, result.attempts) == (Verdict.UNKNOWN, 1)
        assert isinstance(result.detail, ConnectionLost)
        assert (await client.send(push())).ok
        assert fake.accepted == 2


async def test_goaway_before_each_push_ends_unsent_and_says_why(
    http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    async with FakeApns(certs=certs) as fake, using(client_of(fake, http2=http2)) as client:
        result = await client.send(Notification(fated_token("GoAwayBefore"), PAYLOAD))
        assert (result.verdict, result.attempts, result.reason) == (Verdict.UNSENT, 5, "Shutdown")
        assert isinstance(result.detail, GoAway)
        assert fake.accepted == 5


# --- nothing lost, nothing doubled --------------------------------------------------------------------------------


def _account(fake: FakeApns, results: list[Result]) -> None:
    """Every result agrees with what the fake saw of that push."""
    accepted = Counter(request.token for request in fake.received if request.status == 200)
    for result in results:
        times = accepted[result.push.token]
        assert times <= 1, f"{result!r} was delivered {times} times"
        if result.verdict is Verdict.ACCEPTED:
            assert times == 1, f"{result!r} was never seen by the fake"
        elif result.verdict is Verdict.UNSENT:
            assert times == 0, f"{result!r} was delivered"
    # What was delivered and is not called so must be in doubt, never in a verdict that invites to send it again.
    for result in results:
        if accepted[result.push.token] and not result.ok:
            assert result.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("fate", ["GoAway", "GoAwayBefore", "Cut", "RefusedStream", "InternalReset"])
async def test_every_push_of_a_thousand_has_one_true_result(
    fate: str, http2: str, certs: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    registry = Once()
    pushes = [push(number) for number in range(1000)]
    for number in (150, 400, 401, 800):
        registry.add_device(pushes[number].token, fate=fate)
    async with (
        FakeApns(certs=certs, registry=registry, keep=10_000) as fake,
        using(client_of(fake, http2=http2, max_connections=3)) as client,
    ):
        async with asyncio.timeout(20):
            results = await send_all(client, pushes)
        assert len(results) == 1000
        assert [result.push for result in results] == pushes
        _account(fake, results)
        count = verdicts(results)
        if fate in ("GoAway", "GoAwayBefore", "RefusedStream"):
            assert count == {Verdict.ACCEPTED: 1000}
            assert fake.counts[200, ""] + fake.counts[200, "GoAway"] == 1000
        elif fate == "InternalReset":
            assert count == {Verdict.ACCEPTED: 996, Verdict.UNKNOWN: 4}
        else:
            assert count.keys() == {Verdict.ACCEPTED, Verdict.UNKNOWN}
            assert results[150].verdict is Verdict.UNKNOWN
        assert (await client.send(push(1001))).ok


async def test_a_mixed_audience_through_the_engine(http2: str, certs: Certificates) -> None:
    reasons = list(REASONS)
    pushes = [push(number) for number in range(2000)]
    for number, reason in enumerate(reasons * 5):
        pushes.insert(number * 12, Notification(fated_token(reason, number), PAYLOAD))
    async with (
        FakeApns(certs=certs) as fake,
        using(client_of(fake, http2=http2)) as client,
        PushEngine(client, retry=None, breaker=False) as engine,
    ):
        results = [result async for result in engine.send_many(pushes)]
        assert sorted(result.push.token for result in results) == sorted(
            sent_push.token for sent_push in pushes
        )
        expected = Counter({(200, ""): 2000})
        for row in REASONS.values():
            expected[row.status, row.name] += 5
        assert Counter((result.status, result.reason or "") for result in results) == expected
        expected[403, "UnrelatedKeyIdInToken"] += 5
        # Once the youngest token has been called expired, the rest of them are not sent again.
        expired = fake.counts[403, "ExpiredProviderToken"]
        assert 5 < expired <= 10
        expected[403, "ExpiredProviderToken"] = expired
        assert fake.counts == expected
        for result in results:
            assert result.verdict is (REASONS[result.reason].verdict if result.reason else Verdict.ACCEPTED)
