"""Retries: every wait obeys the provider's number, and an outage does not double the load."""

from __future__ import annotations

import math
import random
import sys
from dataclasses import fields
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.apns.reasons import CHANNEL_REASONS
from pushcore.apns.reasons import REASONS as APNS_REASONS
from pushcore.engine.rate import QUOTA_WAIT
from pushcore.engine.retry import DelayHeap, RetryBudget, RetryPolicy
from pushcore.errors import (
    AccessTokenError,
    AlpnError,
    CertificateError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    ProxyError,
)
from pushcore.fcm.errors import REASONS as FCM_REASONS
from pushcore.fcm.legacy_errors import REASONS as LEGACY_REASONS
from pushcore.reasons import UNNAMED, lookup
from pushcore.results import Result, Verdict

THROTTLED, UNAVAILABLE, UNSENT, UNKNOWN = (
    Verdict.THROTTLED,
    Verdict.UNAVAILABLE,
    Verdict.UNSENT,
    Verdict.UNKNOWN,
)


class Dice:
    """`random()` gives what the test says."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


LOW: Any = Dice(0.0)
HIGH: Any = Dice(math.nextafter(1.0, 0.0))
POLICY = RetryPolicy()


def result(verdict: Verdict, reason: str | None = None, status: int | None = 503, **others: Any) -> Result:
    return Result("push", verdict, status, 1, reason=reason, **others)


def waits(one: Result, policy: RetryPolicy = POLICY, rng: Any = LOW) -> list[float | None]:
    """The waits of a push that always fails like this, until it is given up or sent five times."""
    found: list[float | None] = []
    age = 0.0
    for attempt in range(1, 6):
        wait = policy.delay(one, attempt, rng, age)
        found.append(wait)
        if wait is None:
            break
        age += wait
    return found


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        # APNs
        (result(THROTTLED, "TooManyRequests", 429), [30, 60, 120, 240, 480]),
        (result(THROTTLED, "TooManyProviderTokenUpdates", 429), [1200, 2400, None]),
        (result(UNAVAILABLE, "InternalServerError", 500), [5, 900, 1800, None]),
        (result(UNAVAILABLE, "ServiceUnavailable"), [60, 120, 240, 480, 960]),
        (result(UNAVAILABLE, "Shutdown"), [5, 60, 120, 240, 480]),
        (result(UNAVAILABLE, "IdleTimeout", 400), [5, 60, 120, 240, 480]),
        # FCM
        (result(UNAVAILABLE, "UNAVAILABLE"), [10, 20, 40, 80, 160]),
        (result(UNAVAILABLE, "INTERNAL", 500), [10, 20, 40, 80, 160]),
        (result(UNAVAILABLE, "UNAVAILABLE", retry_after=3.0), [10, 20, 40, 80, 160]),
        (result(UNAVAILABLE, "UNAVAILABLE", retry_after=30.0), [30, 30, 40, 80, 160]),
        (result(UNAVAILABLE, None, 502, retry_after=30.0), [30, 30, 40, 80, 160]),
        (result(THROTTLED, "QUOTA_EXCEEDED", 429), [60, 120, 240, 480, 960]),
        (result(THROTTLED, "RESOURCE_EXHAUSTED", 429), [60, 120, 240, 480, 960]),
        (result(THROTTLED, "QUOTA_EXCEEDED", 429, retry_after=17.0), [17, 20, 40, 80, 160]),
        (result(THROTTLED, "QUOTA_EXCEEDED", 429, retry_after=1800.0), [1800, 1800, None]),
        (result(THROTTLED, "QUOTA_EXCEEDED", 429, retry_after=3601.0), [None]),
        # nobody in particular
        (result(UNAVAILABLE, "SomethingNew"), [10, 20, 40, 80, 160]),
        (result(THROTTLED, None, 429), [60, 120, 240, 480, 960]),
        (result(UNSENT, None, None, detail=ConnectError("refused")), [10, 20, 40, 80, 160]),
        (result(UNSENT, None, None, detail=ProxyError("502", status=502)), [10, 20, 40, 80, 160]),
        (
            result(UNSENT, None, None, detail=AccessTokenError("none", retry_after=45.0)),
            [45, 45, 45, 80, 160],
        ),
    ],
)
def test_the_providers_numbers(one: Result, expected: list[float | None]) -> None:
    assert waits(one) == expected
    most = [None if each is None else each * 1.5 for each in expected]
    for low, high in zip(most, waits(one, rng=HIGH), strict=False):
        assert high is None or high == pytest.approx(low)


@pytest.mark.parametrize(
    "one",
    [
        result(Verdict.ACCEPTED, status=200),
        result(Verdict.INVALID, "BadDeviceToken", 400, retry_after=1.0),
        result(Verdict.MISCONFIGURED, "InvalidProviderToken", 403, retry_after=1.0),
        result(Verdict.UNREGISTERED, "Unregistered", 410, retry_after=1.0),
        result(UNKNOWN, None, None, detail=ConnectionLost("it ended")),
        result(UNSENT, None, None, detail=CertificateError("not accepted")),
        result(UNSENT, None, None, detail=AlpnError("no h2")),
        result(UNSENT, None, None, detail=ProxyError("407", status=407, permanent=True)),
    ],
)
def test_a_permanent_result_is_not_retried(one: Result) -> None:
    assert waits(one) == [None]


def test_every_documented_reason_is_repeated_or_not_by_its_verdict() -> None:
    resend = RetryPolicy(unknown="resend")
    rows = [(row.verdict, row.name, 0.0) for row in APNS_REASONS.values()]
    rows += [(row.verdict, row.name, row.wait or 0.0) for row in FCM_REASONS.values()]
    for verdict, name, least in rows:
        wait = resend.delay(result(verdict, name), 1, LOW)
        assert (wait is not None) == (verdict in (THROTTLED, UNAVAILABLE)), name
        if wait is not None:
            assert wait >= least
            assert wait >= 10 or name in ("InternalServerError", "Shutdown", "IdleTimeout")


@pytest.mark.parametrize(
    ("provider", "status", "word", "expected"),
    [
        ("apns", 500, None, [900, 1800, None]),
        ("apns", 500, "SomethingNew", [900, 1800, None]),
        ("apns", 503, None, [900, 1800, None]),
        ("apns", 503, "SomethingNew", [900, 1800, None]),
        ("apns", 429, None, [30, 60, 120, 240, 480]),
        ("apns", 429, "SomethingNew", [30, 60, 120, 240, 480]),
        ("fcm", 500, None, [10, 20, 40, 80, 160]),
        ("fcm", 503, "SomethingNew", [10, 20, 40, 80, 160]),
        ("fcm", 429, "SomethingNew", [60, 120, 240, 480, 960]),
    ],
)
def test_an_unknown_reason_waits_as_its_provider_says(
    provider: str, status: int, word: str | None, expected: list[float | None]
) -> None:
    row = lookup(provider, status, word)
    assert waits(result(row.verdict, word, status, row=row)) == expected


def test_each_setting_is_by_default_what_the_rows_that_name_it_say() -> None:
    tables = (APNS_REASONS, CHANNEL_REASONS, FCM_REASONS, LEGACY_REASONS)
    rows = [row for table in tables for row in table.values()]
    rows += [
        lookup(provider, status, None)
        for provider in ("apns", "fcm")
        for status in (408, 409, 421, 425, 429, 500, 503)
    ]
    rows += UNNAMED.values()
    named = {row.setting: row.wait for row in rows if row.setting is not None}
    assert named == {name: getattr(POLICY, name) for name in named}
    assert all(row.wait == named[row.setting] for row in rows if row.setting is not None)
    assert {row.asked_setting for row in rows} == {None, "fcm_wait"}
    assert FCM_REASONS["QUOTA_EXCEEDED"].wait == QUOTA_WAIT


@pytest.mark.parametrize(
    "setting", ["apns_device_wait", "apns_token_wait", "apns_error_wait", "apns_unavailable_wait"]
)
def test_a_setting_overrides_the_row(setting: str) -> None:
    policy = RetryPolicy(apns_early_wait=None, **{setting: 77.0})  # type: ignore[arg-type]
    rows = [row for row in APNS_REASONS.values() if row.setting == setting]
    assert rows
    for row in rows:
        assert policy.delay(result(row.verdict, row.name, row.status), 1, LOW) == 77


def test_unknown_is_resent_where_that_is_wanted() -> None:
    resend = RetryPolicy(unknown="resend")
    lost = result(UNKNOWN, None, None, detail=ConnectionLost("it ended"))
    assert waits(lost, resend) == [10, 20, 40, 80, 160]
    # Google answered and said nothing: "no auto retry".
    assert waits(result(UNKNOWN, "UNSPECIFIED_ERROR", 400), resend) == [None]


def test_without_the_early_repeat() -> None:
    patient = RetryPolicy(apns_early_wait=None)
    assert waits(result(UNAVAILABLE, "InternalServerError", 500), patient) == [900, 1800, None]
    assert waits(result(UNAVAILABLE, "Shutdown"), patient) == [60, 120, 240, 480, 960]


def test_attempts_and_age_end_it() -> None:
    one = result(UNAVAILABLE, "UNAVAILABLE")
    assert RetryPolicy(max_attempts=1).delay(one, 1, LOW) is None
    assert RetryPolicy(max_attempts=3).delay(one, 2, LOW) == 20
    assert RetryPolicy(max_attempts=3).delay(one, 3, LOW) is None
    assert POLICY.delay(one, 1, LOW, age=3590) == 10
    assert POLICY.delay(one, 1, LOW, age=3590.5) is None
    assert POLICY.delay(one, 9, LOW) == 2560
    assert POLICY.delay(one, 10, LOW) is None
    assert not POLICY.too_old(3600)
    assert POLICY.too_old(3600.5)


@given(
    st.sampled_from([*APNS_REASONS, *FCM_REASONS, "Other", None]),
    st.sampled_from(list(Verdict)),
    st.one_of(st.none(), st.floats(0, 86_400)),
    st.integers(1, 10_000),
    st.floats(0, 4000),
    st.integers(0, 2**32),
    st.sampled_from(["report", "resend"]),
)
def test_no_wait_breaks_a_rule(
    reason: str | None,
    verdict: Verdict,
    asked: float | None,
    attempt: int,
    age: float,
    seed: int,
    unknown: Literal["report", "resend"],
) -> None:
    policy = RetryPolicy(unknown=unknown, max_attempts=10_000)
    one = result(verdict, reason, retry_after=asked)
    wait = policy.delay(one, attempt, random.Random(seed), age)
    if wait is None:
        return
    assert one.retryable or (verdict is UNKNOWN and unknown == "resend")
    assert wait >= (asked or 0)
    assert wait <= 3600
    assert age + wait <= 3600
    if reason in FCM_REASONS:
        assert wait >= 10
        if verdict is THROTTLED and asked is None:
            assert wait >= 60
    if reason == "InternalServerError" and verdict is UNAVAILABLE and attempt > 1:
        assert wait >= 900


@pytest.mark.parametrize(
    "wrong",
    [
        {"unknown": "drop"},
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"max_age": -1},
        {"max_delay": math.inf},
        {"growth": 0.5},
        {"jitter": -0.1},
        {"fcm_wait": math.nan},
        {"fcm_wait": None},
        {"apns_early_wait": -1},
        {"transport_wait": "10"},
        {"max_delayed": 0},
        {"budget_share": -1},
        {"budget_rate": 0},
    ],
)
def test_a_wrong_setting_is_rejected(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigurationError, match=name):
        RetryPolicy(**wrong)


def test_every_number_of_the_policy_is_checked() -> None:
    for each in fields(RetryPolicy):
        with pytest.raises(ConfigurationError, match=each.name):
            RetryPolicy(**{each.name: -1})  # type: ignore[arg-type]  # a field's name that only the loop knows


def test_the_defaults_of_the_policy() -> None:
    values = {setting.name: getattr(POLICY, setting.name) for setting in fields(RetryPolicy)}
    assert values == {
        "unknown": "report",
        "max_attempts": 10,
        "max_age": 3600,
        "max_delay": 3600,
        "growth": 2,
        "jitter": 0.5,
        "apns_device_wait": 30,
        "apns_token_wait": 1200,
        "apns_error_wait": 900,
        "apns_unavailable_wait": 60,
        "apns_early_wait": 5,
        "fcm_wait": 10,
        "fcm_quota_wait": 60,
        "transport_wait": 10,
        "max_delayed": 50_000,
        "budget_share": 0.2,
        "budget_rate": 10,
    }
    with pytest.raises(AttributeError):
        POLICY.growth = 3.0  # type: ignore[misc]  # it is frozen


@pytest.mark.parametrize(
    ("setting", "least"),
    [
        ("max_attempts", 1),
        ("max_delayed", 1),
        ("growth", 1),
        ("jitter", 0),
        ("max_age", 0),
        ("fcm_wait", 0.5),
        ("budget_rate", 0.5),
    ],
)
def test_the_smallest_setting_is_accepted(setting: str, least: float) -> None:
    assert getattr(RetryPolicy(**{setting: least}), setting) == least  # type: ignore[arg-type]


def test_the_largest_growth_is_accepted_and_its_power_is_a_number() -> None:
    policy = RetryPolicy(
        growth=1000, max_attempts=10_000, max_delay=sys.float_info.max, max_age=sys.float_info.max
    )
    assert policy.delay(result(UNAVAILABLE, "UNAVAILABLE"), 9999, LOW) == pytest.approx(10 * 1e180)
    with pytest.raises(ConfigurationError, match="growth"):
        RetryPolicy(growth=1000.5)


def test_the_wait_grows_for_sixty_repeats() -> None:
    policy = RetryPolicy(growth=1.01, max_attempts=100)
    one = result(UNAVAILABLE, "UNAVAILABLE")
    assert policy.delay(one, 61, LOW) == policy.delay(one, 62, LOW) == pytest.approx(10 * 1.01**60)


def test_a_push_has_no_age_unless_told() -> None:
    assert RetryPolicy(max_age=10).delay(result(UNAVAILABLE, "UNAVAILABLE"), 1, LOW) == 10


def test_a_retry_after_of_the_longest_delay_is_kept() -> None:
    asked = result(UNAVAILABLE, "UNAVAILABLE", retry_after=3600.0)
    assert POLICY.delay(asked, 1, LOW) == POLICY.delay(asked, 1, HIGH) == 3600


# --- the heap -------------------------------------------------------------------------------------------------------


def test_the_heap_gives_what_is_due_and_keeps_the_rest() -> None:
    heap: DelayHeap[str] = DelayHeap(3)
    assert heap.next_due == math.inf
    assert heap.due(1e9) == []
    heap.add(20, "c")
    heap.add(10, "a")
    assert not heap.full
    heap.add(10, "b")
    assert heap.full
    heap.add(30, "d")  # it was in flight
    assert (heap.next_due, len(heap)) == (10, 4)
    assert heap.due(9.9) == []
    assert heap.due(10) == ["a", "b"]
    assert not heap.full
    assert heap.due(25, 0) == []
    assert heap.due(40, 1) == ["c"]  # the rest stays due
    assert heap.next_due == 30
    heap.add(25, "e")
    assert heap.clear() == ["e", "d"]
    assert len(heap) == 0


def test_a_postponed_item_stays_first_in_line() -> None:
    heap: DelayHeap[int] = DelayHeap(10)
    for number in range(4):
        heap.add(1, number)
    assert heap.due(1, 2) == [0, 1]
    heap.add(1, 4)
    heap.add(0.5, 5)
    assert heap.due(1) == [5, 2, 3, 4]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.floats(0, 100),
        )
    )
)
def test_items_are_never_compared(entries: list[tuple[int, float]]) -> None:
    heap: DelayHeap[object] = DelayHeap(5)
    items = [(float(due), {"item": payload}) for due, payload in entries]
    for due, item in items:
        heap.add(due, item)
    assert heap.due(math.inf) == [item for _, item in sorted(items, key=lambda each: each[0])]


def test_an_item_keeps_its_number() -> None:
    heap: DelayHeap[str] = DelayHeap(1)
    first, second = heap.add(1, "first"), heap.add(1, "second")
    assert first < second
    assert heap.due(1, 1) == ["first"]
    assert heap.add(1, "first again", first) == first
    assert heap.due(1) == ["first again", "second"]


def test_a_heap_for_one_is_full_with_one() -> None:
    heap: DelayHeap[str] = DelayHeap(1)
    assert not heap.full
    heap.add(1, "only")
    assert heap.full


def test_a_heap_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        DelayHeap(0)


# --- the budget -----------------------------------------------------------------------------------------------------


def test_credit_comes_from_first_attempts_time_and_accepted_repeats() -> None:
    budget = RetryBudget(share=0.2, rate=10, most=50)
    assert budget.take(100, 0) == 10  # a second's worth to begin with
    assert budget.take(100, 0) == 0
    budget.earn(100)
    assert budget.take(5, 0) == 5
    assert budget.take(100, 0) == 15
    assert budget.take(100, 0.5) == 5
    budget.repaid(4)
    assert budget.take(100, 0.5) == 4
    budget.give_back(3)
    assert budget.take(100, 0.5) == 3
    assert budget.take(-5, 0.5) == 0


def test_the_defaults_of_the_budget() -> None:
    budget = RetryBudget()
    assert budget.take(10**6, 0) == 10
    budget.earn(10)
    assert budget.take(10**6, 0) == 2
    assert budget.take(10**6, 1e9) == 10_000


@pytest.mark.parametrize("most", [1, 50])
def test_a_slow_budget_begins_with_one(most: float) -> None:
    budget = RetryBudget(share=0, rate=0.5, most=most)
    assert budget.wait(0) == 0
    assert budget.take(10, 0) == 1
    assert budget.wait(0) == pytest.approx(2, abs=1e-5)
    assert budget.wait(0) > 2
    assert budget.take(10, 2) == 1


def test_credit_grows_with_the_time_that_has_passed() -> None:
    budget = RetryBudget(share=0, rate=10)
    assert budget.take(100, 5) == 10
    assert budget.take(100, 5.25) == 2
    assert budget.take(100, 5.5) == 3  # half a repeat was left over


def test_no_more_than_most_is_saved() -> None:
    budget = RetryBudget(share=0.2, rate=10, most=50)
    budget.earn(100_000)
    budget.repaid(100_000)
    budget.give_back(100_000)
    assert budget.take(1000, 1e6) == 50
    assert budget.take(1000, 2e6) == 50


@given(st.floats(0.001, 1000), st.floats(0, 1e7))
def test_after_its_wait_there_is_one(rate: float, start: float) -> None:
    budget = RetryBudget(share=0, rate=rate)
    now = start
    budget.take(10_000, now)
    for _ in range(20):
        wait = budget.wait(now)
        now += wait
        assert budget.wait(now) == 0
        assert budget.take(10_000, now) >= 1
    assert now - start <= 20 / rate + 1


def test_a_clock_that_steps_back_earns_nothing() -> None:
    budget = RetryBudget(share=0, rate=10)
    budget.take(100, 5)
    assert budget.take(100, 4) == 0
    assert budget.take(100, 5) == 0


@pytest.mark.parametrize("wrong", [{"share": -1}, {"rate": 0}, {"rate": math.nan}, {"most": 0.5}])
def test_a_budget_that_would_block_for_ever_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="budget"):
        RetryBudget(**wrong)


@pytest.mark.slow
@pytest.mark.parametrize("refused", [1.0, 0.5, 0.358, 0.2, 0.02])
def test_an_outage_does_not_double_the_load(refused: float) -> None:
    """1 000 first attempts a second for 600 s, of which a part fails, and so do as many of their repeats."""
    rng = random.Random(3)
    heap: DelayHeap[None] = DelayHeap(10**9)
    budget = RetryBudget(most=1000)
    sent = 0
    for second in range(600):
        repeats = len(heap.due(second, budget.take(len(heap), second)))
        failed = sum(rng.random() < refused for _ in range(repeats))
        budget.repaid(repeats - failed)
        budget.earn(1000)
        failed += sum(rng.random() < refused for _ in range(1000))
        for _ in range(failed):
            heap.add(second + 10, None)
        sent += 1000 + repeats
    needed = refused / (1 - refused) if refused < 1 else math.inf  # repeats for each first attempt, for ever
    assert sent <= 600_000 * (1.01 + min(needed, 0.2 / refused)) + 600 * 10 + 1000
    assert sent <= 600_000 * 1.6
    # And when it is over, the rest leaves without any first attempts to pay for it.
    rest, seconds = len(heap), 0
    while len(heap):
        seconds += 1
        budget.repaid(len(heap.due(math.inf, budget.take(len(heap), 600 + seconds))))
    assert seconds <= 100 + rest / 1000
