"""FCM's quota in virtual time: the ramp, the gate that a Retry-After closes, and a project that is told to slow down."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import chain, pairwise
from typing import Any

import orjson
import pytest

from pushcore import (
    FcmClient,
    Message,
    Metrics,
    Notification,
    PushEngine,
    Rate,
    Result,
    ServiceAccount,
    Verdict,
)
from pushcore.fcm.errors import REASONS
from pushcore.metrics import Listener
from tests.e2e.engine.test_campaign_rules import BODY, Provider, apns, messages, notifications, send, waits
from tests.support.virtual import Answer, connect_to, run
from tests.tiers import budget

COUNT = budget(20_000, 60_000)
OFTEN = {(429, "QUOTA_EXCEEDED"): 0.02, (503, "UNAVAILABLE"): 0.01}


class Ear(Metrics):
    """Hears how slowly it goes, and how much waits at most."""

    def __init__(self) -> None:
        super().__init__(REASONS)
        self.paces: list[float] = []
        self.closed: list[float] = []
        self.waited = 0.0

    def slowed(self, provider: str, rate: float) -> None:
        self.paces.append(rate)

    def rate_limited(self, provider: str, seconds: float) -> None:
        self.closed.append(seconds)

    def results(self, provider: str, batch: Any) -> None:
        super().results(provider, batch)
        self.waited = max(self.waited, self.queue_depth["fcm", "retry"])


@pytest.mark.grows
def test_two_percent_rejected_without_retry_after_slow_the_project_and_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Provider(OFTEN)
    connect_to(monkeypatch, provider, streams=100)
    ear = Ear()
    client = FcmClient(account, url="https://fcm.test", max_connections=20)
    results = run(send(PushEngine(client, listener=ear), messages(COUNT)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: COUNT}
    least = {"QUOTA_EXCEEDED": 60.0, "UNAVAILABLE": 10.0}
    for reason, seconds, tries in waits(provider):
        assert seconds >= least[reason] * 2 ** (tries - 1)
    first = sorted(times[0] for times in provider.times.values())
    assert first[-1] - first[0] < 60  # as without 429s: 60 000 take half a minute's ramp
    assert (
        provider.all[-1] - provider.all[0] < 15 * 60
    )  # some are refused four times: 60 + 120 + 240 s, and jitter
    assert ear.closed == []
    assert ear.paces
    assert 0 < max(ear.paces) < 10_000
    assert 100 < ear.waited <= 0.04 * COUNT  # what is put off, and nothing else
    warnings = {record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING}
    assert any("fcm rejects some pushes because of their rate (429): " in warning for warning in warnings)
    assert len(warnings) < 100


@pytest.mark.parametrize(("seconds", "longest"), [(1, 600), (10, 2000)])
def test_a_small_retry_after_closes_the_gate_for_all_pushes_for_a_while(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount, seconds: int, longest: float
) -> None:
    provider = Provider(OFTEN, retry_after=seconds)
    connect_to(monkeypatch, provider, streams=100)
    ear = Ear()
    client = FcmClient(account, url="https://fcm.test")
    results = run(send(PushEngine(client, listener=ear), messages(10_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 10_000}
    assert provider.all[-1] - provider.all[0] < longest
    refused = [
        times[place]
        for device, times in provider.times.items()
        for place, (status, _) in enumerate(provider.said[device])
        if status == 429
    ]
    for at in refused:
        assert not [other for other in provider.all if at + 0.2 < other < at + seconds - 0.01]
    assert max(ear.closed) <= seconds + 1e-9  # a time of now and so many seconds, less now, is rounded


def test_a_quota_that_is_used_up_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else has spent it: everything is refused until the minute is over, without a Retry-After."""
    provider = Provider({(429, "QUOTA_EXCEEDED"): 1.0})
    provider.until = 1000.0 + 50.0
    connect_to(monkeypatch, provider, streams=100)
    ear = Ear()
    results = run(send(PushEngine(FcmClient(account, url="https://fcm.test"), listener=ear), messages(5000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 5000}
    assert ear.closed[0] == pytest.approx(60, abs=1)
    assert sum(1 for at in provider.all if at < 1060) < 200
    assert "fcm asked for a pause of 60 s (429)" in caplog.text


class TopicQuota(Provider):
    """Accepts no more than so many messages to the topic "news", in virtual seconds from the start, and everything else."""

    def __init__(self, accepted: int, until: float, retry_after: int | None, description: str) -> None:
        super().__init__({}, retry_after)
        self.accepted = accepted
        self.until = 1000.0 + until
        self.description = description
        self.topic_times: list[float] = []
        self.order: list[str] = []

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        message = orjson.loads(body)["message"] if fields[":path"].startswith("/v1/") else {}
        if "topic" not in message:
            return super().__call__(fields, body)
        now = asyncio.get_running_loop().time()
        self.topic_times.append(now)
        if self.accepted <= 0 and now < self.until:
            status, headers, response = self.refuse(429, "QUOTA_EXCEEDED", True)
            error = orjson.loads(response)
            error["error"]["message"] = self.description
            return status, headers, orjson.dumps(error)
        self.accepted -= 1
        self.order.append(message["data"]["number"])
        return 200, {}, orjson.dumps({"name": "projects/p/messages/1"})


def news(count: int) -> Iterator[Message]:
    for number in range(count):
        yield Message(topic="news", data={"number": str(number)})


DEVICES = 1500


def seconds_for_devices(provider: Provider) -> float:
    return max(times[-1] for times in provider.times.values()) - min(
        times[0] for times in provider.times.values()
    )


@pytest.mark.parametrize(
    ("retry_after", "description"), [(30, "Topic quota exceeded."), (None, "Topic message rate exceeded.")]
)
def test_a_topics_quota_holds_back_that_topic_alone(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount, retry_after: int | None, description: str
) -> None:
    alone = Provider({})
    connect_to(monkeypatch, alone, streams=100)
    run(send(PushEngine(FcmClient(account, url="https://fcm.test")), messages(DEVICES)))
    provider = TopicQuota(100, 100.0, retry_after, description)
    connect_to(monkeypatch, provider, streams=100)
    mixed = chain.from_iterable(zip(messages(DEVICES), news(DEVICES), strict=True))
    ear = Ear()
    results = run(send(PushEngine(FcmClient(account, url="https://fcm.test"), listener=ear), mixed))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 2 * DEVICES}
    # The project's ramp lets so many pushes out, and those to the topic that were sent before its limit was known count.
    assert seconds_for_devices(provider) < 1.25 * seconds_for_devices(alone)
    assert (ear.closed, ear.paces) == ([], [])
    # What was in flight when the first was refused was refused as well; then nothing until the wait is over.
    wait = retry_after or 60
    first = provider.topic_times[100]
    assert not [at for at in provider.topic_times if first + 0.3 < at < first + wait - 0.1]
    assert provider.order[:100] == [str(number) for number in range(100)]
    later = [int(number) for number in provider.order[100:]]
    assert sum(1 for one, following in pairwise(later) if following < one) < 60
    assert max(result.attempts for result in results) <= 5


def test_a_device_that_has_too_many_holds_back_that_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class OneDevice(Provider):
        def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
            self.refusals = {(429, "TooManyRequests"): 1.0} if fields[":path"].endswith("f" * 64) else {}
            return super().__call__(fields, body)

    provider = OneDevice({})
    provider.until = 1020.0
    connect_to(monkeypatch, provider)
    busy = (Notification("f" * 64, BODY) for _ in range(200))
    source = chain.from_iterable(zip(notifications(200), busy, strict=True))
    results = run(send(PushEngine(apns(), window=50), source))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 400}
    busy_times = provider.times["f" * 64]
    refused = len(provider.said["f" * 64])
    assert refused <= 50  # those in flight
    assert not [at for at in busy_times if busy_times[0] + 0.3 < at < busy_times[0] + 30]
    others = [at for device, times in provider.times.items() if device != "f" * 64 for at in times]
    assert max(others) - min(others) < 5


