"""pushcore's own clients under every kind of fault and under every ready-made plan: each push has exactly one result,
none is doubled, and none that was accepted is lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import (
    ILLEGAL,
    KINDS,
    PRESETS,
    Answer,
    ChangeAccessTokens,
    ChangeStreamLimit,
    Connect,
    Cut,
    Delay,
    FaultPlan,
    Frame,
    Goaway,
    Greeting,
    HalfOpen,
    Ping,
    Reset,
    Settings,
    Shape,
    Slow,
    Stall,
    Tls,
    Truncate,
    Window,
)
from pushcore.fcm.token_endpoint import TokenEndpoint
from tests.fakeservers.faults_support import TIMEOUT, Account, one

ENGINES = ("fast", "reference", pytest.param("fast", id="fast on uvloop", marks=pytest.mark.uvloop))

FEW = {"share": 0.05}
ONCE = {"nth": 20}
FIRST = {"connection": 1}

ACTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "answer 500": (Answer(status=500), FEW),
    "answer 503 html": (Answer(status=503, body="<html>busy</html>"), FEW),
    "answer 429": (Answer(status=429, reason="Slow down"), FEW),
    "answer 429 with Retry-After": (Answer(status=429, retry_after=1), ONCE),
    "answer 429 with a date": (Answer(status=429, retry_after="Fri, 31 Dec 1999 23:59:59 GMT"), ONCE),
    "answer nonsense": (Answer(status=418, body="{", content_type="application/json"), FEW),
    "answer no body": (Answer(status=400), FEW),
    "delay": (Delay(seconds=0.02), FEW),
    "delay between": (Delay(between=(0.0, 0.05)), {}),
    "delay by percentiles": (Delay(percentiles=((50, 0.001), (99, 0.02), (100, 0.05))), {}),
    "delay by table": (Delay(table=((9, 0.0), (1, 0.05))), {}),
    "stall": (Stall(), {"nth": (5, 6)}),
    "stall processed": (Stall(processed=True), {"nth": (5, 6)}),
    "reset refused": (Reset(), FEW),
    "reset internal": (Reset(code="INTERNAL_ERROR", processed=True), FEW),
    "reset 99": (Reset(code=99), FEW),
    "cut by reset": (Cut(how="reset"), ONCE),
    "cut by close": (Cut(how="close", processed=True), ONCE),
    "cut in a frame": (Cut(how="frame"), ONCE),
    "half-open": (HalfOpen(), ONCE),
    "half-open with eof": (HalfOpen(how="eof"), ONCE),
    "goaway": (Goaway(debug='{"reason":"Shutdown"}'), {"every": 40}),
    "goaway before": (Goaway(last="before"), {"every": 40}),
    "goaway with notice": (Goaway(notice=0.02), ONCE),
    "goaway with grace": (Goaway(grace=0.5), ONCE),
    "goaway with a code": (Goaway(code="ENHANCE_YOUR_CALM", debug="too_many_pings"), {"every": 50}),
    "goaway max": (Goaway(last="max"), ONCE),
    "settings": (Settings(values=(("INITIAL_WINDOW_SIZE", 100), ("HEADER_TABLE_SIZE", 0))), {"every": 30}),
    "settings table": (Settings(values=(("HEADER_TABLE_SIZE", 16_384), ("MAX_FRAME_SIZE", 65_536))), ONCE),
    "streams": (ChangeStreamLimit(limits=(1, 1000, 3)), {"every": 20}),
    "streams restored": (ChangeStreamLimit(limits=(1,), restore=0.05), ONCE),
    "ping": (Ping(count=3), FEW),
    "connect reset": (Connect(how="reset"), FIRST),
    "connect close": (Connect(how="close"), FIRST),
    "connect silent": (Connect(how="silent"), FIRST),
    "connect plain": (Connect(how="plain"), FIRST),
    "connect delay": (Connect(how="delay", seconds=0.1), FIRST),
    "connect refuse": (Connect(how="refuse"), {"until": 0.3}),
    "tls expired": (Tls(how="expired"), FIRST),
    "tls early": (Tls(how="early"), FIRST),
    "tls wrong host": (Tls(how="wrong-host"), FIRST),
    "tls wrong ca": (Tls(how="wrong-ca"), FIRST),
    "tls no alpn": (Tls(how="no-alpn"), FIRST),
    "tls http/1.1": (Tls(how="http/1.1"), FIRST),
    "tls cut": (Tls(how="cut"), FIRST),
    "slow": (Slow(bytes=500, seconds=0.005), {}),
    "truncate": (Truncate(bytes=1500), FIRST),
    "truncate by reset": (Truncate(bytes=1500, how="reset"), FIRST),
    "truncate at once": (Truncate(bytes=0), FIRST),
    "greeting one stream": (Greeting(values=(("MAX_CONCURRENT_STREAMS", 1),)), {}),
    "greeting no table": (Greeting(values=(("HEADER_TABLE_SIZE", 0),)), {}),
    "greeting small window": (Greeting(values=(("INITIAL_WINDOW_SIZE", 10),)), {}),
    "window drips": (Window(drip=500, seconds=0.002), {}),
    "window of nothing drips": (Window(stream=0, drip=500, seconds=0.002), {}),
    "fragments": (Shape(fragment=3), {}),
    "padding": (Shape(pad=200), {}),
    "continuation": (Shape(continuation=40), {}),
    "continuation and padding": (Shape(continuation=45, pad=3, fragment=7, empty=2, priority=True), {}),
    "no table": (Shape(table=0, huffman=False), {}),
}

SILENT = {"stall", "stall processed", "half-open", "connect silent"}
"""Of those: what a client learns by its own timeout alone, and so is waited for in full."""


def timeout_of(name: str) -> float:
    return TIMEOUT / 2 if name in SILENT else TIMEOUT


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that are manners towards a real provider. They still happen, and still double, but begin shorter.

    Google wants a whole project to wait for a minute after a 429 without Retry-After; a dial that failed is repeated
    after half a second, a request for an access token after one, and that request may take ten.
    """
    monkeypatch.setattr("pushcore.engine.rate.QUOTA_WAIT", 0.05)
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("pushcore.auth.access_token.FIRST_PAUSE", 0.05)
    monkeypatch.setattr("pushcore.fcm.dispatcher.TokenEndpoint", partial(TokenEndpoint, timeout=1.6))


