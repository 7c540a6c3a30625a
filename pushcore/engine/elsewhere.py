"""Pushes whose environment is not known: the first client's server does not know the token, so the next one is asked.

A push that names no environment goes to the first lane of its provider. There its BadDeviceToken counts as every one does, so
that a campaign for the wrong environment is found as soon as ever. Then the push goes once through the lane of the next
environment:

* accepted, or rejected for anything but its token: that is the outcome, and `Result.environment` says whose token it is;
* unknown there as well: the outcome is BadDeviceToken, and the second lane's breaker does not count it, for it has only such pushes
  as the first has sorted out;
* the key or certificate is not for that environment: the outcome is what the first lane had, and nothing more is tried there.
"""

from __future__ import annotations

import logging
from typing import Protocol

from ..results import Result, Verdict
from .retries import DelayedPush

log = logging.getLogger("pushcore.engine")


class SecondLane(Protocol):
    """What is needed of the lane of the next environment."""

    refuses: bool

    @property
    def stopped(self) -> bool: ...


def may_know(lane: SecondLane, result: Result) -> bool:
    """Whether a push that was rejected so is to be tried in the lane of the next environment."""
    unknown = result.row.unknown_token and result.push.environment is None
    return unknown and not lane.stopped and not lane.refuses


def is_no_judgement(result: Result, delayed: DelayedPush) -> bool:
    """Whether a second lane's rejection says nothing about that lane: see the module."""
    if result.push.environment is not None or delayed.result is None:
        return False
    return result.row.unknown_token or result.verdict is Verdict.MISCONFIGURED


def outcome(result: Result, delayed: DelayedPush, lane: SecondLane) -> Result:
    """What became of such a push."""
    if result.verdict is not Verdict.MISCONFIGURED:
        return result
    if not lane.refuses:
        lane.refuses = True
        log.warning(
            "devices of unknown environment are tried in one environment only: the other rejects the key or certificate (%s)",
            result.reason,
        )
    assert delayed.result is not None
    return delayed.result


def known_here(result: Result) -> Result:
    """An accepted push whose token is of the second environment: stored and shown with that."""
    return Result(
        result.push,
        result.verdict,
        result.status,
        result.attempts,
        result._id,
        result._find,
        detail=f"the token is of {result.environment or 'the other environment'}",
        row=result.row,
    )
