"""How fast and how often: what the options mean to the engine."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pushcore import Rate
from pushcore.audience.problems import BadInput
from pushcore.cli.run.sending import UNLIMITED, SendingOptions


def test_its_options_are_taken_out_of_a_commands() -> None:
    options: dict[str, Any] = {"rate": "5/s", "window": 7, "topic": "x", "retry": "resend", "max_age": None}
    assert SendingOptions.of(options) == SendingOptions(retry="resend", rate="5/s", window=7)
    assert options == {"topic": "x"}
    assert SendingOptions.of({}) == SendingOptions()


def test_without_retries_there_is_no_policy_and_no_age() -> None:
    assert SendingOptions(retry="none").policy() is None
    with pytest.raises(BadInput, match="--max-age has no effect with --retry none"):
        SendingOptions(retry="none", max_age=60)


def test_retries_keep_the_age_that_was_given_or_an_hour() -> None:
    policy = SendingOptions(retry="resend", max_age=60).policy()
    assert policy is not None
    assert (policy.unknown, policy.max_age) == ("resend", 60)
    policy = SendingOptions().policy()
    assert policy is not None
    assert (policy.unknown, policy.max_age) == ("report", 3600)


def test_without_a_rate_the_providers_own_limits_hold() -> None:
    assert SendingOptions().limit() is None
    assert not SendingOptions().unlimited


def test_a_rate_is_a_limit_and_none_is_no_limit_at_all() -> None:
    assert SendingOptions(rate="5000/s").limit() == Rate(5000)
    assert not SendingOptions(rate="5000/s").unlimited
    assert SendingOptions(rate="none").limit() == Rate(math.inf)
    assert SendingOptions(rate="none").unlimited


def test_a_rate_that_is_none_is_told_as_soon_as_it_is_given() -> None:
    with pytest.raises(BadInput, match="--rate: a rate looks like 5000/s"):
        SendingOptions(rate="fast")


def test_the_warning_names_fcms_quota() -> None:
    assert UNLIMITED == "no limit on the rate (--rate none); a project of FCM has 600,000 a minute"