def test_every_kind_is_here() -> None:
    kinds = {type(what).__name__ for what, _ in ACTIONS.values()}
    assert kinds | {"ChangeAccessTokens", "Frame"} == {value.__name__ for value in KINDS.values()}


@pytest.mark.parametrize("http2", ENGINES)
@pytest.mark.parametrize("name", ACTIONS)
async def test_apns_client_survives(name: str, http2: str) -> None:
    what, when = ACTIONS[name]
    plan = FaultPlan(1, [one("x", what, **when)])
    async with FakeApns(faults=plan, keep=5000) as fake:
        account = Account(fake, http2=http2, timeout=timeout_of(name))
        verdicts = await account.run(200)
        account.check()
        assert plan.hits["x"]
        assert verdicts["ACCEPTED"]


@pytest.mark.parametrize("http2", ["fast", "reference"])
@pytest.mark.parametrize("name", ACTIONS)
async def test_fcm_client_survives(name: str, http2: str) -> None:
    what, when = ACTIONS[name]
    plan = FaultPlan(1, [one("x", what, **when)])
    async with FakeFcm(faults=plan, keep=5000) as fake:
        account = Account(fake, http2=http2, timeout=timeout_of(name))
        verdicts = await account.run(200)
        account.check()
        assert plan.hits["x"]
        assert verdicts["ACCEPTED"]


OAUTH: dict[str, tuple[Any, dict[str, Any]]] = {
    "slow": (Delay(seconds=0.2), {}),
    "down at first": (Answer(reason="unavailable"), {"nth": 1}),
    "internal failure at first": (Answer(reason="internal_failure"), {"nth": 1}),
    "html without sense": (Answer(status=200, body="<html>welcome</html>"), {"nth": 1}),
    "a token of one second": (ChangeAccessTokens(lifetime=1), {}),
    "a token that lies": (ChangeAccessTokens(lifetime=0, says=3600), {"nth": 1}),
    "cut": (Cut(), {"nth": 1}),
}


@pytest.mark.parametrize("name", OAUTH)
async def test_token_endpoint(name: str) -> None:
    what, when = OAUTH[name]
    plan = FaultPlan(1, [one("x", what, provider="oauth", **when)])
    if name == "a token that lies":
        plan.add(one("y", ChangeAccessTokens(lifetime=3600, says=3600), provider="oauth", nth="2-"))
    async with FakeFcm(faults=plan, keep=5000) as fake:
        account = Account(fake)
        verdicts = await account.run(100)
        account.check()
        assert plan.hits["x"]
        assert verdicts["ACCEPTED"]


@pytest.mark.parametrize(
    "what", [ChangeAccessTokens(expire=True), ChangeAccessTokens(forget=True)], ids=["expire", "forget"]
)
async def test_access_tokens_that_end_early_are_fetched_anew(what: ChangeAccessTokens) -> None:
    plan = FaultPlan(1, [one("x", what, nth=50)])
    async with FakeFcm(faults=plan, keep=5000) as fake:
        account = Account(fake)
        assert await account.run(300) == {"ACCEPTED": 300}
        account.check()
        assert plan.hits == {"x": 1}
        assert fake.token_requests == 2


