"""Whole campaigns in virtual time: retries by the providers' rules, the rate of a project, and the breaker."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import (
    ApnsClient,
    ApnsKey,
    FcmClient,
    Message,
    Metrics,
    Notification,
    PushEngine,
    Rate,
    Result,
    RetryPolicy,
    ServiceAccount,
    Verdict,
)
from pushcore.errors import BreakerOpen
from pushcore.metrics import Listener
from tests.support.virtual import Answer, connect_to, run

BODY = b'{"aps":{"alert":"Hi"}}'
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"


class Provider:
    """Answers as told, and writes down when each device was sent to. `refusals`: shares by (status, reason)."""

    def __init__(self, refusals: dict[tuple[int, str], float], retry_after: int | None = None) -> None:
        self.refusals = refusals
        self.retry_after = retry_after
        self.rng = random.Random(7)
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.said: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        self.all: list[float] = []
        self.until = float("inf")
        """Refuses only until then, in virtual seconds."""

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        path = fields[":path"]
        if path == "/token":
            token = orjson.dumps({"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"})
            return 200, {"content-type": "application/json"}, token
        fcm = path.startswith("/v1/")
        device = orjson.loads(body)["message"]["token"] if fcm else path.rpartition("/")[2]
        now = asyncio.get_running_loop().time()
        self.times[device].append(now)
        self.all.append(now)
        self.ids[device].add(fields.get("apns-id", ""))
        draw = self.rng.random() if now < self.until else 1.0
        for (status, reason), share in self.refusals.items():
            draw -= share
            if draw < 0:
                self.said[device].append((status, reason))
                return self.refuse(status, reason, fcm)
        return 200, {}, orjson.dumps({"name": "projects/p/messages/1"}) if fcm else b""

    def refuse(self, status: int, reason: str, fcm: bool) -> Answer:
        headers = {"retry-after": str(self.retry_after)} if self.retry_after is not None else {}
        if not fcm:
            return status, headers, orjson.dumps({"reason": reason})
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        error = {"code": status, "status": reason, "details": [{"@type": kind, "errorCode": reason}]}
        return status, headers, orjson.dumps({"error": error})


def apns() -> ApnsClient:
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    return ApnsClient(key, topic="com.example.app", url="https://apns.test", max_connections=2)


def notifications(count: int) -> Iterator[Notification]:
    for number in range(count):
        yield Notification(f"{number:064x}", BODY, apns_id=f"00000000-0000-4000-8000-{number:012x}")


def messages(count: int) -> Iterator[Message]:
    for number in range(count):
        yield Message(token=f"{FID}:APA91b{number:0134d}", data={"a": "b"})


async def send(engine: PushEngine, source: Any) -> list[Result]:
    async with engine:
        return [result async for result in engine.send_many(source)]


def waits(provider: Provider) -> Iterator[tuple[str, float, int]]:
    """Each reason that was given, the time until the next try, and how many tries there had been."""
    for device, reasons in provider.said.items():
        times = provider.times[device]
        for place, (_, reason) in enumerate(reasons):
            if place + 1 < len(times):
                yield reason, times[place + 1] - times[place], place + 1


def test_every_device_is_accepted_and_every_repeat_obeys_apples_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = Provider({(429, "TooManyRequests"): 0.02, (503, "ServiceUnavailable"): 0.01})
    connect_to(monkeypatch, provider)
    results = run(send(PushEngine(apns()), notifications(20_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 20_000}
    assert len({result.push.token for result in results}) == 20_000
    repeats = list(waits(provider))
    assert 450 < len(repeats) < 800
    for reason, seconds, tries in repeats:
        least = {"TooManyRequests": 30.0, "ServiceUnavailable": 60.0}[reason] * 2 ** (tries - 1)
        assert seconds >= least
    for device, times in provider.times.items():
        assert len(times) == 1 + len(provider.said[device])
        assert len(provider.ids[device]) == 1  # a repeat has the same apns-id
    by_token = {result.push.token: result.attempts for result in results}
    assert all(by_token[device] == len(times) for device, times in provider.times.items())


def test_an_outage_does_not_double_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider({(503, "ServiceUnavailable"): 1.0})
    provider.until = 1000.0 + 900.0  # a quarter of an hour
    connect_to(monkeypatch, provider)
    policy = RetryPolicy(max_delayed=2000)
    results = run(send(PushEngine(apns(), retry=policy, window=1000), notifications(20_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 20_000}
    during = [at for at in provider.all if at < provider.until]
    first = sum(1 for times in provider.times.values() if times[0] < provider.until)
    assert first <= 2000 + 2 * 1000  # the source is not read past what may wait
    assert len(during) - first <= 0.2 * first + 10.0 * 900 + 10


def test_unknown_is_reported_or_resent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Provider):
        def refuse(self, status: int, reason: str, fcm: bool) -> Answer:
            return 700, {}, b""  # no status of HTTP: nobody can say what became of it

    for unknown, verdicts in (("report", {Verdict.UNKNOWN}), ("resend", {Verdict.ACCEPTED})):
        provider = Silent({(700, ""): 0.5})
        provider.until = 1000.01 + 0.3
        connect_to(monkeypatch, provider)
        policy = RetryPolicy(unknown=unknown)  # type: ignore[arg-type]  # one of the words, from the parameters
        results = run(send(PushEngine(apns(), retry=policy), notifications(200)))
        assert len(results) == 200
        rejected = {device for device, reasons in provider.said.items() if reasons}
        assert rejected
        assert {result.verdict for result in results if result.push.token in rejected} == verdicts
        assert all(len(ids) == 1 for ids in provider.ids.values())


@pytest.mark.parametrize("reason", ["BadDeviceToken", "DeviceTokenNotForTopic"])
def test_a_wrong_environment_stops_within_2000_responses_and_drops_no_token(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    provider = Provider({(400, reason): 0.97})
    connect_to(monkeypatch, provider)
    results: list[Result] = []
    heard: list[Result] = []

    class Ear(Listener):
        def results(self, provider: str, batch: Any) -> None:
            heard.extend(batch)

    async def campaign() -> None:
        async with PushEngine(apns(), listener=Ear()) as engine:
            async for result in engine.send_many(notifications(1_000_000)):
                results.append(result)

    with pytest.raises(BreakerOpen) as stop:
        run(campaign())
    assert stop.value.reason == reason
    sentence = str(stop.value)
    assert {"BadDeviceToken": "environment", "DeviceTokenNotForTopic": "topic"}[reason] in sentence
    answered = [result for result in results if result.status is not None]
    assert len(answered) <= len(provider.all) <= 2000
    assert not any(result.drop_token for result in results)
    assert {id(result) for result in heard} == {id(result) for result in results}
    # Every push that was taken from the source has one result.
    assert len({result.push.token for result in results}) == len(results)


def test_one_provider_is_stopped_and_the_other_goes_on(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    """Every push has its one result: APNs' are accepted, FCM's refused, and then not sent at all."""

    class Half(Provider):
        def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
            self.refusals = {(403, "SENDER_ID_MISMATCH"): 1.0} if fields[":path"].startswith("/v1/") else {}
            return super().__call__(fields, body)

    provider = Half({})
    connect_to(monkeypatch, provider)
    source = (push for pair in zip(notifications(5000), messages(5000), strict=True) for push in pair)
    results: list[Result] = []

    async def campaign() -> None:
        clients = apns(), FcmClient(account, url="https://fcm.test")
        async with PushEngine(*clients, rate=Rate.parse("none")) as engine:
            async for result in engine.send_many(source):
                results.append(result)

    with pytest.raises(BreakerOpen) as stop:
        run(campaign())
    assert stop.value.reason == "SENDER_ID_MISMATCH"
    assert len({id(result.push) for result in results}) == len(results) == 10_000
    assert Counter(r.verdict for r in results if isinstance(r.push, Notification)) == {Verdict.ACCEPTED: 5000}
    counts = Counter(r.verdict for r in results if isinstance(r.push, Message))
    assert counts[Verdict.UNSENT] > 2000
    assert set(counts) == {Verdict.UNSENT, Verdict.MISCONFIGURED}
    assert sum(1 for device in provider.times if ":" in device) <= 2000


@pytest.mark.parametrize("count", [5, 5000])
def test_both_providers_are_named_when_both_reject(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """At once by the breakers, and at the end of a campaign that is too small for them."""

    class Both(Provider):
        def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
            fcm = fields[":path"].startswith("/v1/")
            self.refusals = {(403, "SENDER_ID_MISMATCH" if fcm else "InvalidProviderToken"): 1.0}
            return super().__call__(fields, body)

    connect_to(monkeypatch, Both({}))
    source = (push for pair in zip(notifications(count), messages(count), strict=True) for push in pair)
    opened: list[str] = []

    class Ear(Listener):
        def breaker_opened(self, provider: str, sentence: str) -> None:
            opened.append(provider)

    clients = apns(), FcmClient(account, url="https://fcm.test")
    with pytest.raises(BreakerOpen) as stop:
        run(send(PushEngine(*clients, rate=Rate.parse("none"), listener=Ear()), source))
    assert sorted(opened) == ["apns", "fcm"]
    assert stop.value.reason == "InvalidProviderToken"
    first, second = str(stop.value).split("; fcm: ")
    assert first.startswith("apns: InvalidProviderToken: Check key file")
    assert second.startswith("SENDER_ID_MISMATCH: Use the service account of the app")
    errors = sorted(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    words = "failed" if count == 5 else "would fail"
    assert errors == [f"every push to apns {words}: {first[6:]}", f"every push to fcm {words}: {second}"]


def test_the_responses_of_one_provider_do_not_count_for_the_other(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    """Sorted audiences: FCM has answered long before the first push to APNs."""

    class Half(Provider):
        def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
            self.refusals = {} if fields[":path"].startswith("/v1/") else {(400, "BadDeviceToken"): 1.0}
            return super().__call__(fields, body)

    provider = Half({})
    connect_to(monkeypatch, provider)
    clients = apns(), FcmClient(account, url="https://fcm.test")
    with pytest.raises(BreakerOpen):
        run(send(PushEngine(*clients, rate=Rate.parse("none")), chain(messages(3000), notifications(20_000))))
    assert sum(1 for device in provider.times if ":" in device) == 3000
    assert len(provider.times) - 3000 <= 2000


def test_a_dirty_audience_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_to(monkeypatch, Provider({(400, "BadDeviceToken"): 0.4, (410, "Unregistered"): 0.3}))
    results = run(send(PushEngine(apns()), notifications(10_000)))
    assert len(results) == 10_000


def test_a_window_narrows_when_apns_pushes_back_and_everything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provider = Provider({(503, "ServiceUnavailable"): 0.5})
    provider.until = 1000.0 + 30.0
    connect_to(monkeypatch, provider, latency=0.5)
    results = run(send(PushEngine(apns()), notifications(60_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 60_000}
    per_second = Counter(int(at - provider.all[0]) for at in provider.all)
    # 2 000 streams of half a second would be 4 000 a second.
    assert max(per_second[second] for second in range(15, 28)) < max(per_second.values()) / 4


def test_a_rate_for_any_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider({})
    connect_to(monkeypatch, provider)
    run(send(PushEngine(apns(), rate=Rate.parse("500/s")), notifications(5000)))
    lasted = provider.all[-1] - provider.all[0]
    assert 9.0 <= lasted <= 11.0
    assert max(Counter(int((at - provider.all[0]) * 10) for at in provider.all).values()) <= 110


def test_a_rate_for_two_providers_is_not_read_far_ahead(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    """What is read is begun, for a journal, and in doubt after a kill."""
    connect_to(monkeypatch, Provider({}))
    read = 0

    def source() -> Iterator[Any]:
        nonlocal read
        for pair in zip(notifications(20_000), messages(20_000), strict=True):
            for push in pair:
                read += 1
                yield push

    async def campaign() -> None:
        clients = apns(), FcmClient(account, url="https://fcm.test")
        async with PushEngine(*clients, rate=Rate.parse("500/s")) as engine:
            done = 0
            results = engine.send_many(source())
            async for _ in results:
                done += 1
                assert read - done <= 2 * (1000 + 256) + 500
                if done == 4000:
                    break
            await results.aclose()

    run(campaign())


def test_metrics_count_every_push_once(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_to(monkeypatch, Provider({(429, "TooManyRequests"): 0.02, (410, "Unregistered"): 0.01}))
    metrics = Metrics(["TooManyRequests", "Unregistered"])
    results = run(send(PushEngine(apns(), listener=metrics), notifications(5000)))
    counts = Counter((result.verdict.value, result.reason or "") for result in results)
    assert {key[1:]: count for key, count in metrics.sent.items()} == counts
    assert metrics.retries["apns", "TooManyRequests"] > 50
    assert metrics.durations["apns"].percentile(50) == pytest.approx(0.05, rel=0.1)
    assert metrics.queue_depth["apns", "retry"] == 0


def test_leaving_early_repeats_nothing_and_tells_the_listener_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider({(503, "ServiceUnavailable"): 0.2})
    connect_to(monkeypatch, provider)
    heard: list[Result] = []

    class Ear(Listener):
        def results(self, provider: str, batch: Any) -> None:
            heard.extend(batch)

    async def campaign() -> None:
        async with PushEngine(apns(), listener=Ear(), window=500) as engine:
            results = engine.send_many(notifications(100_000))
            async for _ in results:
                if len(heard) > 2000:
                    break
            await results.aclose()

    run(campaign())
    assert Counter(len(times) for times in provider.times.values()) == {1: len(provider.times)}
    assert {result.push.token for result in heard} == set(provider.times)
    assert {result.verdict for result in heard} == {Verdict.ACCEPTED, Verdict.UNAVAILABLE}
