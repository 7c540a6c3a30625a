"""Defaults and limits that pages name are those of the code. docs/guides/gateway.md and from-expo.md have tests of their own."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from pushcore import ApnsClient, CampaignInfo, FcmClient, RetryPolicy
from pushcore.auth import expiry
from pushcore.cli.main import cli
from pushcore.cli.run import campaign
from pushcore.engine import breaker, engine, gate, rate
from pushcore.fcm import confirmation, shapes
from pushcore.http2 import dialer, streams
from pushcore.journal import journal, reserve
from pushcore.payloads import duplicates
from pushcore.queue import chunk, fleet, heartbeats, protocol, worker

DOCS = Path(__file__).parents[2] / "docs"


def default(function: Any, name: str) -> Any:
    return inspect.signature(function).parameters[name].default


def spaced(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ")


POLICY = RetryPolicy()
GRACE: float = next(
    getattr(option, "default", 0.0) for option in cli.commands["worker"].params if option.name == "grace"
)
MINUTE = {60.0: "a minute", 3600.0: "an hour", 1.0: "one second"}

NAMED = {
    "guides/sending.md": (
        f"for {MINUTE[POLICY.max_age]} at most",
        f"after {breaker.RUN} rejections in a row",
        f"half of the last {breaker.WINDOW} responses",
        f"from {breaker.REFUSED_AT_LEAST} responses on",
        f"from {breaker.MINIMUM} responses on",
        f"Above {spaced(duplicates.LIMIT)} tokens",
        f"one chunk of {journal.CHUNK_SIZE} rows",
        {10.0: "Ten seconds"}[campaign.OPEN_BEFORE] + " before it",
        {2.0: "Two seconds"}[campaign.READ_BEFORE] + " before it",
        f"certificate's last {expiry.WARN_BEFORE / expiry.DAY:g} days",
    ),
    "guides/embedding.md": (
        f"received on a connection for {MINUTE[streams.LONG_SILENCE]}",
        f"within {MINUTE[streams.PROBE_TIMEOUT]}",
        f"`idle_ping={default(ApnsClient, 'idle_ping')}`",
        f"`keepalive={default(ApnsClient, 'keepalive')}`",
        f"`max_delayed` ({spaced(POLICY.max_delayed)})",
        f"quota of {spaced(rate.RAMP_RATE * 60)} a minute, after a ramp-up of one minute",
    ),
    "guides/queue.md": (
        f"{chunk.CHUNK_ROWS} rows by default",
        f"last {breaker.WINDOW} responses to this worker",
        f"leased {worker.MAX_ATTEMPTS} times",
        f"delivered after {worker.LINGER:g} seconds",
        f"leased for {fleet.HOLD:g} seconds",
        f"**`idle`** ({protocol.IDLE:g} s)",
        f"`drain(grace)`: {default(worker.Worker.drain, 'grace'):g} s by default",
        f"finish its leased rows, {GRACE:g} by default",
        f"waits {worker.GIVE_UP:g} s longer at most",
        {10.0: "without a heartbeat for ten seconds"}[heartbeats.ALIVE],
        {1.0: "a heartbeat once a second"}[worker.HEARTBEAT],
        {0.5: "twice a second"}[fleet.POLL],
    ),
    "operations/operators.md": (
        f"one chunk of {journal.CHUNK_SIZE} rows",
        f"reserves {reserve.RESERVE >> 20} MB",
        f"Above {spaced(duplicates.LIMIT)} tokens",
        f"reach {spaced(rate.RAMP_RATE)} a second after a minute",
        {0.1: "more than a tenth are rejected"}[rate.USED_UP],
        f"(APNs: {POLICY.apns_device_wait:g} seconds)",
        f"last {spaced(shapes.WINDOW)} responses",
        f"at most {confirmation.RATE:g} a second",
        f"every {gate.WARN_EVERY:g} seconds at most",
        {0.5: "after half a second at most"}[dialer.FIRST_PAUSE],
        f"after {dialer.LONGEST_PAUSE:g} s at most",
        f"last {expiry.WARN_BEFORE / expiry.DAY:g} days",
    ),
    "operations/service.md": (
        f"within `--grace` seconds ({GRACE:g} by default)",
        f"waits {worker.GIVE_UP:g} s longer at most",
        f"`--grace` plus {worker.GIVE_UP:g} s.",
    ),
    "operations/sizing.md": (
        f"| `timeout` | {default(ApnsClient, 'timeout'):g} s |",
        f"{default(ApnsClient, 'max_connections')} APNs, {default(FcmClient, 'max_connections')} FCM",
        f"{spaced(engine.LARGEST_WINDOW)} at most",
        f"| `RetryPolicy.max_age` | {MINUTE[POLICY.max_age]} |",
    ),
}
"""What each page says, made of the code's own numbers."""


@pytest.mark.parametrize("page", NAMED)
def test_the_numbers_are_those_of_the_code(page: str) -> None:
    text = " ".join((DOCS / page).read_text(encoding="utf-8").split())
    assert [words for words in NAMED[page] if words not in text] == []


def test_systemd_waits_longer_than_a_worker_takes() -> None:
    page = (DOCS / "operations" / "service.md").read_text()
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", page, re.MULTILINE)
    assert int(seconds) > GRACE + worker.GIVE_UP


def test_the_chunk_of_the_example_is_the_default() -> None:
    assert f"chunk_rows={default(CampaignInfo, 'chunk_rows')}," in (DOCS / "guides" / "queue.md").read_text()
