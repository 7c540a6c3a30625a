"""Faults prepared for fast evaluation, and the fault state of one connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from fakeservers.faults import chance
from fakeservers.faults.actions import (
    ENDING,
    ON_WIRE,
    Action,
    Answer,
    ChangeAccessTokens,
    Connect,
    Delay,
    Greeting,
    Shape,
    Slow,
    Tls,
    Truncate,
    Window,
)
from fakeservers.faults.answers import providers_of
from fakeservers.faults.fault import Fault
from fakeservers.faults.names import setting_numbers
from fakeservers.serving.types import ConnectionFaults


class Rule:
    """One fault, prepared for fast evaluation."""

    __slots__ = ("actions", "delays", "draws", "ending", "fault", "limit", "providers", "sides", "when")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.when = fault.when
        self.actions = fault.actions
        self.ending = next((action for action in self.actions if isinstance(action, ENDING)), None)
        self.delays = [action for action in self.actions if isinstance(action, Delay)]
        self.sides = [action for action in self.actions if not isinstance(action, (*ENDING, Delay))]
        self.draws = self.when.share < 1.0
        self.limit = chance.threshold(self.when.share)
        providers = set(self.when.provider or ("apns", "fcm", "oauth"))
        if isinstance(self.ending, Answer):
            providers &= providers_of(self.ending)
        if any(isinstance(action, ChangeAccessTokens) for action in self.sides):
            providers -= {"apns"}
        self.providers = frozenset(providers)


@dataclass(slots=True)
class Bound:
    """A rule on one connection."""

    rule: Rule
    salt: int
    """For the draw whether it happens."""
    delay_salt: int
    """For the draw of its delay."""
    turns: int = 0
    """How often a stream limit was changed."""
    errors: int = 0
    """Answers above 399 since it last happened."""
    _block: int = field(init=False, default=-1)
    _chosen: frozenset[int] = field(init=False, default=frozenset())

    def chooses(self, stream_id: int) -> bool:
        """Whether the request on this stream is in the rule's share."""
        if not self.rule.draws:
            return True
        block = stream_id // chance.BLOCK
        if block != self._block:
            self._block, self._chosen = block, chance.chosen(self.salt, block, self.rule.limit)
        return stream_id in self._chosen


class FaultState:
    """The fault state of one connection."""

    __slots__ = ("bound", "counts", "last_stream", "timers", "version", "watches_errors")

    def __init__(self) -> None:
        self.version = -1
        self.bound: list[Bound] = []
        self.counts: Counter[str] = Counter()
        self.last_stream: int | None = None
        self.timers: set[asyncio.TimerHandle] = set()
        self.watches_errors = False


def is_refusal(fault: Fault) -> bool:
    """Whether the port is closed while it is in force."""
    return any(isinstance(action, Connect) and action.how == "refuse" for action in fault.actions)


def needs_wire(fault: Fault) -> bool:
    """Whether it needs frames that libnghttp2 refuses to send."""
    return any(isinstance(action, ON_WIRE) for action in fault.actions)


def add_to(entry: ConnectionFaults, action: Action) -> None:
    """Add an action to how a connection is received. Of two actions of one kind the first counts; of two greetings, each setting."""
    if isinstance(action, Connect):
        entry.connect = entry.connect or action
    elif isinstance(action, Tls):
        entry.tls = entry.tls or action
    elif isinstance(action, Slow):
        entry.slow = entry.slow or action
    elif isinstance(action, Truncate):
        entry.truncate = entry.truncate or action
    elif isinstance(action, Greeting):
        entry.greeting = {**setting_numbers(action.values), **entry.greeting}
    elif isinstance(action, Window):
        entry.window = entry.window or action
        entry.wire = True
    elif isinstance(action, Shape):
        entry.shape = entry.shape or action
        entry.wire = True
