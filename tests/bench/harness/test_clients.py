"""What h2load prints, and what is sent when it is not the usual."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from bench.client.latency import read_log
from bench.client.wan import WINDOW, ideal
from bench.harness.clients import read_h2load
from bench.harness.providers import PROVIDERS, USUAL, Workload, sized, sized_message
from bench.harness.stage import CannotMeasure, Target
from fakeservers.apns.fates import fate_of
from fakeservers.fcm.fates import fate_of as fcm_fate_of

PRINTED = """starting benchmark...
TLS Protocol: TLSv1.3
Cipher: TLS_AES_256_GCM_SHA384
finished in 381.52ms, 524217.54 req/s, 21.99MB/s
requests: 200000 total, 200000 started, 200000 done, 100000 succeeded, 100000 failed, 0 errored, 0 timeout
status codes: 100000 2xx, 0 3xx, 100000 4xx, 0 5xx
"""
TARGET = Target(
    "c", "apns", "https://127.0.0.1:1", "ca.pem", 0, {"project_id": "p", "topic": "com.example.app"}
)


def test_h2loads_figures_are_found() -> None:
    found = read_h2load(PRINTED)
    assert (found.rate, found.ok, found.answered) == (524217.54, 200_000, 200_000)
    assert found.cipher == "TLS_AES_256_GCM_SHA384"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0 errored", "7 errored"),
        ("100000 failed", "90000 failed"),
        ("finished in", "stopped in"),
        ("requests:", ""),
    ],
)
def test_h2load_that_did_not_answer_everything_gives_no_figure(old: str, new: str) -> None:
    with pytest.raises(CannotMeasure, match="h2load"):
        read_h2load(PRINTED.replace(old, new))


def test_streams_that_a_strict_server_refuses_at_first_are_forgiven() -> None:
    text = PRINTED.replace("0 errored", "99 errored")
    assert read_h2load(text, refused=100).answered == 199_901
    with pytest.raises(CannotMeasure, match="99 of 200000 requests got no answer"):
        read_h2load(text)


def test_h2loads_log_gives_the_durations() -> None:
    assert read_log("1700000000000001\t200\t20500\n1700000000000002\t200\t21000\n\n") == [0.0205, 0.021]


@pytest.mark.parametrize("provider", list(PROVIDERS))
def test_bodies_have_the_size_that_was_asked_for(provider: str) -> None:
    for size in PROVIDERS[provider].sizes:
        assert len(PROVIDERS[provider].body(Workload(size=size))) == size


def test_bodies_of_a_size_differ_from_device_to_device() -> None:
    assert orjson.dumps(sized(1, 100)) != orjson.dumps(sized(2, 100))
    assert len(orjson.dumps(sized(8_000_000, 100))) == 100
    assert sized_message(1, 300).notification != sized_message(2, 300).notification


@pytest.mark.parametrize("percent", [0, 2, 10, 50])
def test_as_many_tokens_are_fated_as_per_cent_say(percent: int) -> None:
    work = Workload(fated=percent)
    notifications = list(PROVIDERS["apns"].pushes(1000, work))
    messages = list(PROVIDERS["fcm"].pushes(1000, work))
    fates = [fate_of(push.token.encode()) for push in notifications]
    assert sum(bool(fate) for fate in fates) == percent * 10
    assert sum(bool(fcm_fate_of(push.token)) for push in messages) == percent * 10
    assert not work.refused(0)
    if percent:
        assert {*fates} == {"", "Unregistered", "BadDeviceToken"}


@pytest.mark.parametrize("provider", list(PROVIDERS))
def test_ours_and_h2load_send_the_same(provider: str) -> None:
    target = replace(TARGET, provider=provider)
    push = next(PROVIDERS[provider].pushes(1, USUAL))
    body = orjson.loads(PROVIDERS[provider].body(USUAL))
    if provider == "apns":
        assert body == push.payload
        assert PROVIDERS[provider].path(target, 0, USUAL) == f"/3/device/{push.token}"
    else:
        assert body["message"]["token"] == push.token
        assert body["message"]["notification"] == push.notification


def test_the_ideal_is_what_streams_or_window_allow() -> None:
    assert ideal(1000, WINDOW, 50, 50.0, 1) == (20_000.0, "streams")
    rate, limit = ideal(1000, WINDOW, 300, 40.0, 2)
    assert limit == "window"
    assert rate == pytest.approx(65_535 / 300 / 0.040 * 2)
    assert ideal(100, float("inf"), 300, 100.0, 1) == (1000.0, "streams")
