"""Fault plans: what goes wrong, when, and how often. A plan is data with a seed, and can be changed while fakes run."""

from fakeservers.faults.actions import (
    KINDS,
    Action,
    Answer,
    ChangeAccessTokens,
    ChangeStreamLimit,
    Connect,
    Cut,
    Delay,
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
from fakeservers.faults.answers import REASONS
from fakeservers.faults.fault import Fault
from fakeservers.faults.illegal import ILLEGAL
from fakeservers.faults.plan import FaultPlan
from fakeservers.faults.presets import PRESETS
from fakeservers.faults.reading import FaultError
from fakeservers.faults.when import When

__all__ = [
    "ILLEGAL",
    "KINDS",
    "PRESETS",
    "REASONS",
    "Action",
    "Answer",
    "ChangeAccessTokens",
    "ChangeStreamLimit",
    "Connect",
    "Cut",
    "Delay",
    "Fault",
    "FaultError",
    "FaultPlan",
    "Frame",
    "Goaway",
    "Greeting",
    "HalfOpen",
    "Ping",
    "Reset",
    "Settings",
    "Shape",
    "Slow",
    "Stall",
    "Tls",
    "Truncate",
    "When",
    "Window",
]
