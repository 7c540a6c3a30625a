"""Which limiter a client gets, and what its lanes share with other processes."""

from __future__ import annotations

import math

import pytest

from pushcore.engine.rate import FCM_RATE, Limiter, Rate, RateLimiter, ramp_for
from pushcore.engine.rules import Rules, Shared
from pushcore.metrics import Listeners
from tests.support.scripted import ScriptedClient, SharedTrip


def rules(rate: Rate | None, shared: Shared | dict[str, Shared] | None = None) -> Rules:
    return Rules(None, rate, False, Listeners(), False, None, shared)


def rate_of(limiter: Limiter | None, after: float) -> float:
    """Pushes a second that it allows so long after its first push."""
    assert limiter is not None
    limiter.permits(1, 1000.0)
    return limiter.allowed_rate(1000.0 + after)


def test_a_provider_without_a_quota_has_no_limiter_unless_a_rate_is_set() -> None:
    assert rules(None).limiter(ScriptedClient()) is None
    assert rules(Rate(math.inf)).limiter(ScriptedClient()) is None
    assert rate_of(rules(Rate(50.0)).limiter(ScriptedClient()), 0.0) == 50.0


def test_a_provider_with_a_quota_keeps_to_it_after_a_ramp() -> None:
    limiter = rules(None).limiter(ScriptedClient(quota=True))
    assert rate_of(limiter, 0.0) == pytest.approx(100.0, rel=0.01)
    assert rate_of(limiter, ramp_for(FCM_RATE)) == pytest.approx(10_000.0, rel=0.01)


def test_a_rate_takes_the_place_of_the_quota_and_keeps_the_ramp() -> None:
    limiter = rules(Rate(60_000, 60.0)).limiter(ScriptedClient(quota=True))
    assert rate_of(limiter, 0.0) == pytest.approx(10.0, rel=0.01)
    assert rate_of(limiter, 60.0) == pytest.approx(1000.0, rel=0.01)


def test_a_provider_with_a_quota_has_its_gate_even_without_a_limit() -> None:
    limiter = rules(Rate(math.inf)).limiter(ScriptedClient(quota=True))
    assert limiter is not None
    assert limiter.permits(5000, 0.0) == 5000
    limiter.refused(7.0, 0.0)
    assert limiter.permits(1, 6.9) == 0
    assert limiter.permits(1, 7.0) == 1


class Naming(SharedTrip):
    """Says for which provider it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def limiter(self, name: str, limiter: RateLimiter) -> RateLimiter:
        self.asked.append(name)
        return limiter


def test_one_shared_object_serves_all_providers() -> None:
    shared = Naming()
    made = rules(Rate(5.0), shared)
    assert made.shared_by("apns") is made.shared_by("fcm") is shared
    made.limiter(ScriptedClient(name="fcm"))
    assert shared.asked == ["fcm"]


def test_a_named_shared_object_serves_its_provider_only() -> None:
    shared = Naming()
    made = rules(Rate(5.0), {"fcm": shared})
    assert made.shared_by("fcm") is shared
    assert made.shared_by("apns") is None
    assert made.limiter(ScriptedClient(name="apns")) is not None
    assert shared.asked == []


def test_each_client_has_a_limiter_of_its_own() -> None:
    made = rules(Rate(5.0))
    assert made.limiter(ScriptedClient()) is not made.limiter(ScriptedClient())
