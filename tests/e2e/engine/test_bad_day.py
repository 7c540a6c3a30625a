"""Servers that send connections away after 100 to 200 requests: every push is delivered once, and what is not known was cut."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import Cut, Fault, FaultPlan, Goaway, When
from pushcore import Result, Verdict
from pushcore.errors import ConnectionLost
from tests.e2e.fcm_support import fcm_of, message, plain_engine
from tests.e2e.support import client_of, push

PUSHES = 2000
EACH = 100
"""Requests that a connection takes on one of the days, as nginx's `keepalive_requests` has it."""

pytestmark = pytest.mark.parametrize(
    ("provider", "http2"),
    [
        ("apns", "fast"),
        ("apns", "reference"),
        ("fcm", "fast"),
        pytest.param("apns", "fast", id="apns-fast on uvloop", marks=pytest.mark.uvloop),
    ],
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a connection that did nothing for us."""
    monkeypatch.setattr("pushcore.http2.dialer.FIRST_PAUSE", 0.02)


def storm() -> FaultPlan:
    return FaultPlan.preset("goaway-storm", seed=7, scale=0.1)


def only_a_hundred() -> FaultPlan:
    return FaultPlan(
        7,
        [
            Fault(
                id="hundred",
                when=When(every=EACH, per_connection=True, path="/3/"),
                what=Goaway(last=2 * EACH - 1),
            ),
            Fault(
                id="hundred-fcm",
                when=When(every=EACH, per_connection=True, path="/v1/"),
                what=Goaway(last=2 * EACH - 1),
            ),
        ],
    )


class Outcome:
    """What became of the pushes of one day."""

    def __init__(self, results: list[Result], fake: Any, dialled: int) -> None:
        self.verdicts = Counter(result.verdict for result in results)
        self.unknown = [result for result in results if result.verdict is Verdict.UNKNOWN]
        self.delivered = fake.pushes.accepted
        self.cut = fake.pushes.cut
        self.dialled = dialled


async def send(provider: str, http2: str, plan: FaultPlan, window: int | None = None) -> Outcome:
    """Send all pushes on such a day; checks that each has one result."""
    fake: Any = (FakeApns if provider == "apns" else FakeFcm)(faults=plan)
    async with fake:
        options: dict[str, Any] = {"http2": http2, "max_connections": 8}
        client: Any = client_of(fake, **options) if provider == "apns" else fcm_of(fake, **options)
        pushes = map(push if provider == "apns" else message, range(PUSHES))
        async with client, plain_engine(client, window=window) as engine:
            results = [result async for result in engine.send_many(pushes)]
            dialled = client._dispatcher.pool.dialled
        assert len({result.push.token for result in results}) == len(results) == PUSHES
        return Outcome(results, fake, dialled)


async def test_under_a_storm_of_goaways_every_push_is_delivered_once(provider: str, http2: str) -> None:
    plan = storm()
    day = await send(provider, http2, plan)
    assert day.verdicts == {Verdict.ACCEPTED: PUSHES}
    assert (day.delivered, day.cut) == (PUSHES, 0)
    assert plan.hits["at-once"]
    assert plan.hits["unprocessed"]


async def test_a_server_that_takes_a_hundred_requests_on_each_connection(provider: str, http2: str) -> None:
    day = await send(provider, http2, only_a_hundred())
    assert day.verdicts == {Verdict.ACCEPTED: PUSHES}
    assert (day.delivered, day.cut) == (PUSHES, 0)
    assert PUSHES // EACH <= day.dialled <= PUSHES // EACH + 8


async def test_unknown_is_only_what_was_open_when_the_server_cut_a_response_off(
    provider: str, http2: str
) -> None:
    plan, window = storm(), 50
    plan.add(Fault(id="torn", when=When(every=700), what=Cut(how="frame")))
    day = await send(provider, http2, plan, window)
    cuts = plan.hits["torn"]
    assert set(day.verdicts) == {Verdict.ACCEPTED, Verdict.UNKNOWN}
    assert 0 < cuts <= len(day.unknown) <= cuts * window
    assert all(isinstance(result.detail, ConnectionLost) for result in day.unknown)
    # A response that was cut off had accepted its push.
    assert day.verdicts[Verdict.ACCEPTED] + cuts <= day.delivered <= PUSHES