async def test_a_stalled_token_endpoint_leaves_pushes_unsent() -> None:
    plan = FaultPlan(1, [one("x", Stall(), provider="oauth")])
    async with FakeFcm(faults=plan, keep=5000) as fake:
        account = Account(fake, timeout=0.2)
        assert await account.run(5) == {"UNSENT": 5}
        account.check()
        assert plan.hits["x"]
        assert not account.delivered


async def test_invalid_grant_is_a_misconfiguration_at_once() -> None:
    plan = FaultPlan(1, [one("x", Answer(reason="invalid_grant"))])
    async with FakeFcm(faults=plan) as fake:
        account = Account(fake)
        assert await account.run(20) == {"MISCONFIGURED": 20}
        account.check()
        assert fake.oauth.counts == {(400, "invalid_grant"): plan.hits["x"]}


@pytest.mark.parametrize(
    ("provider", "http2"),
    [
        ("apns", "fast"),
        ("apns", "reference"),
        pytest.param("fcm", "fast", id="fcm-fast on uvloop", marks=pytest.mark.uvloop),
    ],
)
@pytest.mark.parametrize("name", ILLEGAL)
async def test_illegal_frames(name: str, provider: str, http2: str) -> None:
    plan = FaultPlan(1, [one("x", Frame(name=name), nth=(20, 45))])
    async with (
        FakeApns(faults=plan, keep=5000) if provider == "apns" else FakeFcm(faults=plan, keep=5000) as fake
    ):
        account = Account(fake, http2=http2)
        verdicts = await account.run(80)
        account.check()
        assert plan.hits["x"] == 2
        assert verdicts["ACCEPTED"]


@pytest.mark.parametrize("provider", ["apns", "fcm"])
@pytest.mark.parametrize(
    "what",
    [
        Frame(name="settings-empty", count=3000),
        Frame(hex="0000080600000000003132333435363738", count=3000),
        Frame(hex="000000000000000001", count=3000),
        Frame(name="continuation-endless", count=5),
        Frame(hex="ff" * 10_000),
    ],
    ids=["settings", "pings", "empty data", "continuation", "ff"],
)
async def test_floods(provider: str, what: Frame) -> None:
    plan = FaultPlan(1, [one("x", what, nth=20)])
    async with (
        FakeApns(faults=plan, keep=5000) if provider == "apns" else FakeFcm(faults=plan, keep=5000) as fake
    ):
        account = Account(fake)
        verdicts = await account.run(80)
        account.check()
        assert plan.hits["x"] == 1
        assert verdicts["ACCEPTED"]


@pytest.mark.parametrize("what", [Window(), Window(stream=0), Shape(continuation=1, table=0)], ids=repr)
async def test_what_no_client_gets_through(what: Any) -> None:
    plan = FaultPlan(1, [one("x", what)])
    async with FakeApns(faults=plan, keep=5000) as fake:
        account = Account(fake, timeout=0.3)
        await account.run(30 if isinstance(what, Shape) else 300, window=500)
        account.check()
        assert plan.hits["x"]


CASES: dict[str, tuple[float, tuple[str, ...]]] = {
    # What times are multiplied by, and what must have happened.
    "calm": (1.0, ()),
    "realistic": (0.02, ("apns-delay", "apns-gone", "fcm-delay", "fcm-gone", "oauth-delay")),
    "apple-throttles": (0.01, ("delay", "bad-tokens", "too-many", "limit", "disconnect")),
    "goaway-storm": (0.02, ("by-notice", "at-once", "unprocessed", "refused")),
    "flaky-network": (0.02, ("no-way", "late", "trickle", "reset", "closed", "torn", "delay")),
    "google-quota": (0.01, ("delay", "quota", "quota-silent", "device")),
    "brownout": (0.02, ("slow", "apns-503", "fcm-503", "fcm-html", "stall", "down")),
    "proxy-pages": (1.0, ("page", "nothing")),
    "key-revoked": (0.005, ("apple", "google", "account")),
}


@pytest.mark.parametrize("provider", ["apns", "fcm"])
@pytest.mark.parametrize("name", PRESETS)
async def test_ready_made_plans(name: str, provider: str) -> None:
    scale, wanted = CASES[name]
    plan = FaultPlan.preset(name, seed=2, scale=scale)
    reached = {fault.id for fault in plan if not fault.when.provider or provider in fault.when.provider}
    if provider == "fcm":
        reached |= {fault.id for fault in plan if "oauth" in fault.when.provider}
    missing = set(wanted) & reached
    fake: Any = (FakeApns if provider == "apns" else FakeFcm)(faults=plan, keep=50_000, delay=0.005)
    async with fake:
        account = Account(fake, max_connections=4)
        verdicts = await account.run(500, 20_000, lambda: missing <= set(plan.hits), window=100)
        account.check()
        assert verdicts["ACCEPTED"]
        assert missing <= set(plan.hits), (missing - set(plan.hits), plan.hits)
