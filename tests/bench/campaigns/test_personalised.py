"""What columns in a payload cost: the runs, the ratios, and the guard's limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console

from bench.campaigns import personalised
from bench.guards import guard
from bench.harness.stage import Target, fake

QUIET = Console(quiet=True)


def test_both_providers_at_once_through_send_itself() -> None:
    with fake("apns", "bare") as apns, fake("fcm", "bare") as fcm:
        (row,) = personalised.measure(
            QUIET, [apns, fcm], rows=300, runs=1, forms=["ndjson"], journals=["yes"]
        )
    assert (row["provider"], row["form"], row["journal"], row["own_us"]) == ("mixed", "ndjson", "yes", None)


def test_ratios_are_those_of_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.5, 0.7, 0.5, 0.9, 0.5, 0.8, 1.0, 1.4, 1.0, 1.6, 1.0, 1.5])

    class Sent:
        def __init__(self) -> None:
            self.cpu = next(seconds)

    monkeypatch.setattr(personalised, "send", lambda *words, **options: Sent())
    target = Target("bare", "apns", "", "", 0, {})
    (row,) = personalised.measure(QUIET, [target], rows=100_100, runs=2, forms=["csv"], journals=["no"])
    assert (row["static_us"], row["expo_us"], row["own_us"]) == (3.0, 5.0, 4.0)
    assert (row["expo_ratio"], row["own_ratio"]) == (1.75, 1.375)


def test_the_payloads_say_the_same_with_and_without_columns() -> None:
    for provider, kinds in (("apns", 3), ("fcm", 3), ("mixed", 2)):
        files = personalised.payloads(provider)
        assert len(files) == kinds
        assert "{{" not in files["static"]
        assert files["expo"].count("{{") == 2


def test_the_guard_says_what_is_too_dear_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ratios = iter([1.5, 1.3])

    @contextmanager
    def target(provider: str, profile: str) -> Iterator[Target]:
        yield Target(profile, provider, "", "", 0, {})

    def measured(console: Console, targets: Sequence[Target], **options: Any) -> list[dict[str, Any]]:
        ratio = next(ratios)
        return [{"provider": "apns", "form": "csv", "own_ratio": 1.0, "expo_ratio": ratio}]

    monkeypatch.setattr(guard, "fake", target)
    monkeypatch.setattr(personalised, "measure", measured)
    limits = {"apns": {"own": 1.2, "expo": 1.4}}
    assert guard.columns_too_dear(QUIET, ["apns"], limits, 3) == []
    ratios = iter([1.5])
    (line,) = guard.columns_too_dear(QUIET, ["apns"], limits, 1)
    assert line == (
        "a row in Expo's format (apns, csv) takes 1.5 times the CPU of a static one, at most 1.4 is allowed"
    )


def test_there_is_a_limit_for_every_case() -> None:
    assert guard.thresholds()["personalised"].keys() == {"apns", "fcm", "mixed"}
