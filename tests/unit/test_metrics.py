"""What is counted where, that labels are bounded, and that a listener harms nobody."""

from __future__ import annotations

import inspect
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from pushcore.apns.reasons import REASONS
from pushcore.errors import ConnectError, GoAway, ResponseTimeout
from pushcore.metrics import FAMILIES, Listener, Listeners, Metrics, merge
from pushcore.results import Result, Verdict

EVENTS: dict[str, tuple[Any, ...]] = {
    "results": ("apns", [Result(None, Verdict.ACCEPTED)]),
    "connection_opened": ("apns", "host"),
    "connection_failed": ("apns", "host", ConnectError("no")),
    "connection_closed": ("apns", "host", None),
    "goaway": ("apns", "host", 0, "BadCertificate"),
    "token_rotated": ("apns",),
    "retried": ("fcm", "UNAVAILABLE", 3, 10.0),
    "rate_limited": ("fcm", 60.0),
    "slowed": ("fcm", 8000.0),
    "breaker_opened": ("apns", "wrong environment"),
}


def test_results_are_counted_by_outcome_and_reason() -> None:
    metrics = Metrics(REASONS)
    batch = [
        *[Result(None, Verdict.ACCEPTED, 200)] * 5,
        *[Result(None, Verdict.UNREGISTERED, 410, reason="Unregistered")] * 2,
        Result(None, Verdict.UNAVAILABLE, 500, reason="NeverHeardOf"),
        Result(None, Verdict.UNSENT, detail=ConnectError("no")),
        Result(None, Verdict.UNKNOWN, detail=ResponseTimeout("late")),
        Result(None, Verdict.MISCONFIGURED, reason="BadCertificate", detail=GoAway(0, b"", unprocessed=True)),
        Result(None, Verdict.INVALID, detail="a sentence"),
    ]
    metrics.results("apns", batch)
    metrics.results("apns", batch[:1])
    metrics.results("fcm", batch[:1])
    assert metrics.sent == {
        ("apns", "ACCEPTED", ""): 6,
        ("apns", "UNREGISTERED", "Unregistered"): 2,
        ("apns", "UNAVAILABLE", "other"): 1,
        ("apns", "UNSENT", "ConnectError"): 1,
        ("apns", "UNKNOWN", "ResponseTimeout"): 1,
        ("apns", "MISCONFIGURED", "BadCertificate"): 1,
        ("apns", "INVALID", ""): 1,
        ("fcm", "ACCEPTED", ""): 1,
    }


def test_labels_are_bounded_whatever_servers_say() -> None:
    metrics = Metrics(REASONS)
    for number in range(1000):
        word = f"reason {number}"
        metrics.results("apns", [Result(None, Verdict.INVALID, 400, reason=word)])
        metrics.goaway("apns", "host", 0, word)
        metrics.retried("apns", word, 1, 10.0)
        metrics.duration(f"provider {number}").observe(0.1)
    assert metrics.sent == {("apns", "INVALID", "other"): 1000}
    assert metrics.goaways == {("apns", "other"): 1000}
    assert metrics.retries == {("apns", "other"): 1000}
    assert len(metrics.durations) < 10
    assert sum(each.count for each in metrics.durations.values()) == 1000


def test_events_are_counted() -> None:
    metrics = Metrics(["UNAVAILABLE", "BadCertificate"])
    for name, details in EVENTS.items():
        getattr(metrics, name)(*details)
    metrics.goaway("apns", "host", 0, None)
    assert metrics.dials == {("apns", "opened"): 1, ("apns", "failed"): 1}
    assert metrics.goaways == {("apns", "BadCertificate"): 1, ("apns", ""): 1}
    assert metrics.tokens == {("apns",): 1}
    assert metrics.retries == {("fcm", "UNAVAILABLE"): 3}
    assert metrics.breaker == {("apns",): 1}


def pool(streams: list[int], waiting: int, expiries: dict[str, float] | None = None) -> Any:
    links = [SimpleNamespace(connection=SimpleNamespace(streams=[None] * each)) for each in streams]
    return SimpleNamespace(links=links, waiting=[None] * waiting, expiries=expiries or {})


