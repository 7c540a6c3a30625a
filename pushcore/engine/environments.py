"""Pushes of unknown environment: tried in the first client's environment, and after BadDeviceToken in the next one.

A push that names no environment goes to the first lane of its provider. There its BadDeviceToken counts like any other, so
that a campaign for the wrong environment is stopped just as early. Then the push is sent once in the lane of the next
environment:

* accepted, or rejected for another cause than its token: that is the outcome, and `Result.environment` is the token's environment;
* unknown there as well: the outcome is BadDeviceToken, and the second lane's breaker does not count it, because that lane
  gets only pushes that the first has rejected;
* the key or certificate is not for that environment: the outcome is that of the first lane, and no more pushes are tried there.
"""

from __future__ import annotations

import logging
from typing import Protocol

from ..results import Result, Verdict
from .retries import DelayedPush

log = logging.getLogger("pushcore.engine")


class SecondLane(Protocol):
    """The part of a lane that is needed from the next environment."""

    refuses: bool

    @property
    def stopped(self) -> bool: ...


def may_know(lane: SecondLane, result: Result) -> bool:
    """Whether a rejected push is tried in the lane of the next environment."""
    unknown = result.row.unknown_token and result.push.environment is None
    return unknown and not lane.stopped and not lane.refuses


def is_no_judgement(result: Result, delayed: DelayedPush) -> bool:
    """Whether a second lane's rejection says nothing about that lane: see the module."""
    if result.push.environment is not None or delayed.result is None:
        return False
    return result.row.unknown_token or result.verdict is Verdict.MISCONFIGURED


def outcome(result: Result, delayed: DelayedPush, lane: SecondLane) -> Result:
    """The outcome of a push that was tried in the second lane."""
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
