"""Finds keys of an APNs payload that have no effect, or another effect, with its push type. Apple rejects none of them.

Facts: "Sending notification requests to APNs", "Generating a remote notification", "Starting and updating Live Activities with
ActivityKit push notifications" and "Updating widgets with WidgetKit push notifications" at developer.apple.com/documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .apns import EVENTS, NEEDED, PUSH_TYPES
from .times import moment_problem

SHOWN: Final = ("alert", "badge", "sound")
"""The keys of `aps` that the user notices."""
MOMENTS: Final = ("timestamp", "stale-date", "dismissal-date")
"""The keys of `aps` that are moments, of Live Activities."""

_TEXTS: Final = ("title", "subtitle", "body", "title-loc-key", "subtitle-loc-key", "loc-key")
"""The keys of an alert that the user reads."""

INVISIBLE: Final = "no part of it is visible"
_RELOADING: Final = ("widgets", "controls")


def moments_problem(payload: Mapping[str, Any]) -> str:
    """What is wrong with the times of a Live Activity, in one sentence; empty when nothing is."""
    aps = payload.get("aps")
    if isinstance(aps, Mapping):
        for name in MOMENTS:
            if name in aps and (problem := moment_problem(aps[name])):
                return f"{name} {problem}"
    return ""


def idle_parts(payload: Mapping[str, Any], push_type: object) -> list[str]:
    """What in a payload does nothing under this push type: a sentence for each. Of push types that we do not know, nothing."""
    aps = payload.get("aps")
    if not isinstance(push_type, str) or push_type not in PUSH_TYPES:
        return []
    if not isinstance(aps, Mapping):
        return [INVISIBLE] if push_type == "alert" else []
    return list(_idle_parts(aps, push_type))


def _idle_parts(aps: Mapping[str, Any], push_type: str) -> Iterator[str]:
    shown = shown_parts(aps)
    silent = is_set(aps.get("content-available")) and aps["content-available"] != 0
    event = aps.get("event")
    if push_type == "liveactivity":
        yield from _of_live_activity(aps)
    elif event is not None:
        yield f"its event belongs to a Live Activity and has no effect with push type {push_type}; expected liveactivity"
    if push_type == "background":
        if shown:
            yield f"a background push shows nothing, but it has {' and '.join(shown)}; expected push type alert"
        if not silent:
            yield "a background push has no effect without content-available"
    if push_type in _RELOADING:
        if aps.get("content-changed") is not True:
            yield f'{push_type} have no effect without "content-changed": true'
    elif "content-changed" in aps:
        yield f"content-changed has no effect with push type {push_type}; expected widgets or controls"
    if push_type == "alert" and event is None and not shown:
        if silent:
            yield "content-available alone has no effect with push type alert; expected background"
        else:
            yield INVISIBLE
    if is_set(aps.get("mutable-content")) and "alert" not in shown:
        yield "mutable-content has no effect without an alert"


def shown_parts(aps: Mapping[str, Any]) -> list[str]:
    """The keys of `aps` that the user notices. An alert without a text is none."""
    return [key for key in SHOWN if is_set(aps.get(key)) and (key != "alert" or _has_text(aps[key]))]


def _has_text(alert: Any) -> bool:
    return not isinstance(alert, Mapping) or any(is_set(alert.get(key)) for key in _TEXTS)


def _of_live_activity(aps: Mapping[str, Any]) -> Iterator[str]:
    event = aps.get("event")
    if event is None:
        yield "a Live Activity has no effect without an event"
    elif event not in EVENTS:
        yield f"its event {event!r:.40} is none of {', '.join(EVENTS)}"
    else:
        for name in NEEDED[event]:
            key = name.replace("_", "-")
            if not is_set(aps.get(key)):
                yield f"a Live Activity's {event} has no effect without {key}"


def is_set(value: Any) -> bool:
    """Whether there is something: 0, which clears a badge, is."""
    return value is not None and value is not False and value not in ("", {})