def test_pools_are_read_at_each_snapshot() -> None:
    metrics = Metrics()
    busy = pool([3, 4], 5)
    end = metrics.watch("apns", busy)
    metrics.watch("fcm", pool([1], 0))
    metrics.watch("fcm", pool([], 7))
    metrics.queue_depth["fcm", "retry"] = 9
    found = metrics.snapshot()
    assert found["connections"] == [["apns", 2], ["fcm", 1]]
    assert found["in_flight"] == [["apns", 7], ["fcm", 1]]
    assert found["queue_depth"] == [["apns", "pool", 5], ["fcm", "pool", 7], ["fcm", "retry", 9]]
    busy.waiting.clear()
    assert ["apns", "pool", 0] in metrics.snapshot()["queue_depth"]
    end()
    end()
    assert metrics.snapshot()["connections"] == [["fcm", 1]]


def test_snapshot_is_plain_and_the_sum_of_processes() -> None:
    shards = [Metrics(REASONS), Metrics(REASONS)]
    for number, metrics in enumerate(shards, start=1):
        metrics.results("apns", [Result(None, Verdict.ACCEPTED)] * number)
        metrics.results("fcm", [Result(None, Verdict.THROTTLED)])
        metrics.time_lag[("apns",)] = float(number)
        metrics.watch("apns", pool([number], 0))
        metrics.duration("apns").observe_all([0.1, 0.2])
    shards[1].duration("fcm").observe(1.0)
    shards[0].breaker_opened("apns", "wrong")
    found = [json.loads(json.dumps(each.snapshot())) for each in shards]
    assert found == [each.snapshot() for each in shards]
    assert set(found[0]) == {*FAMILIES, "duration"}
    merged = merge(found)
    assert merged["sent"] == [["apns", "ACCEPTED", "", 3], ["fcm", "THROTTLED", "", 2]]
    assert merged["time_lag"] == [["apns", 2.0]]
    assert merged["breaker"] == [["apns", 1]]
    assert merged["in_flight"] == [["apns", 3]]
    assert sum(merged["duration"]["apns"]["counts"]) == 4
    assert merged["duration"]["apns"]["total"] == pytest.approx(0.6)
    assert sum(merged["duration"]["fcm"]["counts"]) == 1
    assert merge([merged]) == merged
    assert set(merge([])) == {*FAMILIES, "duration"}


def test_snapshots_from_another_thread() -> None:
    metrics = Metrics()
    failed: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        try:
            while not stop.is_set():
                metrics.snapshot()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    for number in range(3000):
        metrics.dials[f"label {number}", "opened"] += 1
        metrics.watch("apns", pool([number % 3], 0))() if number % 2 else metrics.duration("fcm").observe(1)
    stop.set()
    thread.join()
    assert not failed


# --- listeners ----------------------------------------------------------------------------------------------------


class Recorder(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def connection_opened(self, provider: str, host: str) -> None:
        self.events.append(("opened", provider, host))


class Broken(Listener):
    def connection_opened(self, provider: str, host: str) -> None:
        raise RuntimeError("a bug of the embedder")


def test_all_methods_are_optional_and_all_are_passed_on() -> None:
    methods = {
        name for name, _ in inspect.getmembers(Listener, inspect.isfunction) if not name.startswith("_")
    }
    assert methods == set(EVENTS)
    told: list[tuple[Any, ...]] = []

    class Told(Listener):
        pass

    for name in methods:
        setattr(Told, name, lambda self, *details, name=name: told.append((name, *details)))
    listeners = Listeners(Recorder(), Told())
    for name, details in EVENTS.items():
        getattr(listeners, name)(*details)
    assert told == [(name, *details) for name, details in EVENTS.items()]


def test_a_failing_listener_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    first, last = Recorder(), Recorder()
    listeners = Listeners(first, Broken())
    listeners.add(last)
    listeners.connection_opened("apns", "host")
    assert first.events == last.events == [("opened", "apns", "host")]
    assert "connection_opened of a listener failed" in caplog.text
    listeners.remove(last)
    listeners.connection_opened("apns", "host")
    assert len(last.events) == 1


def test_the_earliest_expiry_of_all_pools_and_processes() -> None:
    shards = [Metrics(), Metrics()]
    shards[0].watch("apns", pool([], 0, {"certificate": 30.0}))
    shards[0].watch("apns", pool([], 0, {"certificate": 20.0, "provider_token": 5.0}))
    shards[1].watch("apns", pool([], 0, {"certificate": 10.0}))
    assert shards[0].snapshot()["expiries"] == [
        ["apns", "certificate", 20.0],
        ["apns", "provider_token", 5.0],
    ]
    assert merge([shard.snapshot() for shard in shards])["expiries"] == [
        ["apns", "certificate", 10.0],
        ["apns", "provider_token", 5.0],
    ]