def test_a_device_over_its_rate_limit_slows_no_other_device_down(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    class Devices(Provider):
        def refuse(self, status: int, reason: str, fcm: bool) -> Answer:
            status, headers, body = super().refuse(status, reason, fcm)
            error = orjson.loads(body)
            error["error"]["details"].append(
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [{"subject": "device:p", "description": "Device message rate exceeded."}],
                }
            )
            return status, headers, orjson.dumps(error)

    provider = Devices({(429, "QUOTA_EXCEEDED"): 0.02}, retry_after=90)
    connect_to(monkeypatch, provider, streams=100)
    ear = Ear()
    client = FcmClient(account, url="https://fcm.test", max_connections=20)
    results = run(send(PushEngine(client, listener=ear), messages(20_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 20_000}
    assert all(seconds >= 90 for _, seconds, _ in waits(provider))
    first = sorted(times[0] for times in provider.times.values())
    assert first[-1] - first[0] < 30
    assert (ear.closed, ear.paces) == ([], [])


def test_every_device_is_accepted_and_every_repeat_obeys_googles_rules(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    provider = Provider({(503, "UNAVAILABLE"): 0.02, (500, "INTERNAL"): 0.01}, retry_after=17)
    connect_to(monkeypatch, provider, streams=100)
    results = run(send(PushEngine(FcmClient(account, url="https://fcm.test")), messages(20_000)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: 20_000}
    assert all(seconds >= max(17.0, 10.0 * 2 ** (tries - 1)) for _, seconds, tries in waits(provider))
    assert sum(1 for _ in waits(provider)) > 400


@pytest.mark.grows
def test_a_project_is_ramped_up_over_a_minute_and_one_429_closes_the_gate_for_all(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    provider = Provider({(429, "QUOTA_EXCEEDED"): 0.0001}, retry_after=90)
    connect_to(monkeypatch, provider, streams=100)
    client = FcmClient(account, url="https://fcm.test", max_connections=20)
    results = run(send(PushEngine(client), messages(COUNT)))
    assert Counter(result.verdict for result in results) == {Verdict.ACCEPTED: COUNT}
    start = provider.all[0]
    first_second = sum(1 for at in provider.all if at < start + 1)
    assert first_second < 600  # a hundredth of 10 000 and what the ramp adds, and not a minute's quota
    per_minute = Counter(int((at - start) // 60) for at in provider.all)
    assert max(per_minute.values()) <= 600_000
    refused = sorted(
        times[place]
        for device, times in provider.times.items()
        for place in range(len(provider.said[device]))
    )
    assert refused
    for at in refused:
        # What was on its way already may still arrive, for two latencies; then nothing for as long as Google asks.
        assert not [other for other in provider.all if at + 0.2 < other < at + 89.9]


def test_pushes_at_a_closed_gate_are_unsent_when_the_run_is_left(
    monkeypatch: pytest.MonkeyPatch, account: ServiceAccount
) -> None:
    connect_to(monkeypatch, Provider({}), streams=100)
    heard: list[Result] = []

    class Ear(Listener):
        def results(self, provider: str, batch: Any) -> None:
            heard.extend(batch)

    async def source() -> AsyncIterator[Message]:
        for message in messages(10_000):
            yield message

    async def campaign() -> None:
        client = FcmClient(account, url="https://fcm.test")
        async with PushEngine(client, listener=Ear(), rate=Rate.parse("100/s")) as engine:
            results = engine.send_many(source())
            async for _ in results:
                break
            await results.aclose()

    run(campaign())
    verdicts = Counter(result.verdict for result in heard)
    assert verdicts.keys() == {Verdict.ACCEPTED, Verdict.UNSENT}
    assert {result.attempts for result in heard if not result.ok} == {0}
